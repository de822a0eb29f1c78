/* SPDX-License-Identifier: Apache-2.0 */
/* Brings the store's index deltas into this host's index.  A hint is all it is: what fails is
 * skipped. */
#define LOG_MODULE "index"
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "snapshot/vault.h"

struct names {
  struct vault *vault;
  struct buf out;
  size_t skip;
};

static int
add (void *ctx, const struct blob_entry *e)
{
  struct names *n = ctx;
  const char *name = e->key + n->skip;
  /* Those of this very session are known. */
  if (strncmp (name, pipe_session (n->vault->pipe), 16) != 0
      && !index_has_delta (n->vault->index, name))
    buf_put (&n->out, name, strlen (name) + 1);
  return buf_error (&n->out);
}

static int
load_one (struct vault *v, struct sealer *s, const char *name)
{
  char key[BLOB_KEY_MAX];
  snprintf (key, sizeof key, "vaults/%s/index/%s", v->name, name);
  AUTO_BUF object, plain;
  buf_init (&object, unit_plain_max (UNIT_INDEX) + 4096);
  buf_init (&plain, unit_plain_max (UNIT_INDEX));
  int rc = blob_get_all (v->region->blob, key, &object);
  if (rc == 0)
    rc = object_header_check (object.data, object.len, MAGIC_INDEX);
  uint8_t id[ID_LEN];
  unit_id_index (name, id);
  if (rc == 0)
    rc = open_unit_buf (s, v->keys, UNIT_INDEX, id, object.data + OBJECT_HEADER_LEN,
                        object.len - OBJECT_HEADER_LEN, &plain);
  struct index_delta d = { 0 };
  if (rc >= 0)
    rc = index_delta_decode (plain.data, plain.len, &d);
  if (rc == 0)
    rc = index_load_delta (v->index, name, &d);
  index_delta_release (&d);
  return rc;
}

void
vault_load_index (struct vault *v)
{
  struct names n = { .vault = v };
  char prefix[BLOB_KEY_MAX];
  n.skip = (size_t) snprintf (prefix, sizeof prefix, "vaults/%s/index/", v->name);
  buf_init (&n.out, 64u << 20);
  AUTO (sealer) s = NULL;
  int rc = blob_list (v->region->blob, prefix, "", false, add, &n);
  if (rc == 0 && n.out.len)
    rc = sealer_new (&s);
  if (rc)
    log_warn ("the dedup index is not up to date vault=%s err=\"%s\": more is stored than need be",
              v->name,
              err_str (rc));
  for (size_t at = 0; rc == 0 && at < n.out.len; at += strlen ((char *) n.out.data + at) + 1) {
    int one = load_one (v, s, (char *) n.out.data + at);
    if (one)
      log_warn ("an index delta cannot be used vault=%s object=%s err=\"%s\": more is stored than "
                "need be",
                v->name, (char *) n.out.data + at, err_str (one));
    if (one == ERR_CANCELLED)
      break;
  }
  index_maintain (v->index);
  buf_release (&n.out);
}
