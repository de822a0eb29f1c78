/* SPDX-License-Identifier: Apache-2.0 */
/* A store without a mount, for tools: the same objects, but no pipeline, no index, no threads but
 * the reader's. */
#define LOG_MODULE "offline"
#include <stdio.h>
#include <string.h>

#include "snapshot/catalog.h"
#include "snapshot/vault.h"

struct offline {
  struct mount mount;
  struct region region;
};

int
offline_open (struct blob *b, struct keyring *k, struct offline **out)
{
  struct offline *o = calloc (1, sizeof *o);
  if (!o)
    return ERR_NOMEM;
  lock_init (&o->mount.lock, LOCK_MOUNT, "offline");
  o->region = (struct region){ .mount = &o->mount, .name = "store", .blob = b, .keys = k };
  struct reader_limits limits = { .decoded_bytes = 32u << 20, .raw_bytes = 32u << 20,
                                  .fetch_threads = 8,
                                  .decode_threads = 2 };
  int rc = reader_new (&limits, &o->mount.reader);
  if (rc) {
    offline_close (o);
    return rc;
  }
  *out = o;
  return 0;
}

void
offline_close (struct offline *o)
{
  if (!o)
    return;
  for (uint32_t i = 0; i < o->region.vault_count; i++) {
    struct vault *v = o->region.vaults[i];
    if (v->is_open)
      reader_forget_source (o->mount.reader, &v->source);
    v->is_open = false;
    vault_free (v);
  }
  free (o->region.vaults);
  reader_free (o->mount.reader);
  lock_destroy (&o->mount.lock);
  free (o);
}

int
offline_vault (struct offline *o, const char *name, struct vault **out)
{
  struct vault *v;
  int rc = vault_intern (&o->region, name, &v);
  if (rc == 0 && !v->is_open) {
    rc = vault_keys_new (o->region.keys, name, &v->keys);
    if (rc == 0) {
      v->source = (struct reader_source){ .blob = o->region.blob, .keys = v->keys };
      snprintf (v->source.prefix, sizeof v->source.prefix, "vaults/%s/packs/", name);
      v->is_open = true;
    }
  }
  if (rc == 0)
    *out = v;
  return rc;
}
