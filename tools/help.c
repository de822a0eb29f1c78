/* SPDX-License-Identifier: Apache-2.0 */
/* The table of commands, and the texts that are made from it. */
#include <stdio.h>
#include <string.h>

#include "base/config.h"
#include "commands.h"

static const struct command *const commands[] = {
  &cmd_init, &cmd_mount,  &cmd_umount, &cmd_seal,  &cmd_adopt,    &cmd_snapshots, &cmd_find,
  &cmd_show, &cmd_status, &cmd_check,  &cmd_cache, &cmd_throttle, &cmd_key,       &cmd_version,
};
#define COMMAND_COUNT (sizeof commands / sizeof commands[0])

const struct command *
command_find (const char *name)
{
  for (size_t i = 0; i < COMMAND_COUNT; i++)
    if (strcmp (commands[i]->name, name) == 0)
      return commands[i];
  return NULL;
}

static void
overview (void)
{
  printf ("usage: coffer COMMAND [OPTION...] [ARGUMENT...]\n\n"
          "Backups of databases in a file system: mount it, copy in, seal, browse, copy out.\n\n");
  for (size_t i = 0; i < COMMAND_COUNT; i++)
    printf ("  %-10s %s\n", commands[i]->name, commands[i]->brief);
  printf ("\ncoffer COMMAND --help tells more; so do coffer(1), coffer.conf(5) and coffer(7).\n");
}

/* ---- for completion and tests ---- */

static void
print_options (const char *command, const struct option_row *o)
{
  for (; o && o->name; o++) {
    printf ("%s --%s%s\n", command, o->name, o->value ? "=" : "");
    if (o->letter)
      printf ("%s -%c\n", command, o->letter);
  }
}

/* One line per command, option and setting. */
static void
print_words (void)
{
  for (size_t i = 0; i < COMMAND_COUNT; i++) {
    const struct command *c = commands[i];
    printf ("%s\n", c->name);
    print_options (c->name, c->options);
    if (c->flags & COMMAND_STORE)
      print_options (c->name, cli_store_options);
  }
  for (int id = 0; id < CONFIG_COUNT; id++)
    printf ("setting %s\n", config_row ((enum config_id) id)->name);
}

/* ---- for the manual pages ---- */

static void
print_settings (void)
{
  static const enum config_scope scopes[] = { CONFIG_REGIONAL, CONFIG_GLOBAL, CONFIG_OPTION };
  for (size_t i = 0; i < 3; i++) {
    AUTO_BUF text;
    buf_init (&text, 1 << 20);
    config_man (scopes[i], &text);
    printf ("%.*s\n", (int) text.len, text.data ? (const char *) text.data : "");
  }
}

/* TEXT as mdoc: a sentence a line, and nothing that troff would take for its own. */
static void
print_mdoc (const char *text)
{
  if (*text == '.' || *text == '\'')
    printf ("\\&");
  for (const char *p = text; *p; p++)
    if (*p == '.' && p[1] == ' ') {
      printf (".\n");
      p++;
    } else if (*p == '\n')
      printf ("\n.Pp\n");
    else if (*p == '\\')
      printf ("\\e");
    else if (*p == '-')
      printf ("\\-");
    else
      putchar (*p);
  putchar ('\n');
}

static void
print_option_items (const struct option_row *o)
{
  for (; o && o->name; o++) {
    printf (".It ");
    if (o->letter)
      printf ("Fl %c , ", o->letter);
    printf ("Fl \\-%s", o->name);
    if (o->value)
      printf (" Ns = Ns Ar %s", o->value);
    putchar ('\n');
    print_mdoc (o->help);
  }
}

static void
print_command (const struct command *c)
{
  printf (".Ss coffer %s\n.Nm coffer\n.Ic %s\n.Op Ar option ...\n", c->name, c->name);
  if (*c->args) {
    printf (".Ar ");
    print_mdoc (c->args);
  }
  printf (".Pp\n");
  print_mdoc (c->brief);
  if (c->detail)
    print_mdoc (c->detail);
  if (c->flags & COMMAND_STORE)
    printf ("Takes the store options.\n");
  if (!c->options)
    return;
  printf (".Bl -tag -width Ds\n");
  print_option_items (c->options);
  printf (".El\n");
}

static void
print_commands (void)
{
  for (size_t i = 0; i < COMMAND_COUNT; i++)
    print_command (commands[i]);
  printf (".Ss Store options\n.Bl -tag -width Ds\n");
  print_option_items (cli_store_options);
  printf (".El\n.Ss Options of all commands\n.Bl -tag -width Ds\n");
  print_option_items (cli_global_options);
  printf (".El\n");
}

int
help_main (const char *topic)
{
  static const struct {
    const char *topic;
    void (*print) (void);
  } texts[]
    = { { "words", print_words }, { "settings", print_settings }, { "commands", print_commands } };
  for (size_t i = 0; topic && i < sizeof texts / sizeof texts[0]; i++)
    if (strcmp (topic, texts[i].topic) == 0) {
      texts[i].print ();
      return EXIT_DONE;
    }
  const struct command *c = topic ? command_find (topic) : NULL;
  if (c)
    cli_help (c);
  else
    overview ();
  return EXIT_DONE;
}
