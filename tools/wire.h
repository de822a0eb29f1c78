/* SPDX-License-Identifier: Apache-2.0 */
/* wire - the only place that knows the order of the stages:
 *
 *   URL -> backend -> throttle -> breaker -> retry (blob/url.h)
 *       -> keys (store/keys.h) -> mount (snapshot/mount.h) -> kernel (fs/session.h)
 *
 * and where each setting of coffer.conf(5) goes.  Errors are told here, to the person; what comes
 * back is the exit status (0: go on).
 *
 * Threads: wire_serve makes one, `clock`, that applies the rates of the hour; the layers below make
 * theirs (doc/threads.md).  All others are called by the command's only thread. */
#ifndef COFFER_TOOLS_WIRE_H
#define COFFER_TOOLS_WIRE_H

#include "base/config.h"
#include "blob/blob.h"
#include "cli.h"
#include "store/keys.h"

/* The configuration of this command line: -c, then -o, then --key-file and --passphrase-file, and
 * URL (or NULL) as its only region.  EXTRA (or NULL) gets the options that are the kernel's.  At
 * least one region is there. */
int wire_config (const struct cli *cli, const char *url, struct buf *extra, struct config **out);

/* True where TEXT is a store's URL and not a path. */
bool wire_is_url (const char *text);

/* What opens region I: the file named, or the key file that init makes for this URL (then PATH
 * holds its name). */
struct wire_unlock {
  struct unlock unlock;
  char path[4096];
};
int wire_unlock_of (const struct cli *cli, const struct config *c, int region,
                    struct wire_unlock *out);
/* Where `coffer init` puts the key file of URL. */
int wire_default_key (const struct cli *cli, const char *url, char *out, size_t cap);

/* A store without a mount. */
struct wire_store {
  char name[64];   /* of the region */
  char shown[512]; /* its URL without secrets, for messages */
  struct blob *blob;
  struct keyring *keys; /* NULL where only the blob was asked for */
  struct offline *offline; /* made by wire_vault */
};
int wire_open_blob (const struct cli *cli, const struct config *c, int region, bool create,
                    struct wire_store *out);
/* Blob and keys. */
int wire_open_store (const struct cli *cli, const struct config *c, int region,
                     struct wire_store *out);
/* One database of the store, to read sealed trees from; owned by S. */
struct vault;
int wire_vault (struct wire_store *s, const char *name, struct vault **out) WARN_UNUSED;
void wire_close (struct wire_store *s);
#define AUTO_STORE __attribute__ ((cleanup (wire_close))) struct wire_store
/* Tells why a call on S failed with RC; the exit status. */
int wire_fail (const struct cli *cli, const struct wire_store *s, int rc, const char *what);

/* Mounts and serves until the end; the exit status.  READY is called once the mount answers. */
int wire_serve (const struct cli *cli, const struct config *c, const char *extra,
                const char *mountpoint, void (*ready) (void *ctx), void *ctx);

#endif
