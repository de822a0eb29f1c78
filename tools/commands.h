/* SPDX-License-Identifier: Apache-2.0 */
/* commands - the rows of all subcommands, in the order of `coffer help`. */
#ifndef COFFER_TOOLS_COMMANDS_H
#define COFFER_TOOLS_COMMANDS_H

#include "cli.h"

extern const struct command cmd_init, cmd_mount, cmd_umount, cmd_seal, cmd_adopt, cmd_snapshots,
  cmd_find, cmd_show, cmd_status, cmd_check, cmd_cache, cmd_throttle, cmd_key, cmd_version;

const struct command *command_find (const char *name); /* or NULL */
/* `coffer help [TOPIC]`: a command; words, settings and commands are for completion and pages. */
int help_main (const char *topic);
/* As mount(8) calls it: mount.coffer SOURCE DIR [-sfnvN] [-o OPTIONS] [-t TYPE]. */
int mount_helper_main (int argc, char **argv);

#endif
