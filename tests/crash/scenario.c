/* SPDX-License-Identifier: Apache-2.0 */
#include "scenario.h"

#define T1 "db/20260101T000000Z"
#define T2 "db/20260102T000000Z"
#define T3 "db/20260103T000000Z"

/* ---- operations that are noted ---- */

static const char *
full (const struct jsnap *s, const char *file, char *out)
{
  snprintf (out, 300, "%s.partial/%s", s->path, file);
  return out;
}

/* What an operation returned; a failure if nothing can have returned it. */
static int
returned (const struct run *r, int rc)
{
  return r->is_dead && r->is_dead () ? ERR_IO : rc;
}

static void
put (struct run *r, struct jsnap *s, const char *file, uint64_t off, size_t n, uint64_t seed)
{
  if (r->is_over)
    return;
  char path[300];
  uint8_t *p = malloc (n);
  fill (p, n, seed);
  struct buf *b = journal_next (journal_file (s, file));
  static const uint8_t zeros[65536];
  while (b->len < off)
    buf_put (b, zeros, off - b->len < sizeof zeros ? off - b->len : sizeof zeros);
  for (size_t i = 0; i < n; i++)
    if (off + i < b->len)
      b->data[off + i] = p[i];
    else {
      buf_put (b, p + i, n - i);
      break;
    }
  int rc = do_write (&r->host, full (s, file, path), off, p, n);
  free (p);
  r->is_over |= rc != 0;
}

static void
cut (struct run *r, struct jsnap *s, const char *file, size_t size)
{
  if (r->is_over)
    return;
  char path[300];
  struct buf *b = journal_next (journal_file (s, file));
  static const uint8_t zeros[65536];
  while (b->len < size)
    buf_put (b, zeros, size - b->len < sizeof zeros ? size - b->len : sizeof zeros);
  b->len = size;
  r->is_over |= do_truncate (&r->host, full (s, file, path), size) != 0;
}

static void
punch (struct run *r, struct jsnap *s, const char *file, size_t off, size_t n, bool is_zero)
{
  if (r->is_over)
    return;
  char path[300];
  struct buf *b = journal_next (journal_file (s, file));
  memset (b->data + off, 0, n);
  r->is_over |= do_punch (&r->host, full (s, file, path), off, n, is_zero) != 0;
}

static void
sync_all (struct run *r, struct jsnap *s, const char *file)
{
  char path[300];
  if (r->is_over)
    return;
  int rc = returned (r, do_fsync (&r->host, full (s, file, path)));
  if (rc == 0)
    journal_durable (s);
  else if (!r->goes_on)
    r->is_over = true;
}

static void
begin (struct run *r, struct jsnap *s)
{
  char path[300];
  snprintf (path, sizeof path, "%s.partial", s->path);
  if (r->is_over)
    return;
  int rc = do_mkdir (&r->host, path);
  if (rc && r->goes_on)
    rc = do_mkdir (&r->host, path);
  s->is_begun = returned (r, rc) == 0;
  r->is_over |= !s->is_begun;
}

static void
seal (struct run *r, struct jsnap *s)
{
  char path[300];
  snprintf (path, sizeof path, "%s.partial", s->path);
  if (r->is_over)
    return;
  s->tried = true;
  int rc = do_seal (&r->host, path);
  for (int i = 0; rc && r->goes_on && i < 3; i++)
    rc = do_seal (&r->host, path);
  s->is_sealed = returned (r, rc) == 0;
  r->is_over |= !s->is_sealed;
}

/* FROM is in a sealed snapshot. */
static void
refer (struct run *r, struct jsnap *from, struct jsnap *s, const char *file, const char *to,
       bool link)
{
  char path[300], src[300];
  if (r->is_over)
    return;
  snprintf (src, sizeof src, "%s/%s", from->path, file);
  struct jfile *f = journal_file (s, to), *o = journal_file (from, file);
  full (s, to, path);
  int rc = link ? do_link (&r->host, src, path) : do_copy (&r->host, src, path);
  struct buf *b = journal_next (f);
  buf_reset (b);
  if (!link) /* a copy grows */
    b = journal_next (f);
  buf_put (b, o->at[o->count - 1].data, o->at[o->count - 1].len);
  if (rc && r->goes_on) { /* cp would copy the bytes */
    (void) do_unlink (&r->host, path);
    rc = do_write (&r->host, path, 0, b->data, b->len);
  }
  r->is_over |= rc != 0;
}

/* ---- the scenario ---- */

static void
first (struct run *r)
{
  struct jsnap *s = journal_snap (&r->journal, T1);
  begin (r, s);
  char path[300];
  if (!r->is_over)
    r->is_over = do_mkdir (&r->host, full (s, "d", path)) != 0;
  put (r, s, "stream.bin", 0, 900000, 1);
  put (r, s, "dump.sql", 0, 200000, 2);
  put (r, s, "t.ibd", 0, 262144, 3);
  sync_all (r, s, "stream.bin");
  put (r, s, "stream.bin", 900000, 300000, 4); /* goes on growing */
  put (r, s, "t.ibd", 16384, 16384, 5);        /* a page in the middle */
  for (unsigned i = 0; i < 8; i++) {
    char name[32];
    snprintf (name, sizeof name, "d/small%u", i);
    put (r, s, name, 0, 500 + 700 * i, 10 + i);
  }
  sync_all (r, s, "d");
  put (r, s, "sparse", 3000000, 5000, 30);
  put (r, s, "d/small0", 100, 50, 31);
  seal (r, s);
}

static void
second (struct run *r)
{
  struct jsnap *a = journal_snap (&r->journal, T1), *s = journal_snap (&r->journal, T2);
  char path[300], path2[300];
  begin (r, s);
  refer (r, a, s, "stream.bin", "stream.bin", true);
  refer (r, a, s, "t.ibd", "t.ibd", false);
  put (r, s, "dump.sql", 0, 200000, 2); /* all of it known */
  put (r, s, "t.ibd", 65536 + 100, 3000, 40);
  sync_all (r, s, "t.ibd");
  put (r, s, "t.ibd", 65536, 2000, 41);
  put (r, s, "fresh", 0, 150000, 42);
  sync_all (r, s, "fresh");
  cut (r, s, "fresh", 70000);
  cut (r, s, "fresh", 140000); /* zeros where bytes were */
  punch (r, s, "stream.bin", 100000, 400000, false);
  punch (r, s, "t.ibd", 131072, 20000, true);
  sync_all (r, s, "fresh");
  put (r, s, "fresh", 0, 1000, 43);
  if (!r->is_over) {
    struct jfile *f = journal_file (s, "fresh");
    memcpy (f->old_path, f->path, sizeof f->path);
    snprintf (f->path, sizeof f->path, "renamed");
    r->is_over = do_rename (&r->host, full (s, "fresh", path), full (s, "renamed", path2)) != 0;
  }
  put (r, s, "gone", 0, 3000, 44);
  if (!r->is_over) {
    journal_file (s, "gone")->is_gone = true;
    r->is_over = do_unlink (&r->host, full (s, "gone", path)) != 0;
  }
  seal (r, s);
}

/* Stays open. */
static void
third (struct run *r)
{
  struct jsnap *a = journal_snap (&r->journal, T1), *s = journal_snap (&r->journal, T3);
  begin (r, s);
  put (r, s, "log", 0, 100000, 50);
  sync_all (r, s, "log");
  put (r, s, "log", 0, 4096, 51); /* the header, in the overlay */
  refer (r, a, s, "dump.sql", "from-first", true); /* pins: a checkpoint while it is there */
  put (r, s, "log", 100000, 30000, 52);
  put (r, s, "log", 200, 1000, 53);
  sync_all (r, s, "log");
  put (r, s, "log", 20000, 70000, 54);
  put (r, s, "late", 0, 5000, 55);
}

void
scenario (struct run *r)
{
  if (do_mkdir (&r->host, "db") != 0)
    return;
  first (r);
  second (r);
  third (r);
}

/* ---- what must hold afterwards ---- */

static void
check_fresh (struct run *r, struct blob *store)
{
  struct host h;
  host_up (r->world, store, NULL, "", &h);
  for (unsigned i = 0; i < r->journal.count; i++) {
    struct jsnap *s = &r->journal.snaps[i];
    struct node_stat st;
    int rc = do_lookup (&h, s->path, &st);
    if (rc == 0 && !s->tried)
      DIE ("%s is sealed and nobody sealed it", s->path);
    if (rc == 0)
      journal_check_sealed (&h, s);
    else if (s->is_sealed)
      DIE ("%s was sealed and is not there: %s", s->path, err_str (rc));
  }
  host_down (&h);
  host_forget (&h);
}

static bool
has_durable (const struct jsnap *s)
{
  for (unsigned i = 0; i < s->count; i++)
    if (s->files[i].is_durable)
      return true;
  return false;
}

/* One snapshot that may be open: found, judged, sealed, judged again. */
static void
check_resumed (struct run *r, struct host *h, struct blob *store, struct jsnap *s, bool adopt)
{
  char path[300];
  struct node_stat st;
  snprintf (path, sizeof path, "r/%s.partial", s->path);
  if (do_lookup (h, s->path, &st) == 0)
    return; /* sealed */
  int rc = adopt ? mount_adopt (h->m, path, ADOPT_FORCE, NULL) : 0;
  if (rc == 0)
    rc = do_lookup (h, path + 2, &st);
  if (rc == ERR_NOENT && !has_durable (s))
    return;
  if (rc)
    DIE ("%s held fsynced files and does not come back: %s", s->path, err_str (rc));
  journal_check_open (h, s);
  uint8_t more[70000];
  fill (more, sizeof more, 99);
  snprintf (path, sizeof path, "%s.partial/after", s->path);
  MUST (do_write (h, path, 0, more, sizeof more));
  MUST (do_fsync (h, path));
  journal_accept (h, s);
  for (unsigned i = 0; i < s->count; i++)
    s->files[i].is_durable = true;
  /* A second crash: the same again. */
  struct host again;
  struct blob *copy = world_store (r->world, store);
  host_up (r->world, copy, NULL, "", &again);
  snprintf (path, sizeof path, "r/%s.partial", s->path);
  MUST (mount_adopt (again.m, path, ADOPT_FORCE, NULL));
  journal_check_open (&again, s);
  MUST (do_seal (&again, path + 2));
  journal_check_sealed (&again, s);
  host_kill (&again);
  host_forget (&again);
  blob_free (copy);
  MUST (do_seal (h, path + 2));
}

static void
check_open (struct run *r, struct blob *store, const char *state)
{
  struct host h;
  host_up (r->world, store, state, "", &h);
  for (unsigned i = 0; i < r->journal.count; i++)
    if (r->journal.snaps[i].is_begun)
      check_resumed (r, &h, store, &r->journal.snaps[i], state == NULL);
  host_kill (&h);
  if (!state)
    host_forget (&h);
}

void
check_promises (struct run *r, struct blob *store, const char *state)
{
  check_fresh (r, store);
  check_open (r, store, state);
  for (unsigned i = 0; i < r->journal.count; i++)
    r->journal.snaps[i].tried = true;
  check_fresh (r, store);
}
