/* SPDX-License-Identifier: Apache-2.0 */
/* Rulings 1, 2 and 27: writers beside a collector, and packs that never arrive.
 *
 * The collector here is a script of four steps: it condemns the packs that no root names,
 * publishes that, reads all roots again and deletes what is still not named, and drops its record
 * once none of its packs is left.  Roots are the packs of sealed and pending manifests and of
 * checkpoints of open snapshots.  Packs younger than a day by the store's clock are left alone.
 * Before the writer's k-th call of the store the next step is made: for every start k and several
 * distances.  The writer's source cannot be read again: what it wrote it never writes twice.  A
 * second host has an index that is a month old.  A session of a writer is days old.
 * Oracle: every sealed snapshot that is left is read in full by a fresh host.
 *
 * Then two snapshots share chunks while the k-th put fails for good, for all k: neither hangs, and
 * what is sealed is whole.
 *
 * Longer than 600 lines: the collector and the writers it is tried on are one scenario. */
#include "world.h"

#include <pthread.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "format/checkpoint.h"
#include "snapshot/snap.h"
#include "store/seal.h"

#define GC_STEPS 4
/* Which calls the collector starts at: each, or under a thread sanitizer (ten times as slow) each
 * third, another third for each distance. */
#ifdef __SANITIZE_THREAD__
#define STRIDE 3
#else
#define STRIDE 1
#endif
#define FOR_STARTS(start, distance, calls) \
  for (unsigned start = 1 + (distance) % STRIDE; start <= (calls); start += STRIDE)
#define DAY (86400 * NS_PER_S)

/* ---- a collector ---- */

struct names {
  uint8_t (*at)[PACK_NAME_LEN];
  size_t count;
};

static void
add_name (struct names *n, const uint8_t name[PACK_NAME_LEN])
{
  n->at = realloc (n->at, (n->count + 1) * sizeof *n->at);
  memcpy (n->at[n->count++], name, PACK_NAME_LEN);
}

static bool
has_name (const struct names *n, const uint8_t name[PACK_NAME_LEN])
{
  for (size_t i = 0; i < n->count; i++)
    if (memcmp (n->at[i], name, PACK_NAME_LEN) == 0)
      return true;
  return false;
}

struct gc {
  struct world *world;
  struct blob *blob;
  struct host reader; /* a mount of its own, to read trees */
  struct keyring *keys;
  struct vault_keys *vk;
  struct names condemned;
  struct buf keys_seen;
  int64_t old; /* packs put before this may go */
  int step;
  unsigned deleted;
};

static int
collect_key (void *ctx, const struct blob_entry *e)
{
  struct buf *b = ctx;
  buf_put_u64 (b, (uint64_t) e->mtime);
  buf_put (b, e->key, strlen (e->key) + 1);
  return b->error;
}

static void
list_keys (struct gc *g, const char *prefix, struct buf *out)
{
  buf_reset (out);
  MUST (blob_list (g->blob, prefix, "", false, collect_key, out));
}

static void
root_checkpoint (struct gc *g, const char *key, struct names *roots)
{
  char ts[128], part[32], seq[32];
  if (sscanf (key, "vaults/db/open/%127[^/]/%31[^/]/%31s", ts, part, seq) != 3)
    DIE ("strange key %s", key);
  AUTO_BUF object, plain;
  buf_init (&object, 80u << 20);
  buf_init (&plain, 80u << 20);
  MUST (blob_get_all (g->blob, key, &object));
  AUTO (sealer) s = NULL;
  MUST (sealer_new (&s));
  uint8_t id[ID_LEN];
  unit_id_checkpoint (g->vk, ts, part, seq, id);
  MUST (open_unit_buf (s, g->vk, UNIT_CHECKPOINT, id, object.data + OBJECT_HEADER_LEN,
                       object.len - OBJECT_HEADER_LEN, &plain));
  struct rd in = rd_of (plain.data, plain.len);
  struct checkpoint_head head = { 0 };
  MUST (checkpoint_head_get (&in, &head));
  for (uint32_t i = 0; i < head.pins.count; i++)
    add_name (roots, head.pins.names[i]);
  for (uint32_t i = 0; i < head.own.count; i++)
    add_name (roots, head.own.names[i]);
  checkpoint_head_release (&head);
}

static void
root_manifest (struct gc *g, const char *key, struct names *roots)
{
  char ts[128], digest[33];
  if (sscanf (key, "vaults/db/snapshots/%127[^.].%32[0-9a-f]", ts, digest) != 2)
    DIE ("strange key %s", key);
  struct manifest m = { 0 };
  struct vault *v;
  int rc = manifest_load (g->blob, g->vk, "db", ts, digest, strstr (key, ".sealed") != NULL, &m);
  if (rc == ERR_MISSING)
    return; /* withdrawn */
  MUST (rc);
  MUST (vault_intern (g->reader.m->regions[0], "db", &v));
  MUST (vault_open (v));
  add_name (roots, m.tree.pack);
  for (size_t i = 0; i < m.pack_count; i++) {
    struct chunk_want want = { .src = &v->source, .ref = m.packs[i].ref, .type = UNIT_PACK_LIST };
    memcpy (want.pack, m.packs[i].pack, PACK_NAME_LEN);
    add_name (roots, m.packs[i].pack);
    AUTO_BUF plain;
    buf_init (&plain, unit_plain_max (UNIT_PACK_LIST));
    MUST (reader_unit (g->reader.m->reader, &want, &plain));
    AUTO_MEM struct pack_use *uses = NULL;
    size_t n;
    MUST (pack_list_decode (plain.data, plain.len, &uses, &n));
    for (size_t k = 0; k < n; k++)
      add_name (roots, uses[k].name);
  }
  manifest_release (&m);
}

static void
read_roots (struct gc *g, struct names *roots)
{
  AUTO_BUF list;
  buf_init (&list, 16u << 20);
  list_keys (g, "vaults/db/open/", &list);
  for (size_t at = 0; at < list.len; at += 9 + strlen ((char *) list.data + at + 8))
    root_checkpoint (g, (char *) list.data + at + 8, roots);
  list_keys (g, "vaults/db/snapshots/", &list);
  for (size_t at = 0; at < list.len; at += 9 + strlen ((char *) list.data + at + 8))
    root_manifest (g, (char *) list.data + at + 8, roots);
}

static void
condemn (struct gc *g)
{
  struct names roots = { 0 };
  AUTO_BUF list;
  buf_init (&list, 16u << 20);
  list_keys (g, "vaults/db/packs/", &list);
  read_roots (g, &roots);
  for (size_t at = 0; at < list.len; at += 9 + strlen ((char *) list.data + at + 8)) {
    uint8_t name[PACK_NAME_LEN];
    int64_t mtime = (int64_t) get_le64 (list.data + at);
    if (!hex_decode (strrchr ((char *) list.data + at + 8, '/') + 1, PACK_NAME_LEN, name))
      DIE ("strange pack");
    if (mtime < g->old && !has_name (&roots, name))
      add_name (&g->condemned, name);
  }
  free (roots.at);
}

static void
publish (struct gc *g)
{
  struct pack_table t = { 0 };
  uint32_t at;
  if (!g->condemned.count)
    return;
  for (size_t i = 0; i < g->condemned.count; i++)
    MUST (pack_table_intern (&t, g->condemned.at[i], &at));
  for (uint32_t i = 0; i + 1 < t.count; i++) /* ascending by bytes */
    for (uint32_t k = i + 1; k < t.count; k++)
      if (memcmp (t.names[i], t.names[k], PACK_NAME_LEN) > 0) {
        uint8_t swap[PACK_NAME_LEN];
        memcpy (swap, t.names[i], PACK_NAME_LEN);
        memcpy (t.names[i], t.names[k], PACK_NAME_LEN);
        memcpy (t.names[k], swap, PACK_NAME_LEN);
      }
  AUTO_BUF plain, object;
  buf_init (&plain, 1u << 20);
  buf_init (&object, 2u << 20);
  MUST (gc_record_encode (&t, &plain));
  AUTO (sealer) s = NULL;
  MUST (sealer_new (&s));
  uint8_t id[ID_LEN];
  unit_id_gc (g->vk, "run1", id);
  object_header_put (&object, MAGIC_GC);
  MUST (seal_unit (s, g->vk, UNIT_GC, id, plain.data, plain.len, 1, &object));
  MUST (blob_put (g->blob, "vaults/db/gc/run1/condemned", object.data, object.len, NULL));
  pack_table_release (&t);
}

static void
delete_rest (struct gc *g)
{
  struct names roots = { 0 };
  read_roots (g, &roots);
  for (size_t i = 0; i < g->condemned.count; i++) {
    char hex[65], key[BLOB_KEY_MAX];
    const char *keys[] = { key };
    if (has_name (&roots, g->condemned.at[i]))
      continue;
    hex_encode (g->condemned.at[i], PACK_NAME_LEN, hex);
    snprintf (key, sizeof key, "vaults/db/packs/%.2s/%s", hex, hex);
    MUST (blob_delete (g->blob, keys, 1));
    g->deleted++;
  }
  free (roots.at);
}

/* Once none of its packs exists. */
static void
drop_record (struct gc *g)
{
  const char *keys[] = { "vaults/db/gc/run1/condemned" };
  if (g->deleted && g->deleted == g->condemned.count)
    MUST (blob_delete (g->blob, keys, 1));
}

static void
gc_step (struct gc *g)
{
  if (g->step == 0)
    condemn (g);
  else if (g->step == 1)
    publish (g);
  else if (g->step == 2)
    delete_rest (g);
  else
    drop_record (g);
  g->step++;
}

static void
gc_init (struct gc *g, struct world *w, struct blob *store, int64_t old)
{
  *g = (struct gc){ .world = w, .old = old };
  host_up (w, store, NULL, "", &g->reader);
  MUST (blob_memory_share (store, &g->blob));
  struct unlock u = { .key_file = w->key };
  MUST (store_open (g->blob, &u, &g->keys));
  MUST (vault_keys_new (g->keys, "db", &g->vk));
}

static void
gc_end (struct gc *g)
{
  host_kill (&g->reader);
  host_forget (&g->reader);
  vault_keys_free (g->vk);
  keyring_free (g->keys);
  blob_free (g->blob);
  free (g->condemned.at);
}

/* ---- a blob that makes the collector's next step before a call ---- */

struct stepping {
  struct blob blob;
  struct blob *inner;
  struct gc *gc;
  pthread_mutex_t lock;
  unsigned calls, next, distance;
};

static struct stepping *_Atomic stepper; /* of the mount under test; one at a time */

static void
maybe_step (void)
{
  struct stepping *s = stepper;
  if (!s)
    return;
  pthread_mutex_lock (&s->lock);
  if (++s->calls == s->next /* 0: not yet */ && s->gc->step < GC_STEPS) {
    gc_step (s->gc);
    s->next += s->distance;
  }
  pthread_mutex_unlock (&s->lock);
}

static int
step_put (struct blob *b, const char *key, const void *data, size_t len,
          const struct blob_put_opts *opts)
{
  maybe_step ();
  return blob_put (((struct stepping *) b)->inner, key, data, len, opts);
}
static int
step_get (struct blob *b, const char *key, uint64_t off, size_t len, void *out)
{
  maybe_step ();
  return blob_get (((struct stepping *) b)->inner, key, off, len, out);
}
static int
step_get_all (struct blob *b, const char *key, struct buf *out)
{
  maybe_step ();
  return blob_get_all (((struct stepping *) b)->inner, key, out);
}
static int
step_head (struct blob *b, const char *key, struct blob_info *out)
{
  maybe_step ();
  return blob_head (((struct stepping *) b)->inner, key, out);
}
static int
step_list (struct blob *b, const char *prefix, const char *after, bool is_delimited,
           blob_list_fn fn, void *ctx)
{
  maybe_step ();
  return blob_list (((struct stepping *) b)->inner, prefix, after, is_delimited, fn, ctx);
}
static int
step_del (struct blob *b, const char *const *keys, size_t n)
{
  maybe_step ();
  return blob_delete (((struct stepping *) b)->inner, keys, n);
}
static int
step_now (struct blob *b, int64_t *out)
{
  return blob_now (((struct stepping *) b)->inner, out);
}
static void
step_cancel (struct blob *b)
{
  blob_cancel (((struct stepping *) b)->inner);
}
static void
step_free (struct blob *b)
{
  stepper = NULL;
  blob_free (((struct stepping *) b)->inner);
  free (b);
}
static const struct blob_ops step_ops
  = { "step", step_put, step_get, step_get_all, step_head, step_list, step_del, step_now,
      step_cancel, step_free };

/* ---- scenes ---- */

static void
put (struct host *h, struct jsnap *s, const char *file, size_t n, uint64_t seed)
{
  char path[300];
  uint8_t *p = malloc (n);
  fill (p, n, seed);
  struct jfile *f = journal_file (s, file);
  struct buf *b = journal_next (f);
  buf_reset (b);
  buf_put (b, p, n);
  snprintf (path, sizeof path, "%s.partial/%s", s->path, file);
  int rc = do_write (h, path, 0, p, n);
  free (p);
  if (rc)
    DIE ("write of %s: %s", path, err_str (rc));
}

static void
begin (struct host *h, struct jsnap *s)
{
  char path[300];
  snprintf (path, sizeof path, "%s.partial", s->path);
  MUST (do_mkdir (h, path));
}

static int
seal (struct host *h, struct jsnap *s)
{
  char path[300];
  snprintf (path, sizeof path, "%s.partial", s->path);
  return do_seal (h, path);
}

/* Removes the `.sealed`, `.pending` and checkpoints of TS, as coffer forget, the expiry would. */
static void
forget_snapshot (struct blob *store, const char *ts)
{
  AUTO_BUF list;
  const char *prefixes[] = { "vaults/db/snapshots/", "vaults/db/open/" };
  for (int p = 0; p < 2; p++) {
    buf_init (&list, 1u << 20);
    MUST (blob_list (store, prefixes[p], "", false, collect_key, &list));
    for (size_t at = 0; at < list.len; at += 9 + strlen ((char *) list.data + at + 8)) {
      const char *keys[] = { (char *) list.data + at + 8 };
      if (strstr (keys[0], ts))
        MUST (blob_delete (store, keys, 1));
    }
    buf_release (&list);
  }
}

static void
check_all (struct world *w, struct blob *store, struct journal *j)
{
  struct host h;
  host_up (w, store, NULL, "", &h);
  for (unsigned i = 0; i < j->count; i++) {
    struct node_stat st;
    int rc = do_lookup (&h, j->snaps[i].path, &st);
    if (rc == 0)
      journal_check_sealed (&h, &j->snaps[i]);
    else if (j->snaps[i].is_sealed)
      DIE ("%s was sealed and is not there: %s", j->snaps[i].path, err_str (rc));
  }
  host_kill (&h);
  host_forget (&h);
}

#define OLD "db/20251001T000000Z"
#define MID "db/20251002T000000Z"
#define NEW "db/20260101T000000Z"
#define OTHER "db/20260102T000000Z"

/* A store a month old: OLD holds what MID does not, and both have something in common. */
static struct blob *
old_store (struct world *w, struct journal *j, char *old_state)
{
  struct blob *store = world_store (w, NULL);
  blob_memory_set_clock (store, clock_wall () - 30 * DAY);
  struct host h;
  host_up (w, store, NULL, "", &h);
  snprintf (old_state, 320, "%s", h.state);
  MUST (do_mkdir (&h, "db"));
  struct jsnap *a = journal_snap (j, OLD), *b = journal_snap (j, MID);
  begin (&h, a);
  put (&h, a, "only-old", 400000, 1);
  put (&h, a, "both", 300000, 2);
  MUST (seal (&h, a));
  begin (&h, b);
  put (&h, b, "both", 300000, 2);
  put (&h, b, "only-mid", 200000, 3);
  MUST (seal (&h, b));
  a->is_sealed = b->is_sealed = true;
  host_down (&h);
  blob_memory_set_clock (store, 0);
  return store;
}

/* A mount before whose calls GC makes its steps, from the START-th on. */
static struct stepping *
step_host (struct world *w, struct blob *store, struct gc *gc, unsigned start, unsigned distance,
           struct host *h)
{
  struct stepping *s = calloc (1, sizeof *s);
  *s = (struct stepping){ .blob = { .ops = &step_ops }, .gc = gc, .next = start,
                          .distance = distance, .lock = PTHREAD_MUTEX_INITIALIZER };
  MUST (blob_memory_share (store, &s->inner));
  struct mount_region_opts region = { .name = "r", .take_blob = &s->blob };
  struct unlock u = { .key_file = w->key };
  MUST (store_open (s->inner, &u, &region.take_keys));
  struct mount_opts opts = { .regions = &region, .region_count = 1, .state_dir = h->state,
                             .overlay_size = 64u << 20, .zstd_level = 1, .sealer_threads = 2,
                             .refresh_ns = NS_PER_MS, .rename_wait_ns = 60 * NS_PER_S,
                             .own_trusted_ns = 1 /* the session is as good as days old */ };
  MUST (mount_new (&opts, &h->m));
  stepper = s;
  return s;
}

/* The steps that are left; returns how many calls there were. */
static unsigned
step_rest (struct stepping *s)
{
  stepper = NULL;
  pthread_mutex_lock (&s->lock);
  while (s->gc->step < GC_STEPS)
    gc_step (s->gc);
  unsigned calls = s->calls;
  pthread_mutex_unlock (&s->lock);
  return calls;
}

/* One run: OLD is forgotten at the start; a writer with a month old index writes what OLD had. */
static unsigned
run_gc (struct world *w, struct blob *before, const struct journal *base, const char *state,
        unsigned start, unsigned distance, bool keep_old)
{
  struct blob *store = world_store (w, before);
  static struct journal j;
  memset (&j, 0, sizeof j);
  for (unsigned s = 0; s < base->count; s++) {
    const struct jsnap *from = &base->snaps[s];
    if (!keep_old && s == 0)
      continue;
    struct jsnap *to = journal_snap (&j, from->path);
    to->is_sealed = true;
    for (unsigned f = 0; f < from->count; f++) {
      struct buf *b = journal_next (journal_file (to, from->files[f].path));
      buf_put (b, from->files[f].at[0].data, from->files[f].at[0].len);
    }
  }
  if (!keep_old)
    forget_snapshot (store, &OLD[3]);
  struct gc gc;
  gc_init (&gc, w, store, clock_wall () - DAY);
  char copy[700];
  struct host h = { .world = w };
  snprintf (h.state, sizeof h.state, "%.300s.run", state);
  snprintf (copy, sizeof copy, "cp -r '%.300s' '%.310s'", state, h.state);
  if (system (copy) != 0)
    DIE ("no copy of the state directory");
  struct stepping *s = step_host (w, store, &gc, start, distance, &h);
  struct jsnap *n = journal_snap (&j, NEW);
  begin (&h, n);
  put (&h, n, "again-old", 400000, 1); /* the very chunks of OLD */
  put (&h, n, "again-both", 300000, 2);
  put (&h, n, "fresh", 100000, 7);
  if (keep_old) {
    char src[200] = OLD "/only-old";
    int rc = do_link (&h, src, NEW ".partial/linked");
    if (rc == 0) {
      struct buf *b = journal_next (journal_file (n, "linked"));
      const struct buf *o = &base->snaps[0].files[0].at[0];
      buf_put (b, o->data, o->len);
    } else
      DIE ("link from a sealed snapshot: %s", err_str (rc));
  }
  int rc = seal (&h, n);
  if (rc)
    DIE ("a backup that wrote all it had cannot be sealed: %s", err_str (rc));
  n->is_sealed = true;
  unsigned calls = step_rest (s);
  if (gc.deleted == 0 && !keep_old && start > 1000)
    DIE ("the collector had nothing to do"); /* then the whole test says nothing */
  host_down (&h);
  check_all (w, store, &j);
  host_forget (&h);
  gc_end (&gc);
  journal_free (&j);
  blob_free (store);
  return calls;
}

static void
collect_beside_writers (struct world *w)
{
  static struct journal base;
  char state[320];
  struct blob *store = old_store (w, &base, state);
  for (int keep = 0; keep < 2; keep++) {
    world_now = "collector after the end";
    unsigned calls = run_gc (w, store, &base, state, 100000, 1, keep);
    printf ("%u calls of the writer\n", calls);
    for (unsigned distance = 1; distance <= 8; distance *= 2)
      FOR_STARTS (start, distance, calls) {
        char what[80];
        snprintf (what, sizeof what, "collector from call %u, every %u%s", start, distance,
                  keep ? ", all kept" : "");
        world_now = what;
        (void) run_gc (w, store, &base, state, start, distance, keep);
      }
  }
  journal_free (&base);
  blob_free (store);
}

/* A session that is days old: GONE sent chunks and was removed, OTHER keeps the session open, and
 * NEW finds the chunks again in a pack that no root names any more.  What is sealed is whole; what
 * cannot be is refused, and written again it can. */
static unsigned
run_own (struct world *w, unsigned start, unsigned distance)
{
  struct blob *store = world_store (w, NULL);
  blob_memory_set_clock (store, clock_wall () - 2 * DAY);
  static struct journal j;
  memset (&j, 0, sizeof j);
  struct gc gc;
  gc_init (&gc, w, store, clock_wall () - DAY);
  struct host h = { .world = w };
  snprintf (h.state, sizeof h.state, "%.300s.own", gc.reader.state);
  struct stepping *s = step_host (w, store, &gc, 0, distance, &h);
  MUST (do_mkdir (&h, "db"));
  struct jsnap *other = journal_snap (&j, OTHER), *new = journal_snap (&j, NEW);
  struct jsnap gone = { .path = MID };
  begin (&h, other);
  begin (&h, &gone);
  put (&h, &gone, "chunks", 400000, 1);
  MUST (do_fsync (&h, MID ".partial/chunks"));
  MUST (do_unlink (&h, MID ".partial/chunks"));
  MUST (do_rmdir (&h, MID ".partial"));
  forget_snapshot (store, &MID[3]);
  blob_memory_set_clock (store, 0);
  pthread_mutex_lock (&s->lock);
  s->calls = 0;
  s->next = start;
  pthread_mutex_unlock (&s->lock);
  begin (&h, new);
  put (&h, new, "again", 400000, 1);
  int rc = seal (&h, new);
  if (rc == ERR_MISSING) {
    MUST (do_unlink (&h, NEW ".partial/again"));
    struct buf b = new->files[0].at[0];
    MUST (do_write (&h, NEW ".partial/again", 0, b.data, b.len));
    rc = seal (&h, new);
  }
  if (rc)
    DIE ("what was written again cannot be sealed: %s", err_str (rc));
  new->is_sealed = true;
  unsigned calls = step_rest (s);
  host_down (&h);
  check_all (w, store, &j);
  host_forget (&h);
  gc_end (&gc);
  journal_free (&j);
  for (unsigned i = 0; i < gone.count; i++)
    buf_release (&gone.files[i].at[0]);
  blob_free (store);
  return calls;
}

static void
collect_beside_old_session (struct world *w)
{
  world_now = "old session, collector after the end";
  unsigned calls = run_own (w, 100000, 1);
  for (unsigned distance = 1; distance <= 4; distance *= 2)
    FOR_STARTS (start, distance, calls) {
      char what[80];
      snprintf (what, sizeof what, "old session, collector from call %u, every %u", start,
                distance);
      world_now = what;
      (void) run_own (w, start, distance);
    }
}

/* ---- ruling 27 ---- */

struct sealing {
  pthread_t thread;
  struct host *host;
  struct jsnap *snap;
  int rc;
};

static void *
seal_thread (void *arg)
{
  struct sealing *s = arg;
  s->rc = seal (s->host, s->snap);
  return NULL;
}

static size_t
run_shared (struct world *w, const char *spec)
{
  struct blob *store = world_store (w, NULL);
  static struct journal j;
  memset (&j, 0, sizeof j);
  struct host h;
  host_up (w, store, NULL, "", &h);
  MUST (do_mkdir (&h, "db"));
  struct jsnap *a = journal_snap (&j, NEW), *b = journal_snap (&j, OTHER);
  begin (&h, a);
  begin (&h, b);
  MUST (blob_fault_set (h.fault, spec));
  alarm (60); /* a hang is a failure */
  for (unsigned i = 0; i < 4; i++) { /* the same chunks in both, one a moment before the other */
    char name[20];
    snprintf (name, sizeof name, "shared%u", i);
    char path[300];
    uint8_t *p = malloc (300000);
    fill (p, 300000, 100 + i);
    for (int k = 0; k < 2; k++) {
      struct jsnap *s = (i + (unsigned) k) % 2 ? a : b;
      struct buf *v = journal_next (journal_file (s, name));
      buf_put (v, p, 300000);
      snprintf (path, sizeof path, "%s.partial/%s", s->path, name);
      (void) !do_write (&h, path, 0, p, 300000); /* an error shows at the seal */
    }
    free (p);
  }
  struct sealing s[2] = { { .host = &h, .snap = a }, { .host = &h, .snap = b } };
  for (int i = 0; i < 2; i++)
    pthread_create (&s[i].thread, NULL, seal_thread, &s[i]);
  for (int i = 0; i < 2; i++)
    pthread_join (s[i].thread, NULL);
  a->is_sealed = s[0].rc == 0;
  b->is_sealed = s[1].rc == 0;
  size_t puts = blob_fault_count_of (h.fault, FAULT_OP_PUT, "");
  if (!*spec && (!a->is_sealed || !b->is_sealed))
    DIE ("not sealed without a fault");
  host_kill (&h);
  alarm (0);
  check_all (w, store, &j);
  host_forget (&h);
  journal_free (&j);
  blob_free (store);
  return puts;
}

int
main (void)
{
  if (!getenv ("COFFER_TEST_VERBOSE"))
    (void) log_init (LOG_TO_FILE, "/dev/null", false);
  struct world w;
  world_init (&w);
  world_now = "shared chunks";
  size_t puts = run_shared (&w, "");
  for (size_t k = 1; k <= puts; k++)
    for (int all = 0; all < 2; all++) {
      char spec[64];
      snprintf (spec, sizeof spec, "put@%zu%s=fail:io", k, all ? "+0" : "");
      world_now = spec;
      (void) run_shared (&w, spec);
    }
  collect_beside_writers (&w);
  collect_beside_old_session (&w);
  world_end (&w);
  return 0;
}
