/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "commands.h"
#include "format/format.h"
#include "out.h"

static int
run (struct cli *cli)
{
  if (cli->is_json)
    out_json (cli, json_pack ("{s:s, s:i}", "version", PACKAGE_VERSION, "format",
                              FORMAT_VERSION));
  else
    printf ("coffer %s (store format %d)\n", PACKAGE_VERSION, FORMAT_VERSION);
  return EXIT_DONE;
}

const struct command cmd_version = {
  .name = "version",
  .args = "",
  .brief = "Show the versions of coffer and of its store format.",
  .run = run,
};
