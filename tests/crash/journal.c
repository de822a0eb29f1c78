/* SPDX-License-Identifier: Apache-2.0 */
#include "world.h"

#define FILE_MAX (16u << 20)

void
journal_free (struct journal *j)
{
  for (unsigned s = 0; s < j->count; s++)
    for (unsigned f = 0; f < j->snaps[s].count; f++)
      for (unsigned v = 0; v < VERSIONS_MAX; v++)
        buf_release (&j->snaps[s].files[f].at[v]);
}

struct jsnap *
journal_snap (struct journal *j, const char *path)
{
  for (unsigned i = 0; i < j->count; i++)
    if (strcmp (j->snaps[i].path, path) == 0)
      return &j->snaps[i];
  struct jsnap *s = &j->snaps[j->count++];
  snprintf (s->path, sizeof s->path, "%s", path);
  return s;
}

struct jfile *
journal_file (struct jsnap *s, const char *path)
{
  for (unsigned i = 0; i < s->count; i++)
    if (strcmp (s->files[i].path, path) == 0)
      return &s->files[i];
  if (s->count == FILES_MAX)
    DIE ("too many files");
  struct jfile *f = &s->files[s->count++];
  snprintf (f->path, sizeof f->path, "%s", path);
  return f;
}

struct buf *
journal_next (struct jfile *f)
{
  if (f->count == VERSIONS_MAX)
    DIE ("too many contents of %s", f->path);
  struct buf *b = &f->at[f->count];
  buf_init (b, FILE_MAX);
  if (f->count)
    buf_put (b, f->at[f->count - 1].data, f->at[f->count - 1].len);
  f->count++;
  return b;
}

static void
keep_last (struct jfile *f)
{
  for (unsigned v = 0; v + 1 < f->count; v++)
    buf_release (&f->at[v]);
  if (f->count > 1) {
    f->at[0] = f->at[f->count - 1];
    f->at[f->count - 1] = (struct buf){ 0 };
    f->count = 1;
  }
  f->old_path[0] = 0;
}

void
journal_durable (struct jsnap *s)
{
  for (unsigned i = 0; i < s->count; i++) {
    keep_last (&s->files[i]);
    s->files[i].is_durable = !s->files[i].is_gone;
  }
}

static void
compare (const struct jsnap *s, const struct jfile *f, const struct buf *got)
{
  const struct buf *want = &f->at[f->count - 1];
  if (got->len != want->len)
    DIE ("%s/%s: %zu bytes, not %zu", s->path, f->path, got->len, want->len);
  for (size_t i = 0; i < got->len; i++)
    if (got->data[i] != want->data[i])
      DIE ("%s/%s: wrong byte at %zu of %zu: %02x, not %02x", s->path, f->path, i, got->len,
           got->data[i], want->data[i]);
}

struct seen {
  struct jsnap *snap;
  unsigned files;
};

static void
must_be_known (void *ctx, const char *below)
{
  struct seen *s = ctx;
  for (unsigned i = 0; i < s->snap->count; i++)
    if (!s->snap->files[i].is_gone && strcmp (s->snap->files[i].path, below) == 0) {
      s->files++;
      return;
    }
  DIE ("%s holds %s, which was not there", s->snap->path, below);
}

void
journal_check_sealed (struct host *h, struct jsnap *s)
{
  unsigned files = 0;
  for (unsigned i = 0; i < s->count; i++) {
    struct jfile *f = &s->files[i];
    if (f->is_gone)
      continue;
    files++;
    char path[300];
    AUTO_BUF got;
    buf_init (&got, FILE_MAX);
    snprintf (path, sizeof path, "%s/%s", s->path, f->path);
    int rc = do_read (h, path, &got);
    if (rc)
      DIE ("%s cannot be read: %s", path, err_str (rc));
    compare (s, f, &got);
  }
  struct seen seen = { .snap = s };
  do_walk (h, s->path, must_be_known, &seen);
  if (seen.files != files)
    DIE ("%s holds %u files, not %u", s->path, seen.files, files);
}

/* Each byte is one that the file had there, and so is its length. */
static void
check_versions (const struct jsnap *s, const struct jfile *f, const struct buf *got)
{
  size_t least = SIZE_MAX, most = 0;
  for (unsigned v = 0; v < f->count; v++) {
    least = f->at[v].len < least ? f->at[v].len : least;
    most = f->at[v].len > most ? f->at[v].len : most;
  }
  if ((f->is_durable && got->len < least) || got->len > most)
    DIE ("%s/%s: recovered with %zu bytes, it had %zu to %zu", s->path, f->path, got->len, least,
         most);
  for (size_t i = 0; i < got->len; i++) {
    bool found = false;
    for (unsigned v = 0; v < f->count && !found; v++)
      found = i < f->at[v].len && f->at[v].data[i] == got->data[i];
    if (!found)
      DIE ("%s/%s: recovered with a byte it never had at %zu of %zu: %02x", s->path, f->path, i,
           got->len, got->data[i]);
  }
}

void
journal_check_open (struct host *h, struct jsnap *s)
{
  for (unsigned i = 0; i < s->count; i++) {
    struct jfile *f = &s->files[i];
    char path[300];
    AUTO_BUF got;
    buf_init (&got, FILE_MAX);
    snprintf (path, sizeof path, "%s.partial/%s", s->path, f->path);
    int rc = do_read (h, path, &got);
    if (rc == ERR_NOENT && f->old_path[0]) {
      snprintf (path, sizeof path, "%s.partial/%s", s->path, f->old_path);
      rc = do_read (h, path, &got);
    }
    if (rc == ERR_NOENT && (!f->is_durable || f->is_gone))
      continue;
    if (rc)
      DIE ("%s was made durable and is not there: %s", path, err_str (rc));
    check_versions (s, f, &got);
  }
}

struct accepting {
  struct host *host;
  struct jsnap *snap;
};

static void
accept_one (void *ctx, const char *below)
{
  struct accepting *a = ctx;
  char path[300];
  snprintf (path, sizeof path, "%s.partial/%s", a->snap->path, below);
  struct jfile *f = journal_file (a->snap, below);
  struct buf *b = journal_next (f);
  buf_reset (b);
  MUST (do_read (a->host, path, b));
  keep_last (f);
  f->is_gone = false;
}

void
journal_accept (struct host *h, struct jsnap *s)
{
  for (unsigned i = 0; i < s->count; i++)
    s->files[i].is_gone = true;
  char path[140];
  snprintf (path, sizeof path, "%s.partial", s->path);
  struct accepting a = { .host = h, .snap = s };
  do_walk (h, path, accept_one, &a);
}
