/* SPDX-License-Identifier: Apache-2.0 */
#define LOG_MODULE "snapshot"
#include "snapshot/snap.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/log.h"
#include "snapshot/file.h"
#include "snapshot/history.h"

#define CLOCK_AHEAD_MAX 600 /* seconds (ruling 30) */

void
mount_kick (struct mount *m)
{
  LOCK_SCOPE (&m->lock);
  m->has_work = true;
  pthread_cond_signal (&m->wake);
}

void
snap_fail (struct snap *s, int rc, const char *what)
{
  lock_take (&s->lock);
  bool is_first = s->error == 0;
  if (is_first) {
    s->error = rc;
    snprintf (s->error_text, sizeof s->error_text, "%s: %s", what, err_str (rc));
  }
  s->had_unclean = true;
  lock_release (&s->lock);
  if (is_first)
    log_err ("snapshot failed vault=%s snapshot=%s err=\"%s: %s\": it cannot be sealed; remove it "
             "and write it"
             " again", s->vault->name, s->name.ts, what, err_str (rc));
}

struct snap *
snap_find (struct vault *v, const char *ts)
{
  struct mount *m = v->region->mount;
  LOCK_SCOPE (&m->lock);
  for (struct snap *s = m->live; s; s = s->next_live)
    if (s->vault == v && s->life != LIFE_GONE && !s->is_joiner && strcmp (s->name.ts, ts) == 0)
      return s;
  return NULL;
}

struct snap *
mount_next_live (struct mount *m, struct snap *s)
{
  LOCK_SCOPE (&m->lock);
  return s ? s->next_live : m->live;
}

/* ---- which parts are ours: one small file each in the state directory ---- */

static void
part_path (const struct snap *s, char *out, size_t cap)
{
  snprintf (out, cap, "%s/parts/%s+%s+%s+%s+%s", s->mount->opts.state_dir, s->vault->region->name,
            s->vault->name, s->name.ts, s->part, s->is_direct ? "direct" : "partial");
}

int
snap_record_part (const struct snap *s)
{
  char path[4600];
  part_path (s, path, sizeof path);
  int fd = open (path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) {
    log_err ("cannot record an open snapshot path=%s err=\"%s\": the state directory must be "
             "writable",
             path, strerror (errno));
    return err_from_errno (errno);
  }
  int rc = fsync (fd) == 0 ? 0 : ERR_IO;
  close (fd);
  return rc;
}

static void
part_forget (const struct snap *s)
{
  char path[4600];
  part_path (s, path, sizeof path);
  unlink (path);
}

/* ---- making and ending ---- */

int
snap_new (struct vault *v, const struct snapshot_name *name, struct snap **out)
{
  struct mount *m = v->region->mount;
  struct snap *s = calloc (1, sizeof *s);
  if (!s)
    return ERR_NOMEM;
  s->mount = m;
  s->vault = v;
  s->name = *name;
  s->name.label = s->name.ts + (name->label - name->ts);
  s->final = s->name;
  s->is_direct = !name->is_partial;
  s->created = clock_wall ();
  s->resumes = RESUMES_NOTHING;
  buf_init (&s->undone, CHANGELOG_MAX);
  s->is_late = true; /* until it is known better */
  s->looked = clock_now ();
  lock_init (&s->lock, LOCK_SNAPSHOT, "snapshot");
  lock_cond_init (&s->changed);
  int rc = worktree_new (m->scratch, &s->tree);
  if (rc) {
    snap_free (s);
    return rc;
  }
  *out = s;
  return 0;
}

void
snap_free (struct snap *s)
{
  if (!s)
    return;
  worktree_free (s->tree);
  for (size_t i = 0; i < s->meta_count; i++) {
    free (s->meta[i].key);
    free (s->meta[i].value);
  }
  free (s->meta);
  free (s->pinned_trees);
  buf_release (&s->undone);
  free (s->without);
  lock_destroy (&s->lock);
  pthread_cond_destroy (&s->changed);
  free (s);
}

int
snap_register (struct snap *s)
{
  struct mount *m = s->mount;
  LOCK_SCOPE (&m->lock);
  for (struct snap *o = m->live; o; o = o->next_live)
    if (o->vault == s->vault && o->life != LIFE_GONE && o->life != LIFE_SEALED
        && o->is_joiner == s->is_joiner && strcmp (o->name.ts, s->name.ts) == 0)
      return ERR_EXISTS;
  if (m->snap_count == m->snap_cap) {
    uint32_t cap = m->snap_cap ? m->snap_cap * 2 : 16;
    struct snap **more = realloc (m->snaps, cap * sizeof (struct snap *));
    if (!more || cap > 0xfffff)
      return ERR_NOMEM;
    m->snaps = more;
    m->snap_cap = cap;
  }
  s->no = m->snap_count;
  m->snaps[m->snap_count++] = s;
  s->next_live = m->live;
  m->live = s;
  return 0;
}

/* The vault gets one more open snapshot; the first one begins a new session of the index. */
void
snap_enter (struct snap *s)
{
  struct vault *v = s->vault;
  lock_take (&v->lock);
  bool is_first = v->open_snaps++ == 0;
  if (is_first) {
    pack_table_reset (&v->pins);
    v->session_wall = clock_wall ();
    v->session_mono = clock_now ();
  }
  lock_release (&v->lock);
  vault_know (v, clock_wall ());
  if (is_first)
    index_new_session (v->index);
  pipe_hold (v->pipe); /* nothing is deduplicated before the pins are proven */
}

void
snap_leave (struct snap *s)
{
  LOCK_SCOPE (&s->vault->lock);
  s->vault->open_snaps--;
}

int
snap_set_meta (struct snap *s, const char *key, const char *value)
{
  LOCK_SCOPE (&s->lock);
  size_t i = 0;
  while (i < s->meta_count && strcmp (s->meta[i].key, key) != 0)
    i++;
  char *copy = value ? strdup (value) : NULL;
  if (value && !copy)
    return ERR_NOMEM;
  if (i == s->meta_count) {
    if (!value)
      return ERR_NODATA;
    struct manifest_meta *more = i < MANIFEST_MAX_META ? realloc (s->meta, (i + 1) * sizeof *more)
      : NULL;
    char *name = more ? strdup (key) : NULL;
    s->meta = more ? more : s->meta;
    if (!name) {
      free (copy);
      return more ? ERR_NOMEM : ERR_LIMIT;
    }
    s->meta[s->meta_count++] = (struct manifest_meta){ .key = name };
  }
  free (s->meta[i].value);
  s->meta[i].value = copy;
  if (!value) {
    free (s->meta[i].key);
    s->meta[i] = s->meta[--s->meta_count];
  }
  return 0;
}

/* Adds the packs of T to the vault's pins (not usable yet).  Returns the numbers in NOS. */
static int
collect_packs (struct vault *v, struct sealed *t, struct pack_table *out)
{
  AUTO_PART part = NULL;
  int held = sealed_hold (t, SEALED_MANIFEST, 0, &part);
  if (held)
    return held;
  const struct manifest *m = &part->manifest;
  for (size_t i = 0; i < m->pack_count; i++) {
    struct chunk_want want = { .src = &v->source, .ref = m->packs[i].ref,
                               .type = UNIT_PACK_LIST };
    memcpy (want.pack, m->packs[i].pack, PACK_NAME_LEN);
    AUTO_BUF plain;
    buf_init (&plain, unit_plain_max (UNIT_PACK_LIST));
    int rc = reader_unit (v->region->mount->reader, &want, &plain);
    AUTO_MEM struct pack_use *uses = NULL;
    size_t n = 0;
    if (rc == 0)
      rc = pack_list_decode (plain.data, plain.len, &uses, &n);
    if (rc == 0) {
      void *names = realloc (out->names, (out->count + n + 1) * (size_t) PACK_NAME_LEN);
      rc = names ? 0 : ERR_NOMEM;
      out->names = names ? names : out->names;
    }
    if (rc)
      return rc;
    for (size_t k = 0; k < n; k++)
      memcpy (out->names[out->count++], uses[k].name, PACK_NAME_LEN);
    out->cap = out->count;
  }
  return 0;
}

/* After the checkpoint that names them is in the store: those that stand and are not condemned
 * count. */
int
snap_prove_pins (struct snap *s, const struct pack_table *packs)
{
  struct vault *v = s->vault;
  AUTO (condemned) c = NULL;
  int rc = condemned_load (v, &c);
  uint8_t missing[PACK_NAME_LEN];
  int exist = rc == 0 ? packs_exist (v, packs, missing) : rc;
  if (exist && exist != ERR_MISSING)
    return exist;
  for (uint32_t i = 0; rc == 0 && exist == 0 && i < packs->count; i++) {
    uint32_t no;
    if (condemned_has (c, packs->names[i]))
      continue;
    rc = index_pack_intern (v->index, packs->names[i], &no);
    if (rc == 0)
      index_pin (v->index, no);
  }
  if (exist == ERR_MISSING) { /* the parent is damaged: nothing of it is referred to */
    char hex[65];
    hex_encode (missing, PACK_NAME_LEN, hex);
    log_err ("a sealed snapshot refers to a pack that is gone vault=%s pack=%s: run coffer check",
             v->name, hex);
  }
  return rc;
}

static int
remember_tree (struct snap *s, struct sealed *t)
{
  LOCK_SCOPE (&s->lock);
  struct sealed **more = realloc (s->pinned_trees,
                                  (s->pinned_count + 1) * sizeof (struct sealed *));
  if (!more)
    return ERR_NOMEM;
  s->pinned_trees = more;
  more[s->pinned_count++] = t;
  return 0;
}

int
snap_wait_begun (struct snap *s)
{
  LOCK_SCOPE (&s->lock);
  while (s->is_pinning)
    lock_wait (&s->changed, &s->lock);
  return s->error;
}

bool
snap_has_pinned (struct snap *s, const struct sealed *t)
{
  LOCK_SCOPE (&s->lock);
  for (size_t i = 0; i < s->pinned_count; i++)
    if (s->pinned_trees[i] == t)
      return true;
  return false;
}

int
snap_pin_tree (struct snap *s, struct sealed *t)
{
  struct vault *v = s->vault;
  struct pack_table packs = { 0 };
  int rc = collect_packs (v, t, &packs);
  uint32_t new_packs = 0;
  for (uint32_t i = 0; rc == 0 && i < packs.count; i++) {
    uint32_t no;
    rc = index_pack_intern (v->index, packs.names[i], &no);
    /* Pinned by another snapshot is not enough: its checkpoint goes when it ends. */
    if (rc == 0 && !index_pack_is_own (v->index, no))
      memmove (packs.names[new_packs++], packs.names[i], PACK_NAME_LEN);
  }
  packs.count = new_packs;
  if (rc == 0 && new_packs) {
    lock_take (&v->lock);
    for (uint32_t i = 0; rc == 0 && i < packs.count; i++) {
      uint32_t at;
      rc = pack_table_intern (&v->pins, packs.names[i], &at);
    }
    lock_release (&v->lock);
    if (rc == 0)
      rc = snap_checkpoint (s, 0);
    if (rc == 0)
      rc = snap_prove_pins (s, &packs);
    for (uint32_t i = 0; rc == 0 && i < packs.count; i++) {
      uint32_t no;
      rc = index_pack_intern (v->index, packs.names[i], &no);
      if (rc == 0 && !index_is_usable (v->index, no))
        rc = ERR_XDEV; /* gone or going: its bytes can be copied, references to it cannot */
    }
  }
  pack_table_release (&packs);
  return rc ? rc : remember_tree (s, t);
}

/* The first checkpoint: names the parent's packs, then proves them.  Whatever fails, chunks may
 * flow afterwards, only without the parent's help. */
static void
begin_run (struct pool_job *job)
{
  struct snap *s = ((struct snap_job *) job)->snap;
  free (job);
  struct vault *v = s->vault;
  struct catalog_entry e;
  struct sealed *parent = NULL;
  struct index_loading *rest;
  (void) !vault_load_index (v, &rest); /* logged */
  int rc = vault_latest (v, 0, &e);
  if (rc == 0)
    rc = vault_tree (v, e.ts, 0, &parent);
  if (rc == 0) {
    lock_take (&s->lock);
    snprintf (s->parent, sizeof s->parent, "%s", e.ts);
    lock_release (&s->lock);
    rc = snap_pin_tree (s, parent);
  } else if (rc == ERR_NOENT)
    rc = 0;
  lock_take (&s->lock);
  bool is_first = s->seq == 0;
  lock_release (&s->lock);
  if (rc == 0 && is_first)
    rc = snap_checkpoint (s, 0);
  if (rc)
    log_warn ("the parent cannot be used for deduplication vault=%s snapshot=%s err=\"%s\": what "
              "it has is"
              " stored again", v->name, s->name.ts, err_str (rc));
  vault_seed_index (rest, rc == 0 ? parent : NULL);
  vault_load_rest (rest);
  pipe_unhold (v->pipe);
  lock_take (&s->lock);
  s->is_pinning = false;
  s->is_pinned = rc == 0;
  bool has_begun = s->seq != 0;
  pthread_cond_broadcast (&s->changed);
  lock_release (&s->lock);
  if (has_begun)
    snap_check_late (s);
}

int
snap_begin (struct vault *v, const struct snapshot_name *name, const struct cred *who,
            uint32_t mode,
            struct snap **out)
{
  int64_t store_now = clock_wall () + v->region->clock_offset;
  if (name->instant > store_now / NS_PER_S + CLOCK_AHEAD_MAX) {
    log_err ("refused a snapshot in the future name=%s: the instant is more than 10 minutes ahead "
             "of the"
             " store's clock; check the clock of this host", name->ts);
    return ERR_INVALID;
  }
  int rc = vault_open (v);
  if (rc)
    return rc;
  struct snap *s;
  rc = snap_new (v, name, &s);
  if (rc)
    return rc;
  uint8_t part[8];
  random_bytes (part, sizeof part);
  hex_encode (part, sizeof part, s->part);
  struct inode *root;
  rc = worktree_get (s->tree, WORKTREE_ROOT, &root);
  if (rc == 0) {
    lock_take (&s->tree->lock);
    root->a.mode = (uint16_t) (mode & 07777);
    root->a.uid = who->uid;
    root->a.gid = who->gid;
    inode_touch_locked (root);
    lock_release (&s->tree->lock);
    worktree_put (root);
    rc = snap_record_part (s);
  }
  if (rc == 0)
    rc = snap_register (s);
  if (rc) {
    part_forget (s);
    snap_free (s);
    return rc;
  }
  snap_enter (s);
  s->is_pinning = true;
  s->last_checkpoint = clock_now ();
  rc = snap_submit_to (v->region->mount->askers, s, begin_run);
  if (rc)
    pipe_unhold (v->pipe);
  log_info ("snapshot begun region=%s vault=%s snapshot=%s part=%s", v->region->name, v->name,
            name->ts, s->part);
  history_begin (s, who->uid);
  *out = s;
  return 0;
}

int
snap_remove (struct snap *s)
{
  lock_take (&s->lock);
  int rc = s->life != LIFE_OPEN ? ERR_ROFS : s->writers ? ERR_BUSY : 0;
  if (rc == 0)
    s->life = LIFE_GONE;
  while (rc == 0 && (s->is_pinning || s->is_draining || snap_is_committing_locked (s)))
    lock_wait (&s->changed, &s->lock);
  lock_release (&s->lock);
  if (rc)
    return rc;
  filedata_drop_all (s);
  pipe_dep_release (s->vault->pipe, &s->dep);
  (void) !snap_checkpoint (s, CHECKPOINT_REMOVED); /* otherwise it expires by itself */
  part_forget (s);
  snap_leave (s);
  s->removed_at = clock_wall ();
  history_remove (s);
  log_info ("snapshot removed vault=%s snapshot=%s", s->vault->name, s->name.ts);
  return 0;
}

/* ---- sealing is asked for here and done in seal.c ---- */

static void
seal_run (struct pool_job *job)
{
  struct snap *s = ((struct snap_job *) job)->snap;
  free (job);
  snap_seal_run (s);
}

#define KINDS (SEAL_PART | SEAL_REOPEN)

int
snap_seal_start (struct snap *s, unsigned flags, const char *how, const char *without)
{
  AUTO_STR list = without && *without ? strdup (without) : NULL;
  if (without && *without && !list)
    return ERR_NOMEM;
  lock_take (&s->lock);
  int rc = s->life == LIFE_SEALED ? ERR_STATE : s->life == LIFE_GONE ? ERR_NOENT : 0;
  if (s->life == LIFE_SEALING && (s->seal_flags & KINDS) != (flags & KINDS))
    rc = ERR_BUSY;
  bool is_mine = rc == 0 && s->life == LIFE_OPEN;
  if (is_mine) {
    free (s->without);
    s->without = STEAL (list);
    if (!s->error && !s->is_left_out)
      s->error_text[0] = 0; /* of an attempt before */
    s->life = LIFE_SEALING;
    s->seal_flags = flags;
    s->seal_result = ERR_AGAIN;
    s->seal_how = how;
  }
  lock_release (&s->lock);
  if (is_mine)
    rc = snap_submit (s, seal_run);
  if (is_mine && rc) {
    LOCK_SCOPE (&s->lock);
    s->life = LIFE_OPEN;
  }
  return rc;
}

int
snap_seal_wait (struct snap *s, int64_t timeout_ns)
{
  int64_t deadline = clock_now () + timeout_ns;
  LOCK_SCOPE (&s->lock);
  while (s->life == LIFE_SEALING)
    if (!lock_wait_until (&s->changed, &s->lock, deadline))
      return ERR_AGAIN;
  return s->life == LIFE_SEALED ? 0 : s->seal_result;
}

void
snap_sealed_over (struct snap *s)
{
  part_forget (s);
  snap_leave (s);
}

static void
drain_run (struct pool_job *job)
{
  struct snap *s = ((struct snap_job *) job)->snap;
  free (job);
  (void) !filedata_drain (s); /* errors are sticky */
  LOCK_SCOPE (&s->lock);
  s->is_draining = false;
  pthread_cond_broadcast (&s->changed);
}

void
snap_drain_start (struct snap *s)
{
  lock_take (&s->lock);
  bool is_mine = !s->is_draining && s->life == LIFE_OPEN;
  s->is_draining |= is_mine;
  lock_release (&s->lock);
  if (is_mine && snap_submit (s, drain_run) != 0) {
    LOCK_SCOPE (&s->lock);
    s->is_draining = false;
  }
}

static void
leave_live_locked (struct mount *m, const struct snap *s)
{
  lock_assert_held (&m->lock);
  for (struct snap **at = &m->live; *at; at = &(*at)->next_live)
    if (*at == s) {
      *at = s->next_live;
      return;
    }
}

void
snap_drop_tree (struct snap *s)
{
  struct mount *m = s->mount;
  struct worktree *tree = NULL;
  lock_take (&m->lock);
  lock_take (&s->lock);
  bool is_over = s->removed_at || (s->life == LIFE_SEALED && s->tree && s->tree->refs <= 0);
  if (is_over && s->tree && s->users == 0 && !s->dirty) {
    s->life = LIFE_GONE; /* its sealed twin answers; nobody can hold it any more */
    tree = STEAL (s->tree);
    free (STEAL (s->pinned_trees));
    s->pinned_count = 0;
    leave_live_locked (m, s);
  }
  lock_release (&s->lock);
  lock_release (&m->lock);
  worktree_free (tree);
}
