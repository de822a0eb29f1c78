/* SPDX-License-Identifier: Apache-2.0 */
#include "wire.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define LOG_MODULE "wire"
#include "base/clock.h"
#include "base/log.h"
#include "blob/url.h"
#include "fs/mountpoint.h"
#include "fs/session.h"
#include "harden.h"
#include "traffic.h"
#include "places.h"

/* What opens a region's store, also later. */
struct wire_region {
  struct wire *wire;
  size_t no;
  struct wire_unlock unlock;
  enum retry_preset preset;
};

/* Everything of one mount, from the store upward; released in the reverse order. */
struct wire {
  const struct cli *cli;
  const struct config *config;
  const char *mountpoint;
  struct traffic *traffic;
  struct mount_region_opts *regions;
  struct wire_region *stores;  /* one a region */
  size_t away;                 /* regions whose store does not answer */
  char state[4096], cache[4096];
  int state_lock; /* -1: none */
  bool has_cache;
  struct mount *mount;
  struct fs *fs;
  pthread_t clock;
  bool has_clock;
  _Atomic (bool) is_ending, has_ended;
};

/* ---- the mount point ---- */

static int
prepare_mountpoint (const struct cli *cli, const struct config *c, const char *path)
{
  enum mountpoint_state state;
  int rc = mountpoint_check (path, &state);
  if (rc == ERR_NOENT && mkdir (path, 0755) == 0) {
    log_info ("made the mount point path=%s", path);
    rc = mountpoint_check (path, &state);
  }
  if (rc == ERR_NOENT)
    return cli_refuse (cli, EXIT_FAILED, "cannot mount on %s: there is no such directory, and it "
                                         "cannot be made. Make it: mkdir -p %s", path, path);
  if (rc == ERR_NOTDIR)
    return cli_refuse (cli, EXIT_FAILED, "cannot mount on %s: it is no directory", path);
  if (rc < 0)
    return cli_fail (cli, rc, NULL, "mount on %s", path);
  if (state == MOUNTPOINT_LIVE)
    return cli_refuse (cli, EXIT_FAILED, "cannot mount on %s: coffer is mounted there already. "
                                         "coffer status %s shows it, coffer umount %s ends it",
                       path, path, path);
  if (state == MOUNTPOINT_OTHER)
    return cli_refuse (cli, EXIT_FAILED, "cannot mount on %s: something else is mounted there. "
                                         "Choose another directory, or unmount it first", path);
  if (state == MOUNTPOINT_DEAD && (rc = mountpoint_detach_dead (path)) < 0)
    return cli_fail (cli, rc, "Detach it by hand: umount -l, or fusermount3 -uz.",
                     "detach the dead mount on %s", path);
  /* Who is not root may mount only on a directory that he can write. */
  if (config_is (c, CONFIG_ID_GUARD) && geteuid () == 0)
    (void) mountpoint_guard (path); /* it says in the log what it could not do */
  return 0;
}

/* ---- directories ---- */

#define STATE_WAIT (5 * NS_PER_S) /* for a daemon that is about to end */

/* One daemon for a state directory: two would write the same trees and drop each other's. */
static int
lock_state (struct wire *w)
{
  char path[4200], owner[32] = "";
  snprintf (path, sizeof path, "%s/lock", w->state);
  w->state_lock = open (path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (w->state_lock < 0)
    return cli_fail (w->cli, err_from_errno (errno), "Name another one with -o state-dir=DIR.",
                     "use the state directory %s", w->state);
  int64_t deadline = clock_now () + STATE_WAIT;
  while (flock (w->state_lock, LOCK_EX | LOCK_NB) < 0) {
    if (errno != EWOULDBLOCK && errno != EINTR)
      return cli_fail (w->cli, err_from_errno (errno), "Name another one with -o state-dir=DIR.",
                       "lock the state directory %s", w->state);
    if (clock_now () >= deadline) {
      ssize_t n = pread (w->state_lock, owner, sizeof owner - 1, 0);
      return cli_refuse (w->cli, EXIT_FAILED, "cannot mount on %s: another coffer daemon (process "
                                              "%.*s) works in the state directory %s. Wait until "
                                              "it has ended, or name another with -o "
                                              "state-dir=DIR", w->mountpoint,
                         n > 0 ? (int) strcspn (owner, "\n") : 1, n > 0 ? owner : "?", w->state);
    }
    nanosleep (&(struct timespec){ .tv_nsec = 100000000 }, NULL);
  }
  /* For people only: a number that is not there hurts nobody. */
  if (ftruncate (w->state_lock, 0) < 0 || dprintf (w->state_lock, "%d\n", (int) getpid ()) < 0)
    log_warn ("cannot write the state directory's lock path=%s err=\"%s\"", path,
              strerror (errno));
  return 0;
}

static int
choose_dir (const struct wire *w, enum config_id id, int (*place) (char *, size_t), char *out,
            size_t cap)
{
  const char *given = config_text (w->config, CONFIG_ALL, id);
  char parent[3072], full[4096];
  if (*given) {
    snprintf (out, cap, "%s", given);
    return 0;
  }
  int rc = place (parent, sizeof parent);
  if (rc < 0)
    return rc;
  uint64_t h = places_hash (realpath (w->mountpoint, full) ? full : w->mountpoint, 0);
  for (size_t i = 0; i < config_regions (w->config); i++)
    h = places_hash (config_text (w->config, (int) i, CONFIG_ID_URL), h);
  snprintf (out, cap, "%s/%016llx", parent, (unsigned long long) h);
  return 0;
}

static int
prepare_dirs (struct wire *w)
{
  int rc = choose_dir (w, CONFIG_ID_STATE_DIR, places_state, w->state, sizeof w->state);
  if (rc == 0)
    rc = places_make (w->state);
  if (rc < 0)
    return cli_fail (w->cli, rc, "Name another one with -o state-dir=DIR.",
                     "make the state directory %s", w->state);
  bool is_local = true;
  for (size_t i = 0; i < config_regions (w->config); i++)
    is_local = is_local && w->regions[i].take_blob
               && (w->regions[i].take_blob->caps & BLOB_CAP_LOCAL);
  if (is_local || config_number (w->config, CONFIG_ALL, CONFIG_ID_CACHE_SIZE) == 0
      || strcmp (config_text (w->config, CONFIG_ALL, CONFIG_ID_CACHE_DIR), "none") == 0)
    return 0;
  rc = choose_dir (w, CONFIG_ID_CACHE_DIR, places_cache, w->cache, sizeof w->cache);
  if (rc == 0)
    rc = places_make (w->cache);
  w->has_cache = rc == 0;
  if (rc < 0) /* promise: a mount serves without a cache as well */
    log_warn ("no block cache: cannot make its directory path=%s err=\"%s\"", w->cache,
              err_str (rc));
  return 0;
}

/* ---- stores ---- */

static void
blob_opts (const struct wire *w, size_t i, enum retry_preset retry, struct blob_open_opts *out)
{
  const struct config *c = w->config;
  const char *profile = config_text (c, (int) i, CONFIG_ID_PROFILE);
  *out = (struct blob_open_opts){ .create = false, .retry = retry };
  traffic_sets (w->traffic, i, &out->up, &out->down);
  out->profile = *profile ? profile : NULL;
  out->connect_timeout_ms
    = (int) (config_number (c, (int) i, CONFIG_ID_CONNECT_TIMEOUT) / NS_PER_MS);
  out->stall_timeout_ms = (int) (config_number (c, (int) i, CONFIG_ID_STALL_TIMEOUT) / NS_PER_MS);
}

/* Asked by the mount, from a worker, whether a store that was away is back.  It is opened anew: its
 * directory may be another one now, on the disk that was not mounted. */
static int
open_again (void *ctx, struct blob **blob, struct keyring **keys)
{
  struct wire_region *r = ctx;
  const char *url = config_text (r->wire->config, (int) r->no, CONFIG_ID_URL);
  struct blob_open_opts opts;
  struct blob_info info;
  AUTO (blob) b = NULL;
  if (*url == '/' || strncmp (url, "file:", 5) == 0) {
    /* Opening it would log at each try that it is not there. */
    const char *dir = *url == '/' ? url : url + 5 + (strncmp (url, "file://", 7) == 0 ? 2 : 0);
    if (access (dir, F_OK) != 0)
      return ERR_MISSING;
  }
  blob_opts (r->wire, r->no, RETRY_NONE, &opts);
  int rc = blob_open_url (url, &opts, &b);
  if (rc == 0)
    rc = blob_head (b, SUPERBLOCK_KEY, &info); /* silent, unlike what follows */
  if (rc)
    return rc;
  blob_free (STEAL (b));
  blob_opts (r->wire, r->no, r->preset == RETRY_NONE ? RETRY_NONE : RETRY_QUICK, &opts);
  rc = blob_open_url (url, &opts, &b);
  if (rc == 0)
    rc = store_open (b, &r->unlock.unlock, keys);
  if (rc)
    return rc;
  if (r->preset != RETRY_NONE)
    blob_retry_set_preset (b, r->preset);
  *blob = STEAL (b);
  return 0;
}

/* A store that is away must not keep the other regions from being served.  A key that is missing or
 * wrong, and a passphrase that can be read only once, are for the person at the command line. */
static bool
may_come_back (const struct wire *w, const struct unlock *u, int rc)
{
  if (config_regions (w->config) == 1)
    return false;
  if (u->passphrase_file && strcmp (u->passphrase_file, "-") == 0)
    return false;
  const char *file = u->key_file ? u->key_file : u->passphrase_file;
  return err_is_transient (rc) || rc == ERR_IO
         || (rc == ERR_MISSING && file && access (file, R_OK) == 0);
}

static int
open_region (struct wire *w, size_t i)
{
  const struct config *c = w->config;
  struct mount_region_opts *r = &w->regions[i];
  struct wire_region *o = &w->stores[i];
  const struct unlock *u = &o->unlock.unlock;
  struct wire_store s = { .blob = NULL };
  struct blob_open_opts opts;
  const char *url = config_text (c, (int) i, CONFIG_ID_URL);
  *o = (struct wire_region){ .wire = w, .no = i, .preset = RETRY_PATIENT };
  blob_url_redact (url, s.shown, sizeof s.shown);
  int rc = retry_preset_parse (config_text (c, (int) i, CONFIG_ID_RETRY), &o->preset);
  if (rc < 0)
    return cli_fail (w->cli, rc, NULL, "use the retry preset of %s", s.shown);
  /* Until the mount stands; of several regions a dead one does not keep the others waiting. */
  blob_opts (w, i, o->preset == RETRY_NONE ? RETRY_NONE
             : config_regions (c) > 1 ? RETRY_QUICK : RETRY_STANDARD, &opts);
  r->name = config_region_name (c, i);
  rc = wire_unlock_of (w->cli, c, (int) i, &o->unlock);
  if (rc)
    return rc;
  rc = blob_open_url (url, &opts, &r->take_blob);
  if (o->unlock.path[0] && access (o->unlock.path, F_OK) != 0)
    return cli_refuse (w->cli, EXIT_DENIED, "cannot open the store %s: no key is given, and the "
                                            "key file that coffer init makes for it is not there "
                                            "(%s). Give -o key-file=FILE", s.shown,
                       o->unlock.path);
  if (rc == 0)
    rc = store_open (r->take_blob, u, &r->take_keys);
  if (may_come_back (w, u, rc)) {
    blob_free (STEAL (r->take_blob));
    r->open = open_again;
    r->open_ctx = o;
    w->away++;
    log_warn ("the store does not answer, the other regions are served region=%s store=%s "
              "err=\"%s\": it is served as soon as it is back", r->name, s.shown, err_str (rc));
    return 0;
  }
  if (rc == ERR_MISSING) /* no directory, no store, or no key file: the log says which */
    return cli_refuse (w->cli, EXIT_FAILED, "cannot open the store %s with %s. coffer init makes "
                                            "a store",
                       s.shown, u->key_file ? u->key_file : u->passphrase_file);
  if (rc < 0)
    return wire_fail (w->cli, &s, rc, "open the store");
  if (o->preset != RETRY_NONE)
    blob_retry_set_preset (r->take_blob, o->preset);
  return 0;
}

/* ---- what the control directory asks of us ---- */

static int
on_throttle_get (void *ctx, const char *region, struct buf *out)
{
  struct wire *w = ctx;
  return traffic_get (w->traffic, region, out);
}

static int
on_throttle_set (void *ctx, const char *region, const char *text, struct buf *reply)
{
  struct wire *w = ctx;
  return traffic_set (w->traffic, region, text, reply);
}

static int
on_config (void *ctx, struct buf *out)
{
  struct wire *w = ctx;
  /* `coffer umount` waits for the end of this process, and reads here who that is. */
  buf_printf (out, "# pid %d\n", (int) getpid ());
  config_dump (w->config, out);
  return buf_error (out);
}

static int
on_metrics (void *ctx, struct buf *out)
{
  struct wire *w = ctx;
  traffic_metrics (w->traffic, out);
  return buf_error (out);
}

static int
on_history (void *ctx, struct buf *out)
{
  struct wire *w = ctx;
  return mount_history (w->mount, out);
}

/* "note {...}": what a command did, for the history. */
static int
on_command (void *ctx, const char *line, struct buf *reply)
{
  struct wire *w = ctx;
  if (strncmp (line, "note ", 5) != 0)
    return ERR_NOTSUP;
  int rc = mount_note (w->mount, line + 5);
  if (rc == ERR_INVALID)
    buf_printf (reply, "error: usage: note {\"event\": NAME, ...}\n");
  return rc;
}

/* ---- the clock ---- */

/* Applies the rates of the hour; once the session has ended, takes the signals that nobody else
 * takes any more: then a second Ctrl-C ends the wait for a store that is away. */
static void *
clock_main (void *ctx)
{
  struct wire *w = ctx;
  sigset_t set;
  sigemptyset (&set);
  sigaddset (&set, SIGINT);
  sigaddset (&set, SIGTERM);
  int64_t minute = 0;
  while (!w->has_ended) {
    struct timespec tick = { .tv_nsec = 200 * NS_PER_MS };
    if (!w->is_ending)
      nanosleep (&tick, NULL);
    else if (sigtimedwait (&set, NULL, &tick) > 0) {
      log_warn ("told again to end: not waiting for the store any more; what is durable is safe");
      if (w->mount)
        mount_cancel (w->mount);
    }
    time_t now = time (NULL);
    if (now / 60 != minute) {
      minute = now / 60;
      traffic_tick (w->traffic);
    }
  }
  return NULL;
}

static int
start_clock (struct wire *w)
{
  sigset_t all, old;
  sigfillset (&all);
  pthread_sigmask (SIG_SETMASK, &all, &old);
  w->has_clock = pthread_create (&w->clock, NULL, clock_main, w) == 0;
  pthread_sigmask (SIG_SETMASK, &old, NULL);
  return w->has_clock ? 0 : ERR_NOMEM;
}

/* ---- from bottom to top ---- */

/* Before the first thread is made, so that all inherit it: these are taken by a thread of the
 * session, then by the clock, and none may end the process in between. */
static void
block_signals (void)
{
  sigset_t ends;
  sigemptyset (&ends);
  sigaddset (&ends, SIGINT);
  sigaddset (&ends, SIGTERM);
  sigaddset (&ends, SIGHUP);
  pthread_sigmask (SIG_BLOCK, &ends, NULL);
}

static int
make_mount (struct wire *w)
{
  block_signals ();
  const struct config *c = w->config;
  const struct mount_opts opts = {
    .regions = w->regions,
    .region_count = config_regions (c),
    .state_dir = w->state,
    .cache_dir = w->has_cache ? w->cache : NULL,
    .cache_size = (uint64_t) config_number (c, CONFIG_ALL, CONFIG_ID_CACHE_SIZE),
    .overlay_size = (uint64_t) config_number (c, CONFIG_ALL, CONFIG_ID_OVERLAY_SIZE),
    .zstd_level = (int) config_number (c, CONFIG_ALL, CONFIG_ID_ZSTD_LEVEL),
    .sealer_threads = (int) config_number (c, CONFIG_ALL, CONFIG_ID_SEALER_THREADS),
    .refresh_ns = config_number (c, CONFIG_ALL, CONFIG_ID_REFRESH),
    .rename_wait_ns = config_number (c, CONFIG_ALL, CONFIG_ID_RENAME_WAIT),
    .write_timeout_ns = config_number (c, CONFIG_ALL, CONFIG_ID_WRITE_TIMEOUT),
    .idle_seal_ns = config_number (c, CONFIG_ALL, CONFIG_ID_IDLE_SEAL),
    .partial_expire_ns = config_number (c, CONFIG_ALL, CONFIG_ID_PARTIAL_EXPIRE),
    .file_sha256 = config_is (c, CONFIG_ID_FILE_SHA256),
    .seal_verify = config_text (c, CONFIG_ALL, CONFIG_ID_SEAL_VERIFY),
  };
  int rc = mount_new (&opts, &w->mount);
  if (rc == 0) /* the mount owns them now */
    for (size_t i = 0; i < opts.region_count; i++) {
      w->regions[i].take_blob = NULL;
      w->regions[i].take_keys = NULL;
    }
  return rc;
}

static int
make_fs (struct wire *w, const char *extra, void (*ready) (void *ctx), void *ctx)
{
  const struct config *c = w->config;
  char shown[512];
  blob_url_redact (config_text (c, 0, CONFIG_ID_URL), shown, sizeof shown);
  const char *name = config_text (c, CONFIG_ALL, CONFIG_ID_FSNAME);
  const struct fs_opts opts = {
    .mountpoint = w->mountpoint,
    .fsname = *name ? name : config_regions (c) == 1 ? shown : "coffer",
    .extra = *extra ? extra : NULL,
    .allow_other = config_is (c, CONFIG_ID_ALLOW_OTHER),
    .read_only = config_is (c, CONFIG_ID_READ_ONLY),
    .max_threads = (unsigned) config_number (c, CONFIG_ALL, CONFIG_ID_FUSE_THREADS),
    .read_ahead_kb = (unsigned) (config_number (c, CONFIG_ALL, CONFIG_ID_READ_AHEAD) >> 10),
    .write_timeout_ns = config_number (c, CONFIG_ALL, CONFIG_ID_WRITE_TIMEOUT),
    .upload_rate = traffic_upload_most (w->traffic),
    .ready = ready,
    .ready_ctx = ctx,
    .control = { .ctx = w,
                 .throttle_get = on_throttle_get,
                 .throttle_set = on_throttle_set,
                 .config = on_config,
                 .history = on_history,
                 .command = on_command,
                 .metrics = on_metrics },
  };
  return fs_new (w->mount, &opts, &w->fs);
}

static void
release (struct wire *w)
{
  block_signals (); /* for the clock to take */
  w->is_ending = true;
  fs_free (w->fs);
  mount_free (w->mount);
  w->has_ended = true;
  if (w->has_clock)
    pthread_join (w->clock, NULL);
  for (size_t i = 0; w->regions && i < config_regions (w->config); i++) {
    keyring_free (w->regions[i].take_keys);
    blob_free (w->regions[i].take_blob);
  }
  free (w->regions);
  free (w->stores);
  traffic_free (w->traffic);
  if (w->state_lock >= 0)
    close (w->state_lock);
}

static int
build_and_serve (struct wire *w, const char *extra, void (*ready) (void *ctx), void *ctx)
{
  size_t n = config_regions (w->config);
  int rc = traffic_new (w->config, &w->traffic);
  if (rc == 0)
    w->regions = calloc (n, sizeof *w->regions);
  if (rc == 0)
    w->stores = calloc (n, sizeof *w->stores);
  if (rc == 0 && (!w->regions || !w->stores))
    rc = ERR_NOMEM;
  if (rc < 0)
    return cli_fail (w->cli, rc, NULL, "begin the mount on %s", w->mountpoint);
  int status = 0;
  for (size_t i = 0; status == 0 && i < n; i++)
    status = open_region (w, i);
  if (status == 0 && w->away == n)
    status = cli_refuse (w->cli, EXIT_TRANSIENT, "cannot mount on %s: no region's store answers. "
                                                 "See that one can be reached from here, and try "
                                                 "again", w->mountpoint);
  if (status == 0)
    status = prepare_dirs (w);
  if (status == 0)
    status = prepare_mountpoint (w->cli, w->config, w->mountpoint);
  if (status == 0)
    status = lock_state (w);
  if (status)
    return status;
  rc = make_mount (w);
  if (rc == 0)
    rc = start_clock (w);
  if (rc < 0)
    return cli_fail (w->cli, rc, "The line above says what failed.", "begin the mount on %s",
                     w->mountpoint);
  rc = make_fs (w, extra, ready, ctx);
  if (rc == 0)
    rc = fs_mount (w->fs);
  if (rc < 0)
    return cli_fail (w->cli, rc, "The line above says what failed; /dev/fuse and, unless root "
                                 "mounts, fusermount3 are needed.", "mount on %s", w->mountpoint);
  rc = fs_serve (w->fs);
  notify_service ("STOPPING=1");
  return rc < 0 ? cli_fail (w->cli, rc, NULL, "serve the mount on %s", w->mountpoint) : 0;
}

int
wire_serve (const struct cli *cli, const struct config *c, const char *extra,
            const char *mountpoint, void (*ready) (void *ctx), void *ctx)
{
  struct wire w = { .cli = cli, .config = c, .mountpoint = mountpoint,
                    .state_lock = -1 };
  int status = build_and_serve (&w, extra, ready, ctx);
  release (&w);
  return status;
}
