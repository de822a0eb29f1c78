/* SPDX-License-Identifier: Apache-2.0 */
/* A store without a mount. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "blob/url.h"
#include "snapshot/catalog.h"
#include "wire.h"

static int
open_opts (const struct cli *cli, const struct config *c, int region, struct blob_open_opts *out)
{
  memset (out, 0, sizeof *out);
  const char *retry = config_has (c, region, CONFIG_ID_RETRY)
                        ? config_text (c, region, CONFIG_ID_RETRY)
                        : "quick"; /* a person waits */
  if (retry_preset_parse (retry, &out->retry) < 0)
    return cli_refuse (cli, EXIT_USAGE_WRONG, "retry = \"%s\": there is no such preset", retry);
  const char *profile = config_text (c, region, CONFIG_ID_PROFILE);
  out->profile = *profile ? profile : NULL;
  int64_t connect = config_number (c, region, CONFIG_ID_CONNECT_TIMEOUT);
  int64_t stall = config_number (c, region, CONFIG_ID_STALL_TIMEOUT);
  out->connect_timeout_ms = (int) (connect / NS_PER_MS);
  out->stall_timeout_ms = (int) (stall / NS_PER_MS);
  return 0;
}

int
wire_fail (const struct cli *cli, const struct wire_store *s, int rc, const char *what)
{
  const char *next = NULL;
  switch (rc) {
  case ERR_AGAIN:
  case ERR_THROTTLED:
    next = "The store does not answer as it should: try again, or see that it runs and can be "
           "reached from here.";
    break;
  case ERR_AUTH:
    next = "Nothing was written. Give the right key with --key-file or --passphrase-file.";
    break;
  case ERR_DENIED:
    next = "Look at the credentials and their rights, or at the modes of the files named.";
    break;
  case ERR_VERSION: next = "A newer coffer wrote this store: install that version."; break;
  case ERR_FULL: next = "Make room in the store and try again."; break;
  default: break;
  }
  return cli_fail (cli, rc, next, "%s %s", what, s->shown);
}

int
wire_open_blob (const struct cli *cli, const struct config *c, int region, bool create,
                struct wire_store *out)
{
  memset (out, 0, sizeof *out);
  const char *url = config_text (c, region, CONFIG_ID_URL);
  snprintf (out->name, sizeof out->name, "%s", config_region_name (c, (size_t) region));
  blob_url_redact (url, out->shown, sizeof out->shown);
  struct blob_open_opts opts;
  int rc = open_opts (cli, c, region, &opts);
  if (rc)
    return rc;
  opts.create = create;
  rc = blob_open_url (url, &opts, &out->blob);
  if (rc == ERR_MISSING)
    return cli_refuse (cli, EXIT_FAILED, "cannot open the store %s: there is no such directory. "
                                         "Check the URL; coffer init makes a store", out->shown);
  return rc < 0 ? wire_fail (cli, out, rc, "open the store") : 0;
}

int
wire_open_store (const struct cli *cli, const struct config *c, int region,
                 struct wire_store *out)
{
  struct wire_unlock u;
  int rc = wire_open_blob (cli, c, region, false, out);
  if (rc)
    return rc;
  rc = wire_unlock_of (cli, c, region, &u);
  if (rc)
    return rc;
  if (u.path[0] && access (u.path, F_OK) != 0)
    return cli_refuse (cli, EXIT_DENIED, "cannot open the store %s: no key is given, and the key "
                                         "file that coffer init makes for it is not there (%s). "
                                         "Give --key-file or --passphrase-file",
                       out->shown, u.path);
  rc = store_open (out->blob, &u.unlock, &out->keys);
  if (rc == ERR_MISSING) /* no store here, or no key file: the log says which; not damage */
    return cli_refuse (cli, EXIT_FAILED, "cannot open the store %s with %s", out->shown,
                       u.unlock.key_file ? u.unlock.key_file : u.unlock.passphrase_file);
  return rc < 0 ? wire_fail (cli, out, rc, "open the store") : 0;
}

int
wire_vault (struct wire_store *s, const char *name, struct vault **out)
{
  int rc = s->offline ? 0 : offline_open (s->blob, s->keys, &s->offline);
  return rc < 0 ? rc : offline_vault (s->offline, name, out);
}

void
wire_close (struct wire_store *s)
{
  if (s->offline)
    offline_close (s->offline);
  s->offline = NULL;
  keyring_free (s->keys);
  blob_free (s->blob);
  s->keys = NULL;
  s->blob = NULL;
}
