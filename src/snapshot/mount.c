/* SPDX-License-Identifier: Apache-2.0 */
#define LOG_MODULE "mount"
#include "snapshot/mount.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/log.h"
#include "snapshot/file.h"
#include "snapshot/seen.h"
#include "snapshot/snap.h"

#define TICK (5 * NS_PER_S)
/* of an open snapshot that changed: its progress for others, and resume */
#define CHECKPOINT_EVERY (60 * NS_PER_S)
#define CHECKPOINT_REFRESH (24 * 3600 * NS_PER_S) /* a checkpoint is a root for 7 days */
#define LOG_BIG (1u << 20)
/* how often is asked whether others sealed the snapshot of a part that is not finished */
#define LOOK_SELDOM (300 * NS_PER_S)
#define IDLE_AGAIN (60 * NS_PER_S) /* after an idle seal that did not work */

static int
make_dir (const char *base, const char *name, char *out, size_t cap)
{
  snprintf (out, cap, "%s/%s", base, name);
  if (mkdir (out, 0700) == 0 || errno == EEXIST)
    return 0;
  log_err ("cannot make a directory path=%s err=\"%s\"", out, strerror (errno));
  return err_from_errno (errno);
}

static int
load_host_id (struct mount *m)
{
  char path[4200], hex[40] = "";
  snprintf (path, sizeof path, "%s/host-id", m->opts.state_dir);
  int fd = open (path, O_RDONLY | O_CLOEXEC);
  if (fd >= 0) {
    ssize_t n = read (fd, hex, 32);
    close (fd);
    hex[n < 0 ? 0 : n] = 0;
    if (n == 32 && hex_decode (hex, 16, m->host_id))
      return 0;
    log_warn ("the host id is damaged path=%s: this host gets a new one", path);
  }
  random_bytes (m->host_id, sizeof m->host_id);
  hex_encode (m->host_id, 16, hex);
  fd = open (path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  int rc = fd >= 0 && write (fd, hex, 32) == 32 && fsync (fd) == 0 ? 0 : ERR_IO;
  if (rc)
    log_err ("cannot write the host id path=%s err=\"%s\"", path, strerror (errno));
  if (fd >= 0)
    close (fd);
  return rc;
}

static int
make_state (struct mount *m)
{
  char path[4200];
  if (mkdir (m->opts.state_dir, 0700) != 0 && errno != EEXIST) {
    log_err ("cannot make the state directory path=%s err=\"%s\": choose another with state-dir=",
             m->opts.state_dir, strerror (errno));
    return err_from_errno (errno);
  }
  struct stat st;
  if (stat (m->opts.state_dir, &st) != 0 || (st.st_uid != geteuid () && st.st_uid != 0)
      || (st.st_mode & 022)) {
    log_err ("the state directory belongs to somebody else, or others can write it path=%s: who "
             "can change it can make this daemon write elsewhere; choose another with state-dir=",
             m->opts.state_dir);
    return ERR_DENIED;
  }
  int rc = make_dir (m->opts.state_dir, "parts", path, sizeof path);
  if (rc == 0)
    rc = make_dir (m->opts.state_dir, "index", path, sizeof path);
  if (rc == 0)
    rc = make_dir (m->opts.state_dir, "seen", path, sizeof path);
  if (rc == 0)
    rc = make_dir (m->opts.state_dir, "scratch", m->scratch, sizeof m->scratch);
  snprintf (m->overlay.dir, sizeof m->overlay.dir, "%s", m->scratch);
  m->overlay.max = m->opts.overlay_size;
  return rc ? rc : load_host_id (m);
}

/* The store is open: what is known of it, and its clock. */
static int
region_enter (struct region *r)
{
  int rc = seen_check_store (r->mount, r->name, keyring_superblock (r->keys));
  if (rc)
    return rc;
  int64_t now;
  rc = blob_now (r->blob, &now);
  if (rc == 0)
    r->clock_offset = now - clock_wall ();
  else
    log_warn ("the store's clock is unknown region=%s err=\"%s\": taking this host's", r->name,
              err_str (rc));
  return 0;
}

/* ---- a region whose store was away when the mount began ---- */

struct join_job {
  struct pool_job job; /* first */
  struct region *region;
};

/* It is no answer yet whether the store can be used. */
static bool
is_away (int rc)
{
  return err_is_transient (rc) || rc == ERR_IO || rc == ERR_MISSING || rc == ERR_CANCELLED
         || rc == ERR_NOMEM;
}

static int
open_store (struct region *r)
{
  struct mount *m = r->mount;
  AUTO (blob) b = NULL;
  int rc = r->open (r->open_ctx, &b, &r->keys);
  if (rc)
    return rc;
  {
    LOCK_SCOPE (&m->lock);
    r->blob = STEAL (b);
    if (m->is_cancelled)
      blob_cancel (r->blob);
  }
  rc = region_enter (r);
  if (rc) {
    keyring_free (STEAL (r->keys));
    LOCK_SCOPE (&m->lock);
    b = STEAL (r->blob);
  }
  return rc;
}

static void
join_run (struct pool_job *job)
{
  struct region *r = ((struct join_job *) job)->region;
  struct mount *m = r->mount;
  free (job);
  int rc = open_store (r);
  if (rc == 0) {
    snap_recover_all (r);
    log_info ("the store is back, the region is served region=%s", r->name);
  } else if (!is_away (rc))
    log_err ("the region is not served: its store is there but cannot be used region=%s "
             "err=\"%s\": mend what the line above says and mount again", r->name, err_str (rc));
  LOCK_SCOPE (&m->lock);
  r->is_joining = false;
  r->away = rc;
}

/* Looks whether the stores of absent regions are back, one at a time: a dead one keeps a worker for
 * some seconds. */
static void
look_at_regions (struct mount *m)
{
  LOCK_SCOPE (&m->lock);
  struct region *next = NULL;
  for (size_t i = 0; i < m->region_count; i++) {
    struct region *r = m->regions[(m->joins + i) % m->region_count];
    if (r->is_joining)
      return;
    if (!next && r->away && is_away (r->away))
      next = r;
  }
  struct join_job *j = next ? calloc (1, sizeof *j) : NULL;
  if (!j)
    return;
  *j = (struct join_job){ .job.run = join_run, .region = next };
  next->is_joining = true;
  m->joins = next->no + 1;
  pool_submit (m->workers, &j->job);
}

/* ---- databases made here that the store does not show yet ---- */

struct mark_job {
  struct pool_job job; /* first */
  struct vault *vault;
};

static struct vault *
find_unmarked_locked (struct mount *m)
{
  lock_assert_held (&m->lock);
  for (size_t i = 0; i < m->region_count; i++)
    for (uint32_t k = 0; k < m->regions[i]->vault_count; k++)
      if (m->regions[i]->vaults[k]->is_unmarked)
        return m->regions[i]->vaults[k];
  return NULL;
}

static void
mark_run (struct pool_job *job)
{
  struct vault *v = ((struct mark_job *) job)->vault;
  struct mount *m = v->region->mount;
  free (job);
  int rc = vault_mark (v);
  if (rc)
    log_warn ("a new database is not in the store yet region=%s vault=%s err=\"%s\": other hosts "
              "do not see it", v->region->name, v->name, err_str (rc));
  LOCK_SCOPE (&m->lock);
  m->is_marking = false;
}

/* One at a time: `mkdir` does not wait for the store, and a dead one keeps one worker only. */
static void
look_at_vaults (struct mount *m)
{
  LOCK_SCOPE (&m->lock);
  struct vault *v = m->is_marking ? NULL : find_unmarked_locked (m);
  struct mark_job *j = v ? calloc (1, sizeof *j) : NULL;
  if (!j)
    return;
  *j = (struct mark_job){ .job.run = mark_run, .vault = v };
  m->is_marking = true;
  pool_submit (m->workers, &j->job);
}

static int
mark_all (struct mount *m)
{
  for (;;) {
    lock_take (&m->lock);
    struct vault *v = find_unmarked_locked (m);
    lock_release (&m->lock);
    int rc = v ? vault_mark (v) : 0;
    if (!v || rc)
      return rc;
  }
}

static int
add_region (struct mount *m, struct mount_region_opts *o)
{
  struct region *r = calloc (1, sizeof *r);
  if (!r)
    return ERR_NOMEM;
  r->mount = m;
  r->no = (unsigned) m->region_count;
  snprintf (r->name, sizeof r->name, "%s", o->name);
  r->blob = o->take_blob;
  r->keys = o->take_keys;
  o->take_blob = NULL;
  o->take_keys = NULL;
  m->regions[m->region_count++] = r;
  if (r->keys)
    return region_enter (r);
  r->open = o->open;
  r->open_ctx = o->open_ctx;
  r->away = ERR_AGAIN;
  return 0;
}

static bool
wants_checkpoint (struct snap *s, int64_t now)
{
  if (s->life != LIFE_OPEN || s->is_joiner || s->is_pinning || snap_is_committing_locked (s)
      || s->error)
    return false;
  lock_take (&s->tree->lock);
  size_t logged = s->tree->log.len;
  lock_release (&s->tree->lock);
  int64_t age = now - s->last_checkpoint;
  return (logged && age > CHECKPOINT_EVERY) || logged > LOG_BIG || age > CHECKPOINT_REFRESH;
}

static void
look_at_snap (struct mount *m, struct snap *s, int64_t now)
{
  lock_take (&s->lock);
  bool checkpoint = wants_checkpoint (s, now);
  bool idle = m->opts.idle_seal_ns && s->is_direct && s->life == LIFE_OPEN && !s->had_unclean
              && !s->is_interrupted && s->writers == 0 && s->received
              && !s->is_finished && clock_wall () - s->last_write > m->opts.idle_seal_ns
              && (!s->seal_ended || now - s->seal_ended > IDLE_AGAIN);
  bool look = s->life == LIFE_OPEN && !s->is_joiner
    && now - s->looked > (s->is_finished ? m->opts.refresh_ns : LOOK_SELDOM);
  lock_release (&s->lock);
  if (idle)
    (void) !snap_seal_start (s, 0, "idle", NULL); /* tried again after a while */
  else if (checkpoint)
    snap_checkpoint_start (s);
  if (look)
    vault_look (s);
  if (filedata_overlay_bytes (s) && m->overlay.used > m->overlay.max / 2)
    snap_drain_start (s);
  if (s->life == LIFE_SEALED)
    snap_drop_tree (s);
}

static void *
committer (void *arg)
{
  struct mount *m = arg;
  pthread_setname_np (pthread_self (), "committer");
  lock_take (&m->lock);
  while (!m->is_stopping) {
    (void) lock_wait_until (&m->wake, &m->lock, clock_now () + TICK);
    lock_release (&m->lock);
    look_at_regions (m);
    look_at_vaults (m);
    lock_take (&m->lock);
    for (struct snap *s = m->live, *next; s && !m->is_stopping; s = next) {
      next = s->next_live;
      if (s->life == LIFE_GONE && !s->removed_at)
        continue;
      lock_release (&m->lock);
      if (s->removed_at)
        snap_drop_tree (s);
      else
        look_at_snap (m, s, clock_now ());
      lock_take (&m->lock);
    }
  }
  lock_release (&m->lock);
  return NULL;
}

static int
start (struct mount *m)
{
  struct pipeline_opts line = { .sealers = m->opts.sealer_threads };
  int rc = pipeline_new (&line, &m->line);
  struct reader_limits limits = { .decoded_bytes = 32u << 20, .raw_bytes = 32u << 20,
                                  .fetch_threads = 32,
                                  .decode_threads = 2 };
  if (rc == 0)
    rc = reader_new (&limits, &m->reader);
  if (rc == 0)
    rc = pool_new ("worker", 8, 1 << 20, &m->workers);
  if (rc == 0)
    rc = pool_new ("asker", 8, 1 << 20, &m->askers);
  if (rc)
    return rc;
  if (m->opts.cache_dir && blockcache_open (m->opts.cache_dir, m->opts.cache_size, &m->cache) != 0)
    log_warn ("going on without a block cache path=%s", m->opts.cache_dir);
  return 0;
}

int
mount_new (const struct mount_opts *opts, struct mount **out)
{
  struct mount *m = calloc (1, sizeof *m);
  if (!m)
    return ERR_NOMEM;
  m->opts = *opts;
  m->opts.seal_verify = opts->seal_verify ? opts->seal_verify : "none";
  m->started = clock_wall ();
  lock_init (&m->lock, LOCK_MOUNT, "mount");
  lock_cond_init (&m->wake);
  if (gethostname (m->host, sizeof m->host - 1) != 0)
    snprintf (m->host, sizeof m->host, "unknown");
  int rc = make_state (m);
  m->regions = calloc (opts->region_count + 1, sizeof (struct region *));
  if (rc == 0)
    rc = m->regions ? start (m) : ERR_NOMEM;
  for (size_t i = 0; rc == 0 && i < opts->region_count; i++)
    rc = add_region (m, &opts->regions[i]);
  if (rc == 0) {
    for (size_t i = 0; i < m->region_count; i++)
      if (!m->regions[i]->away)
        snap_recover_all (m->regions[i]);
    rc = pthread_create (&m->committer, NULL, committer, m) == 0 ? 0 : ERR_NOMEM;
    m->has_committer = rc == 0;
  }
  if (rc) {
    mount_cancel (m);
    mount_free (m);
    return rc;
  }
  *out = m;
  return 0;
}

void
mount_cancel (struct mount *m)
{
  lock_take (&m->lock);
  m->is_cancelled = true;
  for (size_t i = 0; i < m->region_count; i++)
    if (m->regions[i]->blob)
      blob_cancel (m->regions[i]->blob);
  lock_release (&m->lock);
  if (m->line)
    pipeline_cancel (m->line);
}

size_t
mount_writers (struct mount *m)
{
  size_t n = 0;
  LOCK_SCOPE (&m->lock);
  for (struct snap *s = m->live; s; s = s->next_live) {
    LOCK_SCOPE (&s->lock);
    n += s->writers;
  }
  return n;
}

/* The I-th snapshot, or NULL past the end; *skip: nothing to do with it. */
static struct snap *
snap_at (struct mount *m, uint32_t i, bool *is_end)
{
  LOCK_SCOPE (&m->lock);
  *is_end = i >= m->snap_count;
  return *is_end ? NULL : m->snaps[i];
}

int
mount_drain (struct mount *m)
{
  int rc = mark_all (m);
  bool is_end = false;
  for (uint32_t i = 0; !is_end; i++) {
    struct snap *s = snap_at (m, i, &is_end);
    if (!s || s->life == LIFE_GONE)
      continue;
    while (s->life == LIFE_SEALING)
      (void) !snap_seal_wait (s, NS_PER_S); /* its own result is told to whoever asked */
    int one = s->life == LIFE_OPEN && !s->is_joiner && !s->error ? snap_commit (s) : 0;
    rc = rc ? rc : one;
  }
  return rc;
}

static void
free_region (struct region *r)
{
  for (uint32_t i = 0; i < r->vault_count; i++)
    vault_free (r->vaults[i]);
  free (r->vaults);
  keyring_free (r->keys);
  blob_free (r->blob);
  free (r);
}

void
mount_free (struct mount *m)
{
  if (!m)
    return;
  if (m->has_committer && !m->is_cancelled)
    (void) !mount_drain (m); /* logged */
  lock_take (&m->lock);
  m->is_stopping = true;
  pthread_cond_broadcast (&m->wake);
  lock_release (&m->lock);
  if (m->has_committer)
    pthread_join (m->committer, NULL);
  if (m->workers)
    pool_free (m->workers);
  if (m->askers) /* after those that wait for them */
    pool_free (m->askers);
  for (uint32_t i = 0; i < m->snap_count; i++)
    if (m->snaps[i]) {
      struct snap *s = m->snaps[i];
      if (s->tree)
        filedata_drop_all (s);
      pipe_dep_release (s->vault->pipe, &s->dep);
    }
  for (size_t r = 0; r < m->region_count; r++)
    for (uint32_t i = 0; i < m->regions[r]->vault_count; i++)
      if (m->regions[r]->vaults[i]->is_open)
        pipe_drain (m->regions[r]->vaults[i]->pipe);
  for (uint32_t i = 0; i < m->snap_count; i++)
    snap_free (m->snaps[i]);
  for (uint32_t i = 0; i < m->sealed_count; i++)
    sealed_free (m->sealed[i]);
  free (m->snaps);
  free (m->sealed);
  for (size_t i = 0; i < m->region_count; i++)
    free_region (m->regions[i]);
  free (m->regions);
  pipeline_free (m->line);
  reader_free (m->reader);
  blockcache_free (m->cache);
  pthread_cond_destroy (&m->wake);
  lock_destroy (&m->lock);
  free (m);
}
