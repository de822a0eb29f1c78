/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "harden.h"
#include "out.h"
#include "wire.h"

/* What a new slot is opened with: --new-key-file (made if missing) or --new-passphrase-file. */
static int
new_unlock (const struct cli *cli, const struct wire_store *s, struct unlock *out, bool *is_new)
{
  *out = (struct unlock){ .key_file = cli_option (cli, "new-key-file"),
                          .passphrase_file = cli_option (cli, "new-passphrase-file") };
  *is_new = false;
  if (!out->key_file == !out->passphrase_file)
    return cli_refuse (cli, EXIT_USAGE_WRONG, "what shall open the new slot? Give one of "
                                              "--new-key-file=FILE (made where it is not there) "
                                              "and --new-passphrase-file=FILE");
  if (!out->key_file || access (out->key_file, F_OK) == 0)
    return 0;
  AUTO (secret) fresh = NULL;
  char comment[640];
  snprintf (comment, sizeof comment, "Opens the coffer store %s.", s->shown);
  int rc = secret_random (&fresh);
  if (rc == 0)
    rc = key_file_save (out->key_file, fresh, comment);
  if (rc < 0)
    return cli_fail (cli, rc, NULL, "write the key file %s", out->key_file);
  *is_new = true;
  return 0;
}

static int
add (struct cli *cli, struct wire_store *s, char slot[17])
{
  struct unlock u;
  bool is_new;
  int status = new_unlock (cli, s, &u, &is_new);
  if (status)
    return status;
  int rc = slot_add (s->blob, s->keys, &u, cli_option (cli, "label"), cli_option (cli, "scope"),
                     slot);
  if (rc < 0) {
    if (is_new && !err_is_transient (rc))
      unlink (u.key_file);
    return wire_fail (cli, s, rc, "add a key slot to");
  }
  if (is_new)
    cli_say (cli, "made the key file %s: keep a copy of it elsewhere", u.key_file);
  return 0;
}

static int
do_add (struct cli *cli, struct wire_store *s, const char *arg)
{
  (void) arg;
  char slot[17];
  int status = add (cli, s, slot);
  if (status)
    return status;
  if (cli->is_json)
    out_json (cli, json_pack ("{s:s}", "slot", slot));
  else
    printf ("added slot %s\n", slot);
  return EXIT_DONE;
}

static const char *const removal_note
  = "Who has a copy of the removed slot and its key could still open the store: that needs new "
    "keys "
    "for new data, coffer(7) says more.";

static int
do_remove (struct cli *cli, struct wire_store *s, const char *arg)
{
  if (strcmp (arg, keyring_slot (s->keys)) == 0 && !cli_has (cli, "force"))
    return cli_refuse (cli, EXIT_FAILED, "the slot %s is the one that opened the store just now; "
                                         "give --force if you mean it", arg);
  int rc = slot_remove (s->blob, s->keys, arg);
  if (rc == ERR_STATE)
    return cli_refuse (cli, EXIT_FAILED, "cannot remove the slot %s of %s: it is the last one that "
                                         "opens the whole store. Add another one first: coffer key "
                                         "add", arg, s->shown);
  if (rc == ERR_MISSING || rc == ERR_INVALID)
    return cli_refuse (cli, EXIT_FAILED, "%s has no slot \"%s\": coffer key list shows them",
                       s->shown, arg);
  if (rc < 0)
    return wire_fail (cli, s, rc, "remove a key slot of");
  cli_say (cli, "removed slot %s. %s", arg, removal_note);
  return EXIT_DONE;
}

static int
do_list (struct cli *cli, struct wire_store *s, const char *arg)
{
  (void) arg;
  AUTO_MEM struct slot_info *slots = NULL;
  size_t n = 0;
  int rc = slot_list (s->blob, &slots, &n);
  if (rc < 0)
    return wire_fail (cli, s, rc, "list the key slots of");
  json_t *all = cli->is_json ? json_array () : NULL;
  if (!all)
    printf ("%-18s %-10s %-16s %-26s %s\n", "SLOT", "TYPE", "SCOPE", "CREATED", "LABEL");
  for (size_t i = 0; i < n; i++) {
    const struct key_slot *k = &slots[i].slot;
    const char *type = k->type == SLOT_SCRYPT ? "passphrase" : "key file";
    bool is_mine = strcmp (slots[i].id, keyring_slot (s->keys)) == 0;
    if (all)
      json_array_append_new (all, json_pack ("{s:s, s:s, s:s, s:s, s:s, s:b}", "slot", slots[i].id,
                                             "type", type, "scope", k->scope, "created",
                                             k->created, "label", k->label, "in_use", is_mine));
    else
      printf ("%-18s %-10s %-16s %-26s %s%s\n", slots[i].id, type, k->scope, k->created, k->label,
              is_mine ? " (in use)" : "");
  }
  if (all)
    out_json (cli, all);
  return EXIT_DONE;
}

/* A new slot first, and only when it is there the old one goes. */
static int
do_rotate (struct cli *cli, struct wire_store *s, const char *arg)
{
  (void) arg;
  char fresh[17];
  const char *old = keyring_slot (s->keys);
  int status = add (cli, s, fresh);
  if (status)
    return status;
  int rc = slot_remove (s->blob, s->keys, old);
  if (rc < 0) {
    wire_fail (cli, s, rc, "remove the old slot of");
    return cli_refuse (cli, EXIT_PARTLY, "slot %s was added, but the old slot %s is still there: "
                                         "coffer key remove %s", fresh, old, old);
  }
  if (cli->is_json)
    out_json (cli, json_pack ("{s:s, s:s}", "slot", fresh, "removed", old));
  else
    printf ("added slot %s, removed slot %s\n", fresh, old);
  cli_say (cli, "%s", removal_note);
  return EXIT_DONE;
}

static int
do_paper (struct cli *cli, struct wire_store *s, const char *arg)
{
  (void) arg;
  char text[80], slot[17];
  const char *label = cli_option (cli, "label");
  int rc = slot_add_paper (s->blob, s->keys, label ? label : "paper", text, slot);
  if (rc < 0)
    return wire_fail (cli, s, rc, "add a paper key to");
  if (cli->is_json) {
    out_json (cli, json_pack ("{s:s, s:s}", "slot", slot, "key", text));
  } else {
    printf ("Recovery key of the coffer store %s\nslot %s\n\n    %.34s\n    %s\n\n"
            "Print this and lock it away. The way back: type it into a file of mode 600 (case,\n"
            "blanks and dashes do not matter) and use that as --key-file, or\n"
            "    coffer key restore NEW-KEY-FILE\n"
            "which asks for it and finds mistakes in typing.\n",
            s->shown, slot, text, text + 35);
  }
  explicit_bzero (text, sizeof text);
  return EXIT_DONE;
}

/* ---- the way back from paper: needs no store ---- */

static int
copy_typed (int fd)
{
  char text[4096];
  size_t used = 0;
  ssize_t n;
  while (used < sizeof text && (n = read (0, text + used, sizeof text - used)) > 0) {
    used += (size_t) n;
    /* A person at a terminal ends with an empty line. */
    if (isatty (0) && used >= 2 && text[used - 1] == '\n' && text[used - 2] == '\n')
      break;
  }
  ssize_t put = write (fd, text, used);
  explicit_bzero (text, sizeof text);
  return put == (ssize_t) used && fsync (fd) == 0 ? 0 : ERR_IO;
}

static int
do_restore (struct cli *cli, const char *path)
{
  AUTO_FD fd = open (path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0)
    return cli_refuse (cli, EXIT_FAILED, "cannot make the key file %s: %s", path,
                       strerror (errno));
  if (isatty (0))
    cli_say (cli, "Type the recovery key, then an empty line:");
  AUTO (secret) s = NULL;
  int rc = copy_typed (fd);
  if (rc == 0)
    rc = key_file_load (path, &s);
  if (rc < 0) {
    unlink (path);
    return cli_refuse (cli, rc == ERR_IO ? EXIT_FAILED : EXIT_DENIED,
                       "this is no recovery key, or a character of it is wrong; nothing was "
                       "written. Compare it with the paper: 14 groups of four letters and digits");
  }
  if (cli->is_json)
    out_json (cli, json_pack ("{s:s}", "key_file", path));
  else
    printf ("wrote %s: it opens the store that the recovery key belongs to\n", path);
  return EXIT_DONE;
}

static const struct verb {
  const char *name;
  bool takes_slot;
  int (*run) (struct cli *cli, struct wire_store *s, const char *arg);
} verbs[] = {
  { "add", false, do_add },          { "remove", true, do_remove },
  { "list", false, do_list },        { "rotate-slot", false, do_rotate },
  { "paper", false, do_paper },
};

static int
run (struct cli *cli)
{
  harden_process ();
  const char *name = cli->args[0];
  if (strcmp (name, "restore") == 0)
    return cli->arg_count == 2
             ? do_restore (cli, cli->args[1])
             : cli_refuse (cli, EXIT_USAGE_WRONG, "usage: coffer key restore NEW-KEY-FILE");
  const struct verb *v = NULL;
  for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++)
    if (strcmp (verbs[i].name, name) == 0)
      v = &verbs[i];
  if (!v)
    return cli_refuse (cli, EXIT_USAGE_WRONG, "coffer key does not know \"%s\": add, remove, list, "
                                              "rotate-slot, paper or restore", name);
  int at = v->takes_slot ? 2 : 1;
  if (cli->arg_count < at || cli->arg_count > at + 1)
    return cli_refuse (cli, EXIT_USAGE_WRONG, "usage: coffer key %s%s [URL]", v->name,
                       v->takes_slot ? " SLOT" : "");
  AUTO (config) c = NULL;
  AUTO_STORE s = { .blob = NULL };
  int status = wire_config (cli, cli->arg_count > at ? cli->args[at] : NULL, NULL, &c);
  if (status)
    return status;
  if (config_regions (c) > 1)
    return cli_refuse (cli, EXIT_USAGE_WRONG, "the configuration has %zu regions: give the URL of "
                                              "the one whose keys you mean", config_regions (c));
  status = wire_open_store (cli, c, 0, &s);
  return status ? status : v->run (cli, &s, cli->args[1]);
}

static const struct option_row options[] = {
  { "new-key-file", 0, "FILE", "add, rotate-slot: opens the new slot; made where it is not there" },
  { "new-passphrase-file", 0, "FILE", "add, rotate-slot: holds the passphrase of the new slot" },
  { "label", 'l', "TEXT", "what the slot is called in the list" },
  { "scope", 0, "SCOPE", "add: master, or vault:DB for the keys of one database only" },
  { "force", 'f', NULL, "remove: also the slot that opens the store now" },
  { NULL, 0, NULL, NULL },
};
const struct command cmd_key = {
  .name = "key",
  .args = "add|remove SLOT|list|rotate-slot|paper|restore FILE [URL]",
  .brief = "Add, remove and list the keys that open a store; print and restore a recovery key.",
  .detail = "A slot holds the store's keys, wrapped by a key file, a passphrase or a printed "
            "recovery key. rotate-slot adds a new slot and then removes the one in use.",
  .options = options,
  .flags = COMMAND_STORE,
  .min_args = 1,
  .max_args = 3,
  .run = run,
};
