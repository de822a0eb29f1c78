/* SPDX-License-Identifier: Apache-2.0 */
/* From a command line to settings, and from settings to what opens a store. */
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "blob/schedule.h"
#include "blob/url.h"
#include "places.h"
#include "wire.h"

bool
wire_is_url (const char *text)
{
  size_t n = strspn (text, "abcdefghijklmnopqrstuvwxyz0123456789+");
  return n >= 2 && text[n] == ':';
}

static int
is_rate (const char *text)
{
  struct schedule s;
  return schedule_parse (text, &s);
}

static int
wrong_setting (const struct cli *cli, int rc, const struct buf *why)
{
  if (!why->len)
    return cli_fail (cli, rc, NULL, "read the settings");
  enum exit_status status = rc == ERR_DENIED ? EXIT_DENIED
                            : rc == ERR_INVALID || rc == ERR_LIMIT ? EXIT_USAGE_WRONG
                                                                   : EXIT_FAILED;
  return cli_refuse (cli, status, "%.*s", (int) why->len, (const char *) why->data);
}

/* A file named on the command line is relative to here; the daemon will be elsewhere. */
static int
set_path (struct config *c, const char *name, const char *value, struct buf *why)
{
  char full[4096];
  if (*value == '/' || strcmp (value, "-") == 0)
    return config_set (c, CONFIG_ALL, name, value, why);
  char cwd[2048];
  if (!getcwd (cwd, sizeof cwd))
    return ERR_NOENT;
  snprintf (full, sizeof full, "%s/%s", cwd, value);
  return config_set (c, CONFIG_ALL, name, full, why);
}

/* The settings given on the command line, in the order of their weight. */
static int
read_settings (const struct cli *cli, struct config *c, struct buf *extra, struct buf *why)
{
  const char *file = cli_option (cli, "config");
  int rc = file ? config_load (c, file, why) : 0;
  for (int i = 0; rc == 0 && i < cli->given_count; i++)
    if (strcmp (cli->given[i].name, "option") == 0)
      rc = config_set_list (c, cli->given[i].value, extra, why);
  static const char *const files[] = { "key-file", "passphrase-file" };
  for (size_t i = 0; rc == 0 && i < 2; i++)
    if (cli_option (cli, files[i]))
      rc = set_path (c, files[i], cli_option (cli, files[i]), why);
  return rc;
}

/* "/srv/coffer" is taken as "file:///srv/coffer"; a path that is relative is made whole. */
static int
url_of (const char *text, char *out, size_t cap)
{
  bool is_path = *text == '/';
  if (!is_path && !wire_is_url (text))
    return ERR_INVALID;
  if ((size_t) snprintf (out, cap, "%s%s", is_path ? "file://" : "", text) >= cap)
    return ERR_LIMIT;
  /* One place has one name, since key files and state are found by it. */
  size_t n = strlen (out);
  while (strncmp (out, "file:///", 8) == 0 && n > 8 && out[n - 1] == '/')
    out[--n] = 0;
  return 0;
}

static int
add_url (const struct cli *cli, struct config *c, const char *text, struct buf *why)
{
  char url[4096];
  if (url_of (text, url, sizeof url) < 0) {
    buf_printf (why, "\"%s\" is no store: give file:///DIR or s3://BUCKET/PREFIX?endpoint=...",
                text);
    return ERR_INVALID;
  }
  const char *name = config_text (c, CONFIG_ALL, CONFIG_ID_REGION);
  if (!*name)
    name = strncmp (url, "file:", 5) == 0 || strncmp (url, "fault+file:", 11) == 0
             || strncmp (url, "memory:", 7) == 0 ? "local" : "s3";
  int region = config_region_add (c, name, why);
  return region < 0 ? region : config_set (c, region, "url", url, why);
}

int
wire_config (const struct cli *cli, const char *url, struct buf *extra, struct config **out)
{
  AUTO_BUF why;
  AUTO_BUF unused;
  buf_init (&why, 1 << 16);
  buf_init (&unused, 4096);
  AUTO (config) c = NULL;
  config_check_rate (is_rate);
  int rc = config_new (&c);
  if (rc == 0)
    rc = read_settings (cli, c, extra ? extra : &unused, &why);
  if (rc == 0 && url && config_regions (c) > 0) {
    buf_printf (&why, "both a store (%s) and a configuration file with regions are given: one of "
                      "them is enough", url);
    rc = ERR_INVALID;
  }
  if (rc == 0 && url)
    rc = add_url (cli, c, url, &why);
  else if (rc == 0 && config_regions (c) == 0 && config_has (c, CONFIG_ALL, CONFIG_ID_URL))
    rc = add_url (cli, c, config_text (c, CONFIG_ALL, CONFIG_ID_URL), &why);
  for (size_t i = 0; rc == 0 && i < config_regions (c); i++)
    if (!*config_text (c, (int) i, CONFIG_ID_URL)) {
      buf_printf (&why, "the region \"%s\" has no url", config_region_name (c, i));
      rc = ERR_INVALID;
    }
  if (rc == 0 && config_regions (c) == 0) {
    buf_printf (&why, "which store? Give its URL (file:///DIR, s3://BUCKET/PREFIX?...), or -c FILE "
                      "with a configuration (coffer.conf(5))");
    rc = ERR_INVALID;
  }
  if (rc < 0)
    return wrong_setting (cli, rc, &why);
  *out = STEAL (c);
  return 0;
}

/* ---- keys ---- */

int
wire_default_key (const struct cli *cli, const char *url, char *out, size_t cap)
{
  char dir[3072], shown[512];
  if (places_config (dir, sizeof dir) < 0)
    return cli_refuse (cli, EXIT_FAILED, "cannot tell your configuration directory: set HOME, or "
                                         "name a key file with --key-file");
  blob_url_redact (url, shown, sizeof shown);
  char word[64];
  places_word (shown, word, sizeof word);
  snprintf (out, cap, "%s/keys/%s-%016llx.key", dir, word,
            (unsigned long long) places_hash (shown, 0));
  return 0;
}

int
wire_unlock_of (const struct cli *cli, const struct config *c, int region,
                struct wire_unlock *out)
{
  memset (out, 0, sizeof *out);
  const char *key = config_text (c, region, CONFIG_ID_KEY_FILE);
  const char *pass = config_text (c, region, CONFIG_ID_PASSPHRASE_FILE);
  if (*key && *pass)
    return cli_refuse (cli, EXIT_USAGE_WRONG, "both a key file (%s) and a passphrase file (%s) are "
                                              "given: one of them is enough", key, pass);
  if (*pass) {
    out->unlock.passphrase_file = pass;
    return 0;
  }
  if (*key) {
    out->unlock.key_file = key;
    return 0;
  }
  int rc = wire_default_key (cli, config_text (c, region, CONFIG_ID_URL), out->path,
                             sizeof out->path);
  out->unlock.key_file = out->path;
  return rc;
}
