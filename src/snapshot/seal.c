/* SPDX-License-Identifier: Apache-2.0 */
/* The seal.  Order, never changed: packs, index delta, tree, .pending, check, .sealed.
 *
 * Invariant: a crash between any two steps leaves unreferenced packs, or a .pending and the
 * checkpoints to go on from: never a .sealed that names a missing pack. */
#define LOG_MODULE "seal"
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "snapshot/catalog.h"
#include "snapshot/file.h"
#include "snapshot/history.h"
#include "snapshot/join.h"
#include "snapshot/tree_build.h"

#define RELEASE_WAIT (2 * NS_PER_S) /* for releases still on their way (ruling 13) */
#define NEWEST_NAMED 8
/* What this host sent itself it need not prove while the session is younger than this: a collector
 * leaves packs younger than a day alone (doc/format/gc.md), and clocks may differ. */
#define OWN_TRUSTED (12 * 3600 * NS_PER_S)

struct sealing {
  struct snap *snap;
  struct join join;
  struct tree_built tree;
  struct buf pending;
  uint8_t sha[32];
  char digest[2 * DIGEST_LEN + 1];
  char key[BLOB_KEY_MAX]; /* of .pending */
  bool is_over;           /* an attempt before this one did it */
  const char *failed;     /* the first step that failed, for people */
};

static int
step (struct sealing *x, const char *what, int rc)
{
  if (rc && !x->failed)
    x->failed = what;
  return rc;
}

static void
name_writers (struct snap *s, char *out, size_t cap)
{
  lock_assert_held (&s->lock);
  size_t n = 0;
  out[0] = 0;
  for (struct file *f = s->files; f && n + 80 < cap; f = f->next) {
    char name[80]; /* one long name does not hide the others */
    text_show (f->inode->tmp_class ? f->inode->tmp_class : "(a file opened again)", name,
               sizeof name);
    n += (size_t) snprintf (out + n, cap - n, "%s%s", n ? ", " : "", name);
  }
}

int
snap_end_writing (struct snap *s)
{
  int64_t deadline = clock_now () + RELEASE_WAIT;
  LOCK_SCOPE (&s->lock);
  while (s->is_pinning)
    lock_wait (&s->changed, &s->lock);
  s->is_quiet = true;
  while (snap_is_committing_locked (s))
    lock_wait (&s->changed, &s->lock);
  s->is_quiet = false;
  pthread_cond_broadcast (&s->changed);
  while (s->writers)
    if (!lock_wait_until (&s->changed, &s->lock, deadline))
      break;
  if (s->error)
    return s->error;
  s->error_text[0] = 0; /* of an attempt before this one */
  if (s->writers && !(s->seal_flags & SEAL_FORCE)) {
    char names[200];
    name_writers (s, names, sizeof names);
    snprintf (s->error_text, sizeof s->error_text, "open for writing: %s", names);
    return ERR_BUSY;
  }
  s->is_cut = true;
  return 0;
}

static int
copy_meta (struct sealing *x, struct manifest *m)
{
  struct snap *s = x->snap;
  LOCK_SCOPE (&s->lock);
  for (size_t i = 0; i < s->meta_count; i++) {
    int rc = manifest_meta_set (m, s->meta[i].key, s->meta[i].value);
    if (rc)
      return rc;
  }
  for (size_t i = 0; i < x->join.meta_count; i++) {
    int rc = manifest_meta_set (m, x->join.meta[i].key, x->join.meta[i].value);
    if (rc)
      return rc;
  }
  if (s->parent[0])
    return manifest_meta_set (m, "parent", s->parent);
  return 0;
}

/* Our own part first: manifest_is_ours relies on it. */
static int
list_parts (struct sealing *x, struct manifest *m)
{
  const struct join *j = &x->join;
  m->parts = calloc (j->count + 1, sizeof *m->parts);
  if (!m->parts)
    return ERR_NOMEM;
  if (x->snap->part[0]) {
    struct manifest_part *p = &m->parts[m->part_count++];
    snprintf (p->id, sizeof p->id, "%s", x->snap->part);
    snprintf (p->host, sizeof p->host, "%s", m->host);
    snprintf (p->host_id, sizeof p->host_id, "%s", m->host_id);
  }
  for (int missing = 0; missing < 2; missing++)
    for (size_t i = 0; i < j->count; i++) {
      if (j->parts[i].is_left_out != missing)
        continue;
      struct manifest_part *p = &m->parts[m->part_count++];
      memcpy (p->id, j->parts[i].id, sizeof p->id);
      memcpy (p->host, j->parts[i].host, sizeof p->host);
      memcpy (p->host_id, j->parts[i].host_id, sizeof p->host_id);
      p->is_missing = missing;
    }
  return 0;
}

static int
add_newest (struct vault *v, struct manifest *m)
{
  LOCK_SCOPE (&v->lock);
  size_t n = v->entry_count < NEWEST_NAMED ? v->entry_count : NEWEST_NAMED;
  m->newest = calloc (n + 1, sizeof *m->newest);
  if (!m->newest)
    return ERR_NOMEM;
  for (size_t i = 0; i < n; i++)
    if (hex_decode (v->entries[v->entry_count - 1 - i].digest, DIGEST_LEN,
                    m->newest[m->newest_count]))
      m->newest_count++;
  return 0;
}

static const char *
kind_of (struct snap *s)
{
  LOCK_SCOPE (&s->lock);
  for (size_t i = 0; i < s->meta_count; i++)
    if (strcmp (s->meta[i].key, "kind") == 0)
      return strcmp (s->meta[i].value, "log") == 0 ? "log" : "full";
  return "full";
}

static int
encode_manifest (struct sealing *x, struct buf *json)
{
  struct snap *s = x->snap;
  struct manifest m = { .created = s->created, .finished = clock_wall (), .tree = x->tree.index,
                        .rows = x->tree.rows, .packs = x->tree.packs,
                        .pack_count = x->tree.pack_count };
  snprintf (m.ts, sizeof m.ts, "%s", s->final.ts);
  snprintf (m.kind, sizeof m.kind, "%s", kind_of (s));
  snprintf (m.sealed_by, sizeof m.sealed_by, "%s", s->seal_how);
  snprintf (m.host, sizeof m.host, "%s", s->mount->host);
  hex_encode (s->mount->host_id, 16, m.host_id);
  snprintf (m.session, sizeof m.session, "%s", pipe_session (s->vault->pipe));
  const struct checkpoint_counts *past = &s->past, *others = &x->join.counts;
  m.counts = (struct manifest_counts){
    .files = x->tree.files, .dirs = x->tree.dirs, .logical = x->tree.logical,
    .fresh = past->fresh + s->dep.fresh + others->fresh,
    .dedup = past->dedup + s->dep.dedup + others->dedup,
    .stored = past->stored + s->dep.stored + others->stored };
  int rc = list_parts (x, &m);
  if (rc == 0)
    rc = copy_meta (x, &m);
  if (rc == 0)
    rc = add_newest (s->vault, &m);
  if (rc == 0)
    rc = manifest_encode (&m, json);
  s->counts = m.counts;
  m.packs = NULL;
  m.pack_count = 0;
  manifest_release (&m);
  return rc;
}

static int
put_pending (struct sealing *x)
{
  struct snap *s = x->snap;
  struct vault *v = s->vault;
  AUTO_BUF json;
  buf_init (&json, unit_plain_max (UNIT_MANIFEST));
  AUTO (sealer) sealer = NULL;
  int rc = encode_manifest (x, &json);
  if (rc == 0)
    rc = sealer_new (&sealer);
  if (rc)
    return rc;
  uint8_t id[ID_LEN];
  unit_id_manifest (v->keys, s->final.ts, kind_of (s), id);
  object_header_put (&x->pending, MAGIC_MANIFEST);
  rc = seal_unit (sealer, v->keys, UNIT_MANIFEST, id, json.data, json.len, 3, &x->pending);
  if (rc)
    return rc;
  sha256_once (x->pending.data, x->pending.len, x->sha);
  hex_encode (x->sha, DIGEST_LEN, x->digest);
  snprintf (x->key, sizeof x->key, "vaults/%s/snapshots/%s.%s.pending", v->name, s->final.ts,
            x->digest);
  return blob_put (v->region->blob, x->key, x->pending.data, x->pending.len, NULL);
}

/* Was it made by an attempt of ours before this one.  ERR_NOENT: it has gone. */
static int
is_ours (struct sealing *x, const struct catalog_item *item, bool *out)
{
  struct vault *v = x->snap->vault;
  struct manifest m = { 0 };
  int rc = manifest_load (v->region->blob, v->keys, v->name, item->name.ts, item->digest,
                          item->is_sealed, &m);
  *out = rc == 0 && manifest_is_ours (&m, x->snap);
  manifest_release (&m);
  return rc == ERR_MISSING && !item->is_sealed ? ERR_NOENT : 0; /* damaged: not ours */
}

/* That it is seen does not make it durable where its put failed after it was in place; a put of the
 * same bytes that returns 0 does. */
static int
put_again (struct snap *s, const char *digest)
{
  struct blob *b = s->vault->region->blob;
  char key[BLOB_KEY_MAX];
  AUTO_BUF object;
  buf_init (&object, MANIFEST_MAX_BYTES + 4096);
  snprintf (key, sizeof key, "vaults/%s/snapshots/%s.%s.sealed", s->vault->name, s->final.ts,
            digest);
  int rc = blob_get_all (b, key, &object);
  return rc ? rc : blob_put (b, key, object.data, object.len, NULL);
}

/* What an attempt before this one left.  A `.sealed` whose put was not answered is the seal. */
static int
meet_ours (struct sealing *x, const struct catalog_item *item)
{
  struct snap *s = x->snap;
  if (!item->is_sealed) {
    char key[BLOB_KEY_MAX];
    const char *keys[] = { key };
    snprintf (key, sizeof key, "vaults/%s/snapshots/%s.%s.pending", s->vault->name, item->name.ts,
              item->digest);
    (void) !blob_delete (s->vault->region->blob, keys, 1); /* it is valid for nobody: it may stay */
    return 0;
  }
  if (strcmp (s->doubtful, item->digest) != 0)
    return ERR_EXISTS;
  int rc = put_again (s, item->digest);
  if (rc)
    return rc;
  snprintf (x->digest, sizeof x->digest, "%s", item->digest);
  x->is_over = true;
  return 0;
}

static void
say_taken (struct snap *s, bool is_sealed)
{
  LOCK_SCOPE (&s->lock);
  if (!s->is_left_out)
    snprintf (s->error_text, sizeof s->error_text, "another host %s",
              is_sealed ? "has sealed a snapshot of this name" : "seals it at this moment");
}

/* Nobody else has the same instant (ruling 3): after our .pending is there, either we see theirs or
 * they ours. */
static int
check_alone (struct sealing *x)
{
  struct snap *s = x->snap;
  struct catalog_item *items = NULL;
  size_t n = 0;
  char prefix[SNAPSHOT_TS_MAX + 1];
  snprintf (prefix, sizeof prefix, "%s.", s->final.ts);
  int rc = catalog_list (s->vault->region->blob, s->vault->name, prefix, &items, &n);
  for (size_t i = 0; rc == 0 && !x->is_over && i < n; i++) {
    if (strcmp (items[i].digest, x->digest) == 0)
      continue;
    bool ours;
    if (is_ours (x, &items[i], &ours) == ERR_NOENT)
      continue; /* withdrawn since the listing */
    if (ours)
      rc = meet_ours (x, &items[i]);
    else if (x->pending.len || items[i].is_sealed)
      rc = ERR_EXISTS;
    if (rc) {
      say_taken (s, items[i].is_sealed);
      log_err ("another session seals or has sealed this snapshot vault=%s snapshot=%s digest=%s: "
               "this one stays open under its name; rename or remove it", s->vault->name,
               s->final.ts, items[i].digest);
    }
  }
  free (items);
  return rc;
}

static void
withdraw (struct sealing *x)
{
  if (!x->key[0])
    return;
  const char *keys[] = { x->key };
  int rc = blob_delete (x->snap->vault->region->blob, keys, 1);
  if (rc)
    log_warn ("a manifest that did not become valid stays behind key=%s err=\"%s\": it expires "
              "with the"
              " collector, or by coffer repair", x->key, err_str (rc));
}

/* By both clocks: one stands still while the host sleeps, the other may be set. */
static bool
session_is_young (struct vault *v)
{
  int64_t limit = v->region->mount->opts.own_trusted_ns;
  limit = limit ? limit : OWN_TRUSTED;
  LOCK_SCOPE (&v->lock);
  int64_t wall = clock_wall () - v->session_wall, mono = clock_now () - v->session_mono;
  return wall >= 0 && wall < limit && mono < limit;
}

/* Every pack of others exists, those of an old session too, and none of all stands in a record
 * (ruling 2).  Own ones may have lost their last root without our noticing: what a removed snapshot
 * sent and a later one found again, or when no checkpoint came through for days.  A pack that is
 * gone or going is found no more, so what is written again is stored again. */
static int
check_packs (struct sealing *x)
{
  struct vault *v = x->snap->vault;
  AUTO (condemned) c = NULL;
  int rc = condemned_load (v, &c);
  struct pack_table others = { 0 };
  bool check_all = strcmp (x->snap->mount->opts.seal_verify, "list") == 0
    || !session_is_young (v);
  uint8_t name[PACK_NAME_LEN];
  char hex[65];
  others.names = malloc ((x->tree.number_count + 1) * (size_t) PACK_NAME_LEN);
  if (rc == 0 && !others.names)
    rc = ERR_NOMEM;
  bool is_condemned = false;
  for (size_t i = 0; rc == 0 && i < x->tree.number_count; i++) {
    rc = index_pack_name (v->index, x->tree.numbers[i], name);
    if (rc == 0 && condemned_has (c, name)) {
      hex_encode (name, PACK_NAME_LEN, hex);
      log_err ("the collector has condemned a pack this snapshot refers to vault=%s snapshot=%s "
               "pack=%s:"
               " write the files again", v->name, x->snap->final.ts, hex);
      index_forget_pack (v->index, name);
      is_condemned = true;
    }
    if (rc == 0 && (check_all || !index_pack_is_own (v->index, x->tree.numbers[i])))
      memcpy (others.names[others.count++], name, PACK_NAME_LEN);
  }
  int exist = rc == 0 ? packs_exist (v, &others, name) : rc;
  if (exist == ERR_MISSING) {
    index_forget_pack (v->index, name);
    hex_encode (name, PACK_NAME_LEN, hex);
    log_err ("a pack this snapshot refers to is not in the store vault=%s snapshot=%s pack=%s: "
             "write the"
             " files again", v->name, x->snap->final.ts, hex);
  }
  pack_table_release (&others);
  return exist == 0 && is_condemned ? ERR_MISSING : exist;
}

/* When its answer is lost nobody knows whether it is sealed: then nothing may be written until it
 * is known. */
static int
put_sealed (struct sealing *x)
{
  struct snap *s = x->snap;
  struct blob *b = s->vault->region->blob;
  AUTO_BUF object;
  buf_init (&object, x->pending.len + 4096);
  sealed_encode (x->sha, x->pending.data, x->pending.len, &object);
  int rc = buf_error (&object);
  char key[BLOB_KEY_MAX];
  snprintf (key, sizeof key, "vaults/%s/snapshots/%s.%s.sealed", s->vault->name, s->final.ts,
            x->digest);
  if (rc == 0)
    rc = blob_put (b, key, object.data, object.len, NULL);
  if (rc == 0)
    return 0;
  struct blob_info info;
  int seen = blob_head (b, key, &info);
  if (seen == 0 && blob_put (b, key, object.data, object.len, NULL) == 0)
    return 0; /* the second put: to be seen is not to be durable (put_again) */
  if (seen != ERR_MISSING)
    snprintf (s->doubtful, sizeof s->doubtful, "%s", x->digest);
  return rc;
}

/* A finished part may have been joined by others: then it is sealed, under their label. */
static int
check_joined (struct sealing *x)
{
  struct snap *s = x->snap;
  struct part_fate f;
  int rc = part_fate (s, &f);
  if (rc || f.fate != FATE_JOINED)
    return rc;
  snprintf (x->digest, sizeof x->digest, "%s", f.digest);
  x->is_over = true;
  LOCK_SCOPE (&s->lock);
  s->final = f.name;
  s->final.label = s->final.ts + (f.name.label - f.name.ts);
  s->counts = f.counts;
  return 0;
}

static int
steps (struct sealing *x)
{
  struct snap *s = x->snap;
  struct vault *v = s->vault;
  int rc = s->is_finished ? step (x, "looking whether other hosts sealed it", check_joined (x)) : 0;
  if (rc == 0 && !x->is_over)
    rc = step (x, "reading the other hosts' parts", join_gather (s, &x->join));
  if (rc == 0 && !x->is_over)
    rc = step (x, "ending the writing", snap_end_writing (s));
  if (rc == 0 && !x->is_over)
    rc = step (x, "looking for the same snapshot of another host", check_alone (x));
  if (rc == 0 && x->is_over)
    return 0;
  if (rc == 0)
    rc = step (x, "sending the last data", filedata_push_all (s, false));
  if (rc == 0)
    rc = step (x, "merging small packs", snap_merge_packs (s));
  if (rc == 0)
    rc = step (x, "joining the parts", join_merge (s, &x->join));
  if (rc == 0)
    rc = step (x, "writing the tree",
               tree_build (s, x->join.tree ? x->join.tree : s->tree, &x->tree));
  if (rc == 0)
    rc = step (x, "writing the index", pipe_put_index (v->pipe));
  if (rc == 0)
    rc = step (x, "announcing the seal", put_pending (x));
  if (rc == 0)
    rc = step (x, "looking for the same snapshot of another host", check_alone (x));
  if (rc == 0)
    rc = step (x, "looking at the other hosts' parts again", join_recheck (s, &x->join));
  if (rc == 0)
    rc = step (x, "proving that the packs are there", check_packs (x));
  if (rc == 0)
    rc = step (x, "writing the manifest", put_sealed (x));
  if (rc && !s->doubtful[0])
    withdraw (x);
  return rc;
}

static void
end_run (struct snap *s, int rc, bool is_sealed)
{
  LOCK_SCOPE (&s->lock);
  s->seal_result = rc;
  s->seal_ended = clock_now ();
  s->life = is_sealed ? LIFE_SEALED : LIFE_OPEN;
  s->is_cut = is_sealed || s->doubtful[0] || s->is_finished;
  s->sealed_at = is_sealed ? clock_wall () : 0;
  pthread_cond_broadcast (&s->changed);
}

void
snap_seal_run (struct snap *s)
{
  if (s->seal_flags & (SEAL_PART | SEAL_REOPEN)) {
    end_run (s, snap_finish_run (s), false);
    snap_look_start (s);
    return;
  }
  int64_t begun = clock_now ();
  struct sealing x = { .snap = s };
  buf_init (&x.pending, MANIFEST_MAX_BYTES);
  if (s->is_joiner) {
    snap_enter (s);
    pipe_unhold (s->vault->pipe); /* nothing of others is pinned, nor deduplicated against */
  }
  int rc = steps (&x);
  if (rc == 0) {
    vault_add_sealed (s->vault, s->final.ts, x.digest, clock_wall ());
    snap_sealed_over (s);
    log_info ("sealed region=%s vault=%s snapshot=%s files=%llu logical=%llu new=%llu dedup=%llu "
              "stored=%llu ms=%lld",
              s->vault->region->name, s->vault->name, s->final.ts,
              (unsigned long long) s->counts.files,
              (unsigned long long) s->counts.logical, (unsigned long long) s->counts.fresh,
              (unsigned long long) s->counts.dedup, (unsigned long long) s->counts.stored,
              (long long) ((clock_now () - begun) / NS_PER_MS));
  } else {
    char why[sizeof s->error_text] = "";
    lock_take (&s->lock);
    if (!s->error_text[0])
      snprintf (s->error_text, sizeof s->error_text, "%s: %s", x.failed, err_str (rc));
    if (rc != ERR_BUSY) /* else it names open files: for status, not for the log */
      memcpy (why, s->error_text, sizeof why);
    lock_release (&s->lock);
    log_err ("not sealed vault=%s snapshot=%s err=\"%s\"%s%s", s->vault->name, s->final.ts,
             err_str (rc), why[0] ? ": " : "", why);
    if (s->is_joiner)
      snap_leave (s);
  }
  if (rc == 0 || strcmp (s->seal_how, "idle") != 0) /* that is tried again every few seconds */
    history_seal (s, rc, begun);
  buf_release (&x.pending);
  tree_built_release (&x.tree);
  join_release (&x.join);
  end_run (s, rc, rc == 0);
  if (rc == 0) {
    mount_kick (s->mount);
    struct sealed *tree; /* so that `latest` and a look at it need no network */
    if (vault_tree (s->vault, s->final.ts, 0, &tree) != 0)
      log_debug ("the new snapshot is not loaded yet vault=%s", s->vault->name);
  }
}
