/* SPDX-License-Identifier: Apache-2.0 */
/* Placed extents to bytes: from a pack that is still in memory, or through the reader. */
#define LOG_MODULE "read"
#include <string.h>
#include <sys/uio.h>

#include "base/log.h"
#include "snapshot/file.h"

/* A chunk in a pack that may not be in the store yet. */
static int
load_flying (struct vault *v, const struct read_piece *p, uint8_t *out, bool *in_memory)
{
  const struct chunk_ref *ref = &p->e.ref;
  AUTO_MEM uint8_t *sealed = malloc (ref->sealed_len);
  AUTO_MEM uint8_t *plain = malloc (ref->plain_len);
  if (!sealed || !plain)
    return ERR_NOMEM;
  *in_memory = pipe_read_pack (v->pipe, ref->pack, ref->off, ref->sealed_len, sealed);
  if (!*in_memory)
    return 0;
  struct sealer *sealer;
  int rc = sealer_of_thread (&sealer);
  if (rc == 0)
    rc = open_unit (sealer, v->keys, UNIT_DATA, ref->id, sealed, ref->sealed_len, plain,
                    ref->plain_len);
  if (rc < 0)
    return rc;
  memcpy (out, plain + p->e.chunk_off, p->len);
  return 0;
}

int
snap_load (struct vault *v, const struct read_piece *pieces, unsigned count, uint64_t base,
           unsigned flags,
           uint8_t *out)
{
  struct chunk_want wants[READ_PIECES_MAX];
  const struct read_piece *of[READ_PIECES_MAX];
  struct chunk_view *views[READ_PIECES_MAX];
  unsigned n = 0;
  for (unsigned i = 0; i < count; i++) {
    const struct read_piece *p = &pieces[i];
    struct chunk_want *w = &wants[n];
    *w = (struct chunk_want){ .src = &v->source, .ref = p->e.ref, .type = UNIT_DATA };
    if (p->has_name)
      memcpy (w->pack, p->pack, PACK_NAME_LEN);
    else {
      bool in_memory = false;
      int rc = index_pack_name (v->index, p->e.ref.pack, w->pack);
      if (rc == ERR_STATE)
        rc = load_flying (v, p, out + (p->off - base), &in_memory);
      if (rc)
        return rc;
      if (in_memory)
        continue;
      /* It may have left memory for the store between the two questions. */
      rc = index_pack_name (v->index, p->e.ref.pack, w->pack);
      if (rc)
        return rc == ERR_STATE ? ERR_AGAIN : ERR_MISSING;
    }
    of[n++] = p;
  }
  if (n == 0)
    return 0;
  int rc = reader_load (v->region->mount->reader, wants, n, flags, views);
  if (rc)
    return rc;
  for (unsigned i = 0; i < n; i++) {
    const struct read_piece *p = of[i];
    if ((uint64_t) p->e.chunk_off + p->len <= views[i]->len)
      memcpy (out + (p->off - base), views[i]->data + p->e.chunk_off, p->len);
    else
      rc = ERR_FORMAT;
    chunk_view_unref (views[i]);
  }
  return rc;
}

/* ---- without a copy ---- */

#define ZEROS (64u << 10)
#define IOV_MOST 1000 /* one writev takes 1024, and the answer has a header */
static uint8_t zeros[ZEROS]; /* never written */

struct pinned_views {
  struct pinned pub; /* first */
  unsigned view_count;
  struct chunk_view *views[READ_PIECES_MAX];
  struct iovec iov[];
};

void
pinned_free (struct pinned *p)
{
  if (!p)
    return;
  struct pinned_views *v = (struct pinned_views *) p;
  for (unsigned i = 0; i < v->view_count; i++)
    chunk_view_unref (v->views[i]);
  free (v);
}

static void
pin_zeros (struct pinned *p, uint64_t n)
{
  for (; n; n -= p->iov[p->count++].iov_len)
    p->iov[p->count] = (struct iovec){ zeros, n < ZEROS ? (size_t) n : ZEROS };
}

static int
pin_piece (struct pinned *p, const struct read_piece *piece, const struct chunk_view *view)
{
  if ((uint64_t) piece->e.chunk_off + piece->len > view->len)
    return ERR_FORMAT;
  p->iov[p->count++] = (struct iovec){
    (void *) (uintptr_t) (view->data + piece->e.chunk_off), piece->len,
  };
  return 0;
}

int
snap_pin (struct vault *v, const struct read_piece *pieces, unsigned count, uint64_t base,
          size_t len, unsigned flags, struct pinned **out)
{
  size_t most = 2 * count + 1 + len / ZEROS;
  if (count > READ_PIECES_MAX || most > IOV_MOST)
    return ERR_NOTSUP;
  struct chunk_want wants[READ_PIECES_MAX];
  for (unsigned i = 0; i < count; i++) {
    wants[i] = (struct chunk_want){ .src = &v->source, .ref = pieces[i].e.ref, .type = UNIT_DATA };
    memcpy (wants[i].pack, pieces[i].pack, PACK_NAME_LEN);
  }
  struct pinned_views *p = malloc (sizeof *p + most * sizeof *p->iov);
  if (!p)
    return ERR_NOMEM;
  p->pub = (struct pinned){ .len = len, .iov = p->iov };
  p->view_count = 0;
  int rc = count ? reader_load (v->region->mount->reader, wants, count, flags, p->views) : 0;
  if (rc == 0)
    p->view_count = count;
  uint64_t at = base;
  for (unsigned i = 0; rc == 0 && i < count; i++) {
    pin_zeros (&p->pub, pieces[i].off - at);
    rc = pin_piece (&p->pub, &pieces[i], p->views[i]);
    at = pieces[i].off + pieces[i].len;
  }
  if (rc) {
    pinned_free (&p->pub);
    return rc;
  }
  pin_zeros (&p->pub, base + len - at);
  *out = &p->pub;
  return 0;
}
