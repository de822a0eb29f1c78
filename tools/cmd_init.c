/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "commands.h"
#include "harden.h"
#include "out.h"
#include "places.h"
#include "wire.h"

/* A key file that is not there yet is made; *is_new says so. */
static int
prepare_key (const struct cli *cli, const struct wire_unlock *u, const char *shown, bool *is_new)
{
  const char *path = u->unlock.key_file;
  *is_new = false;
  if (!path || access (path, F_OK) == 0) {
    if (path && u->path[0])
      return cli_refuse (cli, EXIT_FAILED, "there is a key file for this URL already (%s): a store "
                                           "was made here before. Give --key-file to use this or "
                                           "another one", path);
    return 0;
  }
  if (u->path[0]) {
    char dir[4096];
    snprintf (dir, sizeof dir, "%.*s", (int) (strrchr (path, '/') - path), path);
    int rc = places_make (dir);
    if (rc < 0)
      return cli_fail (cli, rc, "Name a key file elsewhere with --key-file.", "make %s", dir);
  }
  AUTO (secret) s = NULL;
  char comment[640];
  snprintf (comment, sizeof comment, "Opens the coffer store %s. Keep a copy elsewhere.", shown);
  int rc = secret_random (&s);
  if (rc == 0)
    rc = key_file_save (path, s, comment);
  if (rc < 0)
    return cli_fail (cli, rc, "Name a key file elsewhere with --key-file.",
                     "write the key file %s", path);
  *is_new = true;
  return 0;
}

static void
report (struct cli *cli, const struct wire_store *s, const char *key_file, bool is_new)
{
  char id[2 * STORE_ID_LEN + 1];
  hex_encode (keyring_store_id (s->keys), STORE_ID_LEN, id);
  if (cli->is_json) {
    out_json (cli, json_pack ("{s:s, s:s, s:i, s:s, s:s*, s:b}", "url", s->shown, "store", id,
                              "format", keyring_format (s->keys), "slot", keyring_slot (s->keys),
                              "key_file", key_file, "key_file_is_new", is_new));
    return;
  }
  if (cli->is_quiet)
    return;
  printf ("made a store: %s\n", s->shown);
  if (!key_file)
    return;
  printf ("key file:     %s%s\n", key_file, is_new ? " (new)" : "");
  cli_say (cli, "\nKeep a copy of the key file somewhere else. Without it nobody can read the "
                "backups, you neither:\n  cp %s SAFE-PLACE\n  coffer key paper %s",
           key_file, s->shown);
}

static int
run (struct cli *cli)
{
  harden_process ();
  AUTO (config) c = NULL;
  AUTO_STORE s = { .blob = NULL };
  struct wire_unlock u;
  bool is_new = false;
  int status = wire_config (cli, cli->arg_count ? cli->args[0] : NULL, NULL, &c);
  if (status)
    return status;
  if (config_regions (c) > 1)
    return cli_refuse (cli, EXIT_USAGE_WRONG, "the configuration has %zu regions: give the URL of "
                                              "the one to make", config_regions (c));
  status = wire_unlock_of (cli, c, 0, &u);
  if (status == 0)
    status = wire_open_blob (cli, c, 0, true, &s);
  if (status == 0)
    status = prepare_key (cli, &u, s.shown, &is_new);
  if (status)
    return status;
  int rc = store_init (s.blob, &u.unlock, cli_option (cli, "label"), &s.keys);
  if (rc < 0) {
    /* After a lost answer the store may be there and need this key. */
    if (is_new && !err_is_transient (rc) && rc != ERR_CANCELLED)
      unlink (u.unlock.key_file);
    bool is_told = rc == ERR_EXISTS || rc == ERR_MISSING; /* a store, or no bucket: not damage */
    return is_told ? cli_refuse (cli, EXIT_FAILED, "nothing was made at %s", s.shown)
                   : wire_fail (cli, &s, rc, "make a store at");
  }
  report (cli, &s, u.unlock.key_file, is_new);
  return EXIT_DONE;
}

static const struct option_row options[] = {
  { "label", 'l', "TEXT", "what the key slot is called in coffer key list" },
  { NULL, 0, NULL, NULL },
};
const struct command cmd_init = {
  .name = "init",
  .args = "[URL]",
  .brief = "Make a new, empty store and the key that opens it.",
  .detail = "The key file is made where it is not there yet; without --key-file and "
            "--passphrase-file it goes into your configuration directory, where the other commands "
            "look for it. Nothing that is there is overwritten.",
  .options = options,
  .flags = COMMAND_STORE,
  .max_args = 1,
  .run = run,
};
