/* SPDX-License-Identifier: Apache-2.0 */
#define LOG_MODULE "join"
#include "snapshot/join.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"

#define NAMED_MAX 4    /* in a message; all are in the log */
#define CLASHES_MAX 1000 /* told of in the log */
#define LIST_STEP 64

static void __attribute__ ((format (printf, 2, 3)))
say (struct snap *s, const char *fmt, ...)
{
  va_list ap;
  va_start (ap, fmt);
  LOCK_SCOPE (&s->lock);
  vsnprintf (s->error_text, sizeof s->error_text, fmt, ap);
  va_end (ap);
}

/* ---- which parts ---- */

/* Is WORD among the words of LIST. */
static bool
is_listed (const char *list, const char *word)
{
  size_t n = strlen (word);
  for (const char *p = list; p && *word; p = strchr (p, ',')) {
    p += *p == ',';
    if (strncmp (p, word, n) == 0 && (p[n] == ',' || !p[n]))
      return true;
  }
  return false;
}

static void
time_text (int64_t ns, char out[32])
{
  time_t sec = (time_t) (ns / NS_PER_S);
  struct tm tm;
  strftime (out, 32, "%Y-%m-%dT%H:%M:%SZ", gmtime_r (&sec, &tm));
}

struct busy {
  char text[256];
  size_t len, count;
};

static void
note_busy (struct busy *b, const struct snap *s, const struct part_seen *p)
{
  char when[32];
  time_text (p->changed, when);
  const char *host = p->host[0] ? p->host : "(host unknown)";
  log_err ("a part is not finished vault=%s snapshot=%s host=%s part=%s state=%s files=%llu "
           "received=%llu last_progress=%s: finish it there with coffer seal --part, or seal "
           "--without it", s->vault->name, s->name.ts, host, p->id, part_state_str (p->state),
           (unsigned long long) p->counts.files, (unsigned long long) p->counts.received, when);
  if (b->count++ < NAMED_MAX && b->len < sizeof b->text)
    b->len += (size_t) snprintf (b->text + b->len, sizeof b->text - b->len,
                                 "%s%.40s (part %s, last progress %s)", b->len ? ", " : "", host,
                                 p->id, when);
}

/* Keeps P for the join, or drops it. */
static void
choose (struct snap *s, struct join *j, struct part_seen *p, struct busy *busy)
{
  bool by_host = is_listed (s->without, p->host), by_id = is_listed (s->without, p->id);
  switch (p->state) {
  case PART_REMOVED:
  case PART_SEALED:
    return;
  case PART_EXPIRED:
    log_warn ("a part has expired and is left out vault=%s snapshot=%s host=%s part=%s",
              s->vault->name, s->name.ts, p->host, p->id);
    p->is_left_out = true;
    break;
  case PART_FINISHED: /* a host's name may be that of an older part too: only by its id */
    p->is_left_out = by_id;
    break;
  default:
    p->is_left_out = by_host || by_id;
    if (!p->is_left_out)
      note_busy (busy, s, p);
  }
  j->parts[j->count++] = *p;
}

int
join_gather (struct snap *s, struct join *j)
{
  if (s->part[0] && is_listed (s->without, s->part)) {
    say (s, "the part of the host that seals cannot be left out");
    return ERR_INVALID;
  }
  int rc = parts_list (s->vault, s->name.ts, s->part, &j->seen, &j->seen_count);
  if (rc == 0)
    rc = parts_mark_sealed (s->vault, &s->name, j->seen, j->seen_count);
  j->parts = calloc (j->seen_count + 1, sizeof *j->parts);
  if (rc || !j->parts)
    return rc ? rc : ERR_NOMEM;
  struct busy busy = { .count = 0 };
  for (size_t i = 0; i < j->seen_count; i++)
    choose (s, j, &j->seen[i], &busy);
  if (busy.count) {
    char more[40] = "";
    if (busy.count > NAMED_MAX)
      snprintf (more, sizeof more, " and %zu more", busy.count - NAMED_MAX);
    say (s, "not finished: %.190s%s", busy.text, more);
    return ERR_BUSY;
  }
  size_t joined = s->part[0] != 0;
  for (size_t i = 0; i < j->count; i++)
    joined += !j->parts[i].is_left_out;
  if (joined)
    return 0;
  say (s, "there is no part of it to seal");
  return ERR_NOENT;
}

/* Does NOW show what was gathered as OLD (NULL: it was not there). */
static bool
is_same_part (const struct part_seen *old, const struct part_seen *now)
{
  if (!old)
    return now->state == PART_REMOVED;
  if (old->is_left_out || old->state == PART_SEALED)
    return true;
  if (old->state == PART_FINISHED)
    return now->state == PART_FINISHED; /* perhaps said again, to stay a root */
  return strcmp (old->newest, now->newest) == 0;
}

int
join_recheck (struct snap *s, const struct join *j)
{
  struct part_seen *now = NULL;
  size_t n = 0;
  int rc = parts_list (s->vault, s->name.ts, s->part, &now, &n);
  for (size_t i = 0; rc == 0 && i < n; i++) {
    const struct part_seen *old = NULL;
    for (size_t k = 0; k < j->seen_count; k++)
      if (strcmp (j->seen[k].id, now[i].id) == 0)
        old = &j->seen[k];
    if (is_same_part (old, &now[i]))
      continue;
    say (s, "the part %s of %.60s has come or changed while it was sealed: seal again", now[i].id,
         now[i].host);
    rc = ERR_BUSY;
  }
  free (now);
  return rc;
}

/* ---- one tree of all ---- */

struct level {
  uint64_t src, dst;
  bool is_fresh;     /* the directory came with this part: nothing else is in it */
  bool is_end;
  size_t path_len;   /* of the path that leads here */
  uint8_t after[TREE_NAME_MAX];
  size_t after_len;
  struct buf list;   /* entries not taken yet, from `at` on */
  size_t at;
};

struct owner {
  const char *id, *host;
  uint64_t base; /* its nodes begin here in the joined tree */
};

struct merging {
  struct snap *snap;
  struct join *join;
  struct worktree *from;
  struct owner *owners;
  size_t owner_count;  /* the last one is being merged */
  struct level *levels;
  size_t depth, cap;
  struct buf path;
  size_t clashes;
};

static int
push_level (struct merging *m, uint64_t src, uint64_t dst, bool is_fresh, const uint8_t *name,
            size_t n)
{
  if (m->depth == m->cap) {
    size_t cap = m->cap ? m->cap * 2 : 16;
    struct level *more = realloc (m->levels, cap * sizeof *more);
    if (!more)
      return ERR_NOMEM;
    m->levels = more;
    m->cap = cap;
  }
  if (m->depth) {
    m->path.len = m->levels[m->depth - 1].path_len;
    buf_put (&m->path, name, n);
    buf_put_u8 (&m->path, '/');
  }
  struct level *l = &m->levels[m->depth++];
  *l = (struct level){ .src = src, .dst = dst, .is_fresh = is_fresh, .path_len = m->path.len };
  buf_init (&l->list, LIST_STEP * (TREE_NAME_MAX + 16));
  return buf_error (&m->path);
}

static void
pop_level (struct merging *m)
{
  buf_release (&m->levels[--m->depth].list);
}

static const struct owner *
owner_of (const struct merging *m, uint64_t ino)
{
  size_t k = m->owner_count - 1;
  while (k && ino < m->owners[k].base)
    k--;
  return &m->owners[k];
}

static void
note_clash (struct merging *m, uint64_t there, const uint8_t *name, size_t n)
{
  struct snap *s = m->snap;
  const struct owner *a = owner_of (m, there), *b = &m->owners[m->owner_count - 1];
  m->path.len = m->levels[m->depth - 1].path_len;
  buf_put (&m->path, name, n);
  buf_put_u8 (&m->path, 0);
  const char *path = m->path.error ? "(a long path)" : (const char *) m->path.data;
  if (m->clashes++ == 0) {
    char shown[4 * 90 + 1];
    size_t len = strlen (path), cut = len > 90 ? len - 87 : 0;
    text_show (path + cut, shown, sizeof shown);
    say (s, "both %.40s (part %s) and %.40s (part %s) have %s%.*s", a->host, a->id, b->host, b->id,
         cut ? "..." : "", 100, shown);
    log_err ("two parts have a file of the same name vault=%s snapshot=%s host=%s part=%s "
             "other_host=%s other_part=%s: status names it; reopen one part, remove or rename it "
             "there, and finish again", s->vault->name, s->name.ts, a->host, a->id, b->host, b->id);
  }
  if (m->clashes <= CLASHES_MAX)
    log_debug ("two parts have part=%s other_part=%s path=\"%s\"", a->id, b->id, path);
}

static int
take_entry (struct merging *m, uint64_t ino, int kind, const uint8_t *name, size_t n)
{
  struct level *l = &m->levels[m->depth - 1];
  struct worktree *to = m->join->tree;
  uint64_t there, as = m->owners[m->owner_count - 1].base + ino;
  int there_kind, rc = ERR_NOENT;
  if (!l->is_fresh) {
    LOCK_SCOPE (&to->lock);
    rc = wtdb_name_get (to->db, l->dst, name, n, &there, &there_kind);
  }
  if (rc == 0 && kind == NODE_DIR && there_kind == NODE_DIR)
    return push_level (m, ino, there, false, name, n);
  if (rc == 0)
    note_clash (m, there, name, n); /* all of them are told of */
  if (rc != ERR_NOENT)
    return rc;
  rc = worktree_copy_node (m->from, ino, to, as);
  if (rc == 0)
    rc = worktree_copy_name (to, l->dst, name, n, as, kind, !l->is_fresh);
  return rc == 0 && kind == NODE_DIR ? push_level (m, ino, as, true, name, n) : rc;
}

/* 1: one entry; 0: the directory's end. */
static int
next_entry (struct merging *m, struct level *l, uint64_t *ino, int *kind, uint8_t *name, size_t *n)
{
  if (l->at == l->list.len && !l->is_end) {
    buf_reset (&l->list);
    l->at = 0;
    int rc = worktree_list (m->from, l->src, l->after, l->after_len, LIST_STEP, &l->list);
    if (rc)
      return rc;
    l->is_end = l->list.len == 0;
  }
  if (l->is_end)
    return 0;
  struct rd r = rd_of (l->list.data + l->at, l->list.len - l->at);
  *ino = rd_u64 (&r);
  *kind = rd_u8 (&r);
  const uint8_t *p = rd_bytes (&r, TREE_NAME_MAX, n);
  if (r.failed)
    return ERR_STATE;
  memcpy (name, p, *n);
  memcpy (l->after, p, *n);
  l->after_len = *n;
  l->at = l->list.len - rd_left (&r);
  return 1;
}

/* The first part gives the root its attributes. */
static int
take_root (struct merging *m)
{
  struct node_attr a;
  AUTO_INODE root = NULL;
  int rc = worktree_get (m->from, WORKTREE_ROOT, &root);
  if (rc)
    return rc;
  inode_attr_encode_view (root, &a); /* views into FROM, which nobody changes */
  return worktree_replay_node (m->join->tree, WORKTREE_ROOT, &a);
}

/* Adds the tree FROM, of the part ID of HOST. */
static int
merge_tree (struct merging *m, struct worktree *from, const char *id, const char *host)
{
  struct worktree *to = m->join->tree;
  m->from = from;
  m->owners[m->owner_count] = (struct owner){ .id = id, .host = host,
                                              .base = m->owner_count ? to->next_ino : 0 };
  m->owner_count++;
  int rc = worktree_flush (from);
  if (rc == 0 && m->owner_count == 1)
    rc = take_root (m);
  buf_reset (&m->path);
  if (rc == 0)
    rc = push_level (m, WORKTREE_ROOT, WORKTREE_ROOT, false, NULL, 0);
  while (rc == 0 && m->depth) {
    uint64_t ino = 0;
    int kind = 0;
    uint8_t name[TREE_NAME_MAX];
    size_t n = 0;
    int more = next_entry (m, &m->levels[m->depth - 1], &ino, &kind, name, &n);
    if (more == 0)
      pop_level (m);
    else
      rc = more < 0 ? more : take_entry (m, ino, kind, name, n);
  }
  while (m->depth)
    pop_level (m);
  return rc;
}

/* ---- what was recorded ---- */

static const char *
meta_find (const struct manifest_meta *meta, size_t n, const char *key)
{
  for (size_t i = 0; i < n; i++)
    if (strcmp (meta[i].key, key) == 0)
      return meta[i].value;
  return NULL;
}

/* The value under KEY is not ours to change: this one goes under KEY@HOST, or KEY@PART. */
static int
add_meta (struct snap *s, struct join *j, const char *key, const char *value, const char *suffix)
{
  char full[512];
  snprintf (full, sizeof full, "%s%s%s", key, *suffix ? "@" : "", suffix);
  lock_take (&s->lock);
  const char *old = meta_find (s->meta, s->meta_count, full);
  bool is_taken = old && strcmp (old, value) != 0, is_known = old && !is_taken;
  lock_release (&s->lock);
  old = meta_find (j->meta, j->meta_count, full);
  is_taken |= old && strcmp (old, value) != 0;
  is_known |= old && strcmp (old, value) == 0;
  if (is_taken || is_known)
    return is_taken ? ERR_EXISTS : 0;
  if (j->meta_count == MANIFEST_MAX_META)
    return ERR_LIMIT;
  struct manifest_meta *more = realloc (j->meta, (j->meta_count + 1) * sizeof *more);
  if (!more)
    return ERR_NOMEM;
  j->meta = more;
  more[j->meta_count] = (struct manifest_meta){ .key = strdup (full), .value = strdup (value) };
  j->meta_count++;
  return more[j->meta_count - 1].key && more[j->meta_count - 1].value ? 0 : ERR_NOMEM;
}

static int
take_meta (struct snap *s, struct join *j, const struct snap *other, const struct part_seen *p)
{
  for (size_t i = 0; i < other->meta_count; i++) {
    const struct manifest_meta *m = &other->meta[i];
    int rc = add_meta (s, j, m->key, m->value, "");
    if (rc == ERR_EXISTS && p->host[0])
      rc = add_meta (s, j, m->key, m->value, p->host);
    if (rc == ERR_EXISTS) /* two hosts of one name */
      rc = add_meta (s, j, m->key, m->value, p->id);
    if (rc)
      return rc;
  }
  return 0;
}

static int
merge_part (struct merging *m, const struct part_seen *p)
{
  struct snap *s = m->snap, *other;
  int rc = snap_replay_part (s->vault, &s->name, p->id, &other);
  if (rc) {
    log_err ("a part cannot be joined vault=%s snapshot=%s host=%s part=%s err=\"%s\"",
             s->vault->name, s->name.ts, p->host, p->id, err_str (rc));
    say (s, "the part %s of %.60s cannot be read: %s", p->id, p->host, err_str (rc));
    return rc;
  }
  rc = merge_tree (m, other->tree, p->id, p->host);
  if (rc == 0)
    rc = take_meta (s, m->join, other, p);
  struct checkpoint_counts *sum = &m->join->counts;
  sum->files += other->past.files;
  sum->received += other->past.received;
  sum->fresh += other->past.fresh;
  sum->dedup += other->past.dedup;
  sum->stored += other->past.stored;
  snap_free (other);
  return rc;
}

int
join_merge (struct snap *s, struct join *j)
{
  size_t joined = 0;
  for (size_t i = 0; i < j->count; i++)
    joined += !j->parts[i].is_left_out;
  if (joined == 0)
    return 0;
  struct merging m = { .snap = s, .join = j };
  buf_init (&m.path, 1 << 20);
  m.owners = calloc (joined + 1, sizeof *m.owners);
  int rc = m.owners ? worktree_new (s->mount->scratch, &j->tree) : ERR_NOMEM;
  if (rc == 0 && s->part[0])
    rc = merge_tree (&m, s->tree, s->part, s->mount->host);
  for (size_t i = 0; rc == 0 && i < j->count; i++)
    if (!j->parts[i].is_left_out)
      rc = merge_part (&m, &j->parts[i]);
  if (rc == 0 && m.clashes)
    rc = ERR_EXISTS;
  if (m.clashes > 1)
    log_err ("parts have names in common vault=%s snapshot=%s names=%zu: log level debug of join "
             "lists them", s->vault->name, s->name.ts, m.clashes);
  if (rc == 0)
    log_info ("joined vault=%s snapshot=%s parts=%zu", s->vault->name, s->name.ts, m.owner_count);
  free (m.owners);
  free (m.levels);
  buf_release (&m.path);
  return rc;
}

void
join_release (struct join *j)
{
  worktree_free (j->tree);
  free (j->parts);
  free (j->seen);
  for (size_t i = 0; i < j->meta_count; i++) {
    free (j->meta[i].key);
    free (j->meta[i].value);
  }
  free (j->meta);
  *j = (struct join){ 0 };
}
