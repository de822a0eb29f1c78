/* SPDX-License-Identifier: Apache-2.0 */
#include "world.h"

#include <dirent.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

const char *world_now = "";

/* ---- stores and hosts ---- */

void
world_init (struct world *w)
{
  memset (w, 0, sizeof *w);
  w->share = blob_memory_share;
  const char *tmp = getenv ("TMPDIR");
  if (!tmp) /* thousands of state directories come and go */
    tmp = access ("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
  snprintf (w->dir, sizeof w->dir, "%s/coffer-crash-XXXXXX", tmp);
  if (!mkdtemp (w->dir))
    DIE ("no temporary directory");
  snprintf (w->key, sizeof w->key, "%s/key", w->dir);
  struct secret *s;
  MUST (secret_random (&s));
  MUST (key_file_save (w->key, s, "test"));
  secret_free (s);
  MUST (blob_memory_new (&w->empty));
  struct unlock u = { .key_file = w->key };
  struct keyring *k;
  MUST (store_init (w->empty, &u, "test", &k));
  keyring_free (k);
}

void
world_remove (const char *dir)
{
  if (!strstr (dir, "/coffer-crash-"))
    DIE ("not ours: %s", dir);
  DIR *d = opendir (dir);
  if (!d)
    return;
  for (struct dirent *e; (e = readdir (d));) {
    char path[1024];
    if (strcmp (e->d_name, ".") == 0 || strcmp (e->d_name, "..") == 0)
      continue;
    snprintf (path, sizeof path, "%s/%s", dir, e->d_name);
    if (unlink (path) != 0)
      world_remove (path);
  }
  closedir (d);
  rmdir (dir);
}

void
world_end (struct world *w)
{
  blob_free (w->empty);
  world_remove (w->dir);
}

struct blob *
world_store (struct world *w, struct blob *src)
{
  struct blob *b;
  MUST (blob_memory_clone (src ? src : w->empty, &b));
  return b;
}

void
host_up (struct world *w, struct blob *store, const char *state, const char *spec, struct host *h)
{
  *h = (struct host){ .world = w };
  if (state)
    snprintf (h->state, sizeof h->state, "%s", state);
  else
    snprintf (h->state, sizeof h->state, "%s/state%u", w->dir, w->states++);
  struct blob *b;
  struct mount_region_opts region = { .name = "r" };
  struct unlock u = { .key_file = w->key };
  MUST (w->share (store, &b));
  MUST (store_open (b, &u, &region.take_keys));
  MUST (blob_fault_new (&b, NULL, &h->fault));
  blob_fault_set_drop_unacked (h->fault, true);
  MUST (blob_fault_set (h->fault, spec));
  region.take_blob = h->fault;
  struct mount_opts opts = { .regions = &region, .region_count = 1, .state_dir = h->state,
                             .overlay_size = 64u << 20, .zstd_level = 1, .sealer_threads = 2,
                             .refresh_ns = NS_PER_MS, .rename_wait_ns = 60 * NS_PER_S,
                             .write_timeout_ns = 60 * NS_PER_S,
                             .partial_expire_ns = 7 * 86400 * NS_PER_S };
  MUST (mount_new (&opts, &h->m));
}

bool
host_is_dead (struct host *h)
{
  int64_t now;
  return blob_now (h->fault, &now) != 0;
}

void
host_kill (struct host *h)
{
  MUST (blob_fault_set (h->fault, "*@1+0=dead"));
  mount_cancel (h->m);
  mount_free (h->m);
  h->m = NULL;
}

void
host_down (struct host *h)
{
  mount_free (h->m);
  h->m = NULL;
}

void
host_forget (struct host *h)
{
  world_remove (h->state);
}

/* ---- operations by path ---- */

static const struct cred who = { .uid = 1000, .gid = 1000 };

static void
forget (struct host *h, uint64_t node)
{
  mount_forget (h->m, node, 1);
}

int
do_lookup (struct host *h, const char *path, struct node_stat *out)
{
  char copy[512], *save = NULL;
  snprintf (copy, sizeof copy, "r/%s", path);
  struct node_stat st = { .node = NODE_ROOT };
  for (char *p = strtok_r (copy, "/", &save); p; p = strtok_r (NULL, "/", &save)) {
    struct node_stat next;
    int rc = mount_lookup (h->m, st.node, p, 0, &next);
    forget (h, st.node);
    if (rc)
      return rc;
    st = next;
  }
  forget (h, st.node);
  *out = st;
  return 0;
}

/* The node of the directory PATH is in; *name points to the last component. */
static int
parent_of (struct host *h, const char *path, uint64_t *node, const char **name)
{
  char dir[512];
  const char *slash = strrchr (path, '/');
  *name = slash ? slash + 1 : path;
  snprintf (dir, sizeof dir, "%.*s", slash ? (int) (slash - path) : 0, path);
  struct node_stat st;
  int rc = do_lookup (h, dir, &st);
  *node = st.node;
  return rc;
}

struct blob *
world_begin (struct world *w, struct host *out)
{
  struct blob *store = world_store (w, NULL);
  host_up (w, store, NULL, "", out);
  MUST (do_mkdir (out, "db"));
  return store;
}

void
world_over (struct host *h, struct blob *store)
{
  host_down (h);
  host_forget (h);
  blob_free (store);
}

int
do_mkdir (struct host *h, const char *path)
{
  uint64_t dir;
  const char *name;
  struct node_stat st;
  struct mknod_args args = { .kind = NODE_DIR, .mode = 0755 };
  int rc = parent_of (h, path, &dir, &name);
  if (rc == 0)
    rc = mount_mknod (h->m, &who, dir, name, &args, 0, &st);
  if (rc == 0)
    forget (h, st.node);
  return rc;
}

static int
open_path (struct host *h, const char *path, unsigned mode, struct file **f)
{
  uint64_t dir;
  const char *name;
  struct node_stat st;
  int rc = do_lookup (h, path, &st);
  if (rc == 0)
    return mount_open (h->m, st.node, mode, 0, f);
  if (rc != ERR_NOENT || !(mode & OPEN_WRITE))
    return rc;
  rc = parent_of (h, path, &dir, &name);
  if (rc == 0)
    rc = mount_create (h->m, &who, dir, name, 0644, mode, 0, f, &st);
  if (rc == 0)
    forget (h, st.node);
  return rc;
}

int
do_write (struct host *h, const char *path, uint64_t off, const void *data, size_t n)
{
  struct file *f;
  int rc = open_path (h, path, OPEN_WRITE | OPEN_READ, &f);
  if (rc)
    return rc;
  for (size_t at = 0; rc == 0 && at < n;) {
    size_t done = 0;
    bool is_held;
    rc = mount_write (h->m, f, off + at, (const uint8_t *) data + at, n - at, &done, &is_held);
    at += done;
  }
  int flush = mount_flush (h->m, f);
  mount_release (h->m, f);
  return rc ? rc : flush;
}

int
do_truncate (struct host *h, const char *path, uint64_t size)
{
  struct node_stat st, in = { .attr = { .size = size } };
  int rc = do_lookup (h, path, &st);
  return rc ? rc : mount_setattr (h->m, st.node, NULL, SETATTR_SIZE, &in, 0, &st);
}

int
do_punch (struct host *h, const char *path, uint64_t off, uint64_t len, bool is_zero)
{
  struct file *f;
  int rc = open_path (h, path, OPEN_WRITE, &f);
  if (rc)
    return rc;
  int mode = FALLOC_KEEP_SIZE | (is_zero ? FALLOC_ZERO_RANGE : FALLOC_PUNCH_HOLE);
  rc = mount_fallocate (h->m, f, mode, off, len);
  mount_release (h->m, f);
  return rc;
}

int
do_rename (struct host *h, const char *from, const char *to)
{
  uint64_t a, b;
  const char *from_name, *to_name;
  int rc = parent_of (h, from, &a, &from_name);
  if (rc == 0)
    rc = parent_of (h, to, &b, &to_name);
  return rc ? rc : mount_rename (h->m, a, from_name, b, to_name, 0);
}

int
do_unlink (struct host *h, const char *path)
{
  uint64_t dir;
  const char *name;
  int rc = parent_of (h, path, &dir, &name);
  return rc ? rc : mount_unlink (h->m, dir, name, 0);
}

int
do_rmdir (struct host *h, const char *path)
{
  uint64_t dir;
  const char *name;
  int rc = parent_of (h, path, &dir, &name);
  return rc ? rc : mount_rmdir (h->m, dir, name, 0);
}

int
do_link (struct host *h, const char *from, const char *to)
{
  uint64_t dir;
  const char *name;
  struct node_stat st, made;
  int rc = do_lookup (h, from, &st);
  if (rc == 0)
    rc = parent_of (h, to, &dir, &name);
  if (rc == 0)
    rc = mount_link (h->m, st.node, dir, name, 0, &made);
  if (rc == 0)
    forget (h, made.node);
  return rc;
}

int
do_copy (struct host *h, const char *from, const char *to)
{
  struct file *in, *out;
  int rc = open_path (h, from, OPEN_READ, &in);
  if (rc)
    return rc;
  rc = open_path (h, to, OPEN_WRITE, &out);
  uint64_t off = 0, copied = 1;
  while (rc == 0 && copied) {
    rc = mount_copy_range (h->m, in, off, out, off, 1u << 30, 0, &copied);
    off += copied;
  }
  if (rc == 0 || off)
    mount_release (h->m, out);
  mount_release (h->m, in);
  return rc;
}

struct waiting {
  struct mount_wait wait; /* first */
  pthread_mutex_t lock;
  pthread_cond_t cond;
  bool is_done;
  int rc;
};

static void
wake (struct mount_wait *wait, int rc)
{
  struct waiting *w = (struct waiting *) wait;
  pthread_mutex_lock (&w->lock);
  w->rc = rc;
  w->is_done = true;
  pthread_cond_signal (&w->cond);
  pthread_mutex_unlock (&w->lock);
}

int
do_fsync (struct host *h, const char *path)
{
  struct node_stat st;
  int rc = do_lookup (h, path, &st);
  if (rc)
    return rc;
  struct waiting w = { .wait = { .done = wake }, .lock = PTHREAD_MUTEX_INITIALIZER,
                       .cond = PTHREAD_COND_INITIALIZER };
  mount_fsync (h->m, st.node, NULL, &w.wait);
  pthread_mutex_lock (&w.lock);
  while (!w.is_done)
    pthread_cond_wait (&w.cond, &w.lock);
  pthread_mutex_unlock (&w.lock);
  return w.rc;
}

int
do_seal (struct host *h, const char *path)
{
  char to[512];
  size_t n = strlen (path);
  snprintf (to, sizeof to, "%.*s", (int) (n - strlen (".partial")), path);
  return do_rename (h, path, to);
}

bool
do_info (struct host *h, const char *path, struct snapshot_info *out)
{
  struct snapshot_info *list;
  size_t n, len = strcspn (path, ".");
  bool found = false;
  MUST (mount_snapshots (h->m, &list, &n));
  for (size_t i = 0; i < n; i++) {
    char name[300];
    snprintf (name, sizeof name, "%s/%s", list[i].vault, list[i].name);
    if (strncmp (name, path, len) == 0 && (!name[len] || name[len] == '.')
        && list[i].state != SNAP_REMOVED) {
      *out = list[i];
      found = true;
    }
  }
  free (list);
  return found;
}

int
do_order (struct host *h, const char *path, unsigned flags, const char *without)
{
  struct snapshot_info info;
  char full[512];
  snprintf (full, sizeof full, "r/%s", path);
  int rc = mount_seal_start (h->m, full, flags, without);
  if (rc)
    return rc;
  do {
    clock_sleep (2 * NS_PER_MS);
    if (!do_info (h, path, &info))
      DIE ("%s is not known any more", path);
  } while (info.state == SNAP_SEALING);
  return info.state == SNAP_SEALED ? 0 : info.error;
}

int
do_read (struct host *h, const char *path, struct buf *out)
{
  struct file *f;
  int rc = open_path (h, path, OPEN_READ, &f);
  if (rc)
    return rc;
  uint8_t *piece = malloc (100000);
  for (size_t got = 1; piece && rc == 0 && got;) {
    rc = mount_read (h->m, f, out->len, 100000, 0, piece, &got);
    if (rc == 0)
      buf_put (out, piece, got);
  }
  free (piece);
  mount_release (h->m, f);
  return rc ? rc : buf_error (out);
}

struct walk {
  struct host *host;
  char path[512];
  size_t skip;
  void (*fn) (void *ctx, const char *below);
  void *ctx;
  struct buf dirs;
};

static bool
walk_one (void *ctx, const char *name, enum node_kind kind, const struct node_stat *stat,
          uint64_t next)
{
  (void) stat;
  (void) next;
  struct walk *w = ctx;
  char below[700];
  snprintf (below, sizeof below, "%s/%s", w->path, name);
  if (kind == NODE_DIR && strcmp (name, ".") != 0 && strcmp (name, "..") != 0)
    buf_put (&w->dirs, below, strlen (below) + 1);
  else if (kind != NODE_DIR)
    w->fn (w->ctx, below + w->skip);
  return true;
}

static void
walk_dir (struct host *h, const char *path, size_t skip, void (*fn) (void *ctx, const char *below),
          void *ctx)
{
  struct walk w = { .host = h, .skip = skip, .fn = fn, .ctx = ctx };
  snprintf (w.path, sizeof w.path, "%s", path);
  buf_init (&w.dirs, 1 << 20);
  struct node_stat st;
  struct dir *d;
  MUST (do_lookup (h, path, &st));
  MUST (mount_opendir (h->m, st.node, 0, &d));
  MUST (mount_readdir (h->m, d, 0, false, 0, walk_one, &w));
  mount_closedir (h->m, d);
  for (size_t at = 0; at < w.dirs.len; at += strlen ((char *) w.dirs.data + at) + 1)
    walk_dir (h, (char *) w.dirs.data + at, skip, fn, ctx);
  buf_release (&w.dirs);
}

void
do_walk (struct host *h, const char *path, void (*fn) (void *ctx, const char *below), void *ctx)
{
  walk_dir (h, path, strlen (path) + 1, fn, ctx);
}

void
fill (uint8_t *p, size_t n, uint64_t seed)
{
  uint64_t x = seed * 0x9e3779b97f4a7c15ull + 1;
  for (size_t i = 0; i < n; i++) {
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    p[i] = (uint8_t) (x >> 24) | 1; /* never zero: zeros are always a mistake */
  }
}
