/* SPDX-License-Identifier: Apache-2.0 */
#define LOG_MODULE "sealed"
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "snapshot/sealed.h"

int
manifest_load (struct blob *blob, const struct vault_keys *keys, const char *vault, const char *ts,
               const char *digest, bool is_sealed, struct manifest *out)
{
  char key[BLOB_KEY_MAX];
  snprintf (key, sizeof key, "vaults/%s/snapshots/%s.%s.%s", vault, ts, digest,
            is_sealed ? "sealed" : "pending");
  AUTO_BUF object, json;
  buf_init (&object, MANIFEST_MAX_BYTES);
  buf_init (&json, MANIFEST_MAX_BYTES);
  int rc = blob_get_all (blob, key, &object);
  if (rc)
    return rc;
  uint8_t sha[32], claimed[32], want[DIGEST_LEN];
  const uint8_t *pending = object.data;
  size_t n = object.len;
  if (is_sealed)
    rc = sealed_decode (object.data, object.len, claimed, &pending, &n);
  if (rc == 0) {
    sha256_once (pending, n, sha);
    if ((is_sealed && memcmp (sha, claimed, 32) != 0) || !hex_decode (digest, DIGEST_LEN, want)
        || memcmp (sha, want, DIGEST_LEN) != 0)
      rc = ERR_FORMAT;
  }
  if (rc == 0)
    rc = object_header_check (pending, n, MAGIC_MANIFEST);
  AUTO (sealer) s = NULL;
  if (rc == 0)
    rc = sealer_new (&s);
  static const char *const kinds[] = { "full", "log" };
  int opened = ERR_FORMAT;
  for (size_t k = 0; rc == 0 && opened < 0 && k < 2; k++) {
    uint8_t id[ID_LEN];
    unit_id_manifest (keys, ts, kinds[k], id);
    opened = open_unit_buf (s, keys, UNIT_MANIFEST, id, pending + OBJECT_HEADER_LEN,
                            n - OBJECT_HEADER_LEN, &json);
  }
  if (rc == 0)
    rc = opened < 0 ? opened : manifest_decode (json.data, json.len, out);
  if (rc == 0 && strcmp (out->ts, ts) != 0) {
    manifest_release (out);
    rc = ERR_FORMAT;
  }
  if (rc)
    log_err ("the manifest of a snapshot cannot be used key=%s err=\"%s\": run coffer check; "
             "another copy of"
             " the store may have it", key, err_str (rc));
  return rc;
}
