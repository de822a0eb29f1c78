/* SPDX-License-Identifier: Apache-2.0 */
/* Placed extents to bytes: from a pack that is still in memory, or through the reader. */
#define LOG_MODULE "read"
#include <string.h>

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
  int rc = reader_load (v->region->mount->reader, wants, n, flags & MOUNT_NOWAIT ? READER_NOWAIT
                        : 0, views);
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
