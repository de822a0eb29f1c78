/* SPDX-License-Identifier: Apache-2.0 */
/* upload - finishes a pack (table, trailer, name) and puts it.  Retry and throttle are in the
 * blob. */
#define LOG_MODULE "upload"
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "store/pipeline_priv.h"

static int
finish_pack (struct packing *k, uint32_t *size)
{
  struct sealer *sealer;
  int rc = sealer_of_thread (&sealer);
  if (rc)
    return rc;
  AUTO_BUF table, unit;
  buf_init (&table, PACK_MAX_ENTRIES * PACK_ENTRY_LEN);
  buf_init (&unit, table.max + UNIT_OVERHEAD);
  for (uint32_t i = 0; i < k->count; i++)
    pack_entry_put (&table, &k->entries[i]);
  rc = buf_error (&table);
  if (rc)
    return rc;
  uint8_t id[ID_LEN];
  unit_id_pack_table (k->salt, id);
  rc = seal_unit (sealer, k->pipe->opts.keys, UNIT_PACK_TABLE, id, table.data, table.len, 0,
                  &unit);
  if (rc)
    return rc;
  if (k->off + unit.len + PACK_TRAILER_LEN > k->cap)
    return ERR_LIMIT;
  memcpy (k->data + k->off, unit.data, unit.len);
  pack_trailer_encode (k->off, (uint32_t) unit.len, k->count, k->data + k->off + unit.len);
  *size = (uint32_t) (k->off + unit.len + PACK_TRAILER_LEN);
  if (sha_pair_is_there ()) {
    sha_stream_update (&k->sha, k->data + k->hashed, *size - k->hashed);
    sha_stream_final (&k->sha, k->name);
  } else
    sha256_once (k->data, *size, k->name);
  return 0;
}

/* Less than before where an attempt failed and the next begins. */
void
upload_sent (struct packing *k, uint64_t sent)
{
  struct pipe *v = k->pipe;
  uint32_t body = k->off - PACK_HEADER_LEN;
  uint32_t now = sent < body ? (uint32_t) sent : body, before = k->sent;
  k->sent = now;
  v->backlog += before - (uint64_t) now; /* modulo 2^64 */
  v->flying += before - (uint64_t) now;
  pthread_cond_broadcast (&v->line->room);
}

static void
on_sent (void *ctx, uint64_t sent)
{
  upload_sent (ctx, sent);
}

void
upload_run (struct pool_job *job)
{
  struct packing *k = (struct packing *) job;
  struct pipe *v = k->pipe;
  struct pipeline *p = v->line;
  uint32_t size = 0;
  int rc = finish_pack (k, &size);
  if (rc == 0) {
    lock_take (&p->lock);
    k->is_named = true;
    pthread_cond_broadcast (&p->changed);
    lock_release (&p->lock);
    char hex[65], key[BLOB_KEY_MAX];
    hex_encode (k->name, PACK_NAME_LEN, hex);
    snprintf (key, sizeof key, "vaults/%s/packs/%.2s/%s", v->vault, hex, hex);
    struct blob_put_opts opts = { .sha256 = k->name, .ctx = k,
                                  .progress = pipe_slow_rate (v) ? on_sent : NULL };
    rc = blob_put (v->opts.blob, key, k->data, size, &opts);
    if (rc)
      log_err ("upload of a pack failed for good vault=%s pack=%.16s bytes=%u err=\"%s\": what "
               "refers to it"
               " cannot be sealed; look at the store, then write the files again",
               v->vault, hex, size, err_str (rc));
  }
  if (rc == 0)
    rc = index_pack_done (v->opts.index, k->no, k->name, size);
  else
    index_pack_drop (v->opts.index, k->no);
  lock_take (&p->lock);
  for (uint32_t i = 0; rc == 0 && i < k->dep_count; i++)
    k->deps[i]->stored += i == 0 ? size : 0; /* the first to fill it pays */
  packer_over_locked (k, rc);
  lock_release (&p->lock);
}
