/* SPDX-License-Identifier: Apache-2.0 */
#define LOG_MODULE "file"
#include "snapshot/file_priv.h"

#include <string.h>

#define KEEP_MIN (64u << 10) /* what is written in parallel comes in large pieces */
#define VAIN_MAX 4           /* then the file is one with gaps: nothing of it is kept any more */

static uint64_t
end_of (const struct ahead *a)
{
  return a->off + a->data->len;
}

static void
ahead_free (struct snap *s, struct ahead *a)
{
  s->mount->ahead_bytes -= a->data->len;
  pipe_chunk_free (s->mount->line, a->data);
  free (a);
}

static bool
may_keep (struct snap *s, const struct filedata *d, uint64_t off, size_t n)
{
  uint64_t at = stream_end (d);
  return n >= KEEP_MIN && off > at && off - at <= WINDOW_SPAN - n && d->vain < VAIN_MAX
         && s->mount->ahead_bytes + n <= WINDOW_TOTAL && !pipeline_is_full (s->mount->line);
}

int
window_keep (struct snap *s, struct filedata *d, uint64_t off, const uint8_t *p, size_t n)
{
  if (n > WINDOW_SPAN || !may_keep (s, d, off, n))
    return 0;
  struct ahead **at = &d->ahead;
  while (*at && end_of (*at) <= off)
    at = &(*at)->next;
  if (*at && (*at)->off < off + n)
    return 0; /* what is there is older: it goes first */
  struct ahead *a = calloc (1, sizeof *a);
  struct pipe_chunk *c = a ? pipe_chunk_new (s->mount->line, n) : NULL;
  if (!c) {
    free (a);
    return 0;
  }
  memcpy (c->data, p, n);
  c->len = (uint32_t) n;
  s->mount->ahead_bytes += n;
  if (d->overlay) /* what it has of this range is older */
    overlay_clear (d->overlay, off, off + n);
  *a = (struct ahead){ .next = *at, .off = off, .data = c };
  *at = a;
  return 1;
}

/* The first of what is ahead goes where it belongs, but for its first SKIP bytes.  It was answered
 * already: to lose it is the file's error. */
static int
take_first (struct snap *s, struct inode *i, struct filedata *d, uint64_t skip)
{
  struct ahead *a = d->ahead;
  uint64_t len = a->data->len;
  d->ahead = a->next;
  skip = skip < len ? skip : len;
  int rc = 0;
  if (skip < len && (!d->cur || a->off + skip != stream_end (d)))
    rc = begin_stream (s, i, d, a->off + skip);
  if (rc == 0)
    rc = stream_append (s, i, d, a->data->data + skip, len - skip);
  if (rc && !d->error)
    d->error = rc;
  ahead_free (s, a);
  return rc;
}

int
window_drain (struct snap *s, struct inode *i, struct filedata *d)
{
  int rc = 0;
  while (rc == 0 && d->ahead && d->ahead->off <= stream_end (d)) {
    d->vain = 0;
    rc = take_first (s, i, d, stream_end (d) - d->ahead->off); /* what was written again since */
  }
  return rc;
}

int
window_flush (struct snap *s, struct inode *i, struct filedata *d)
{
  int rc = 0;
  d->vain += d->ahead && d->vain < VAIN_MAX;
  while (rc == 0 && d->ahead)
    rc = take_first (s, i, d, 0);
  return rc;
}

void
window_drop (struct snap *s, struct filedata *d)
{
  while (d->ahead) {
    struct ahead *a = d->ahead;
    d->ahead = a->next;
    ahead_free (s, a);
  }
}
