/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "mounted.h"
#include "out.h"

static unsigned long long
number (json_t *o, const char *key)
{
  return (unsigned long long) json_integer_value (json_object_get (o, key));
}

static int
stats (struct cli *cli, const struct mounted *m)
{
  json_t *status = mounted_status (m);
  json_t *c = json_object_get (status, "cache");
  if (!c) {
    json_decref (status);
    return cli_refuse (cli, EXIT_FAILED, "cannot read %s/.coffer/status.json", m->top);
  }
  if (cli->is_json) {
    out_json (cli, json_incref (c));
  } else {
    char a[SIZE_TEXT], b[SIZE_TEXT], d[SIZE_TEXT];
    unsigned long long hits = number (c, "hits"), misses = number (c, "misses");
    printf ("on disk    %s of %s\n", out_size (number (c, "bytes"), a),
            out_size (number (c, "max"), b));
    printf ("hits       %llu of %llu (%.1f %%), in memory %llu\n", hits, hits + misses,
            hits + misses ? 100.0 * (double) hits / (double) (hits + misses) : 0,
            number (c, "memory_hits"));
    printf ("fetched    %s in %llu requests\n", out_size (number (c, "fetched"), d),
            number (c, "fetches"));
    printf ("damaged    %llu (found, dropped and fetched again)\n", number (c, "damaged"));
  }
  json_decref (status);
  return EXIT_DONE;
}

static int
run (struct cli *cli)
{
  static const char *const verbs[] = { "stats", "pin", "unpin", "warm", "drop" };
  const char *verb = cli->args[0];
  size_t v = 0;
  while (v < 5 && strcmp (verb, verbs[v]) != 0)
    v++;
  if (v == 5)
    return cli_refuse (cli, EXIT_USAGE_WRONG, "coffer cache does not know \"%s\": stats, pin, "
                                              "unpin, warm or drop", verb);
  struct mounted m;
  int status = mounted_find_default (cli, cli->arg_count > 1 ? cli->args[1] : NULL, &m);
  if (status)
    return status;
  if (v == 0)
    return stats (cli, &m);
  if (cli->arg_count < 2)
    return cli_refuse (cli, EXIT_USAGE_WRONG, "coffer cache %s needs a path: a sealed snapshot, or "
                                              "something in it", verb);
  char line[PATH_MAX + 64], reply[4096];
  snprintf (line, sizeof line, "cache %s %s", verb, m.rel);
  int rc = mounted_command (&m, line, reply, sizeof reply);
  /* The answer says on what as well. */
  const char *what = strstr (reply, m.rel), *text = reply;
  if (what && strncmp (what + strlen (m.rel), ": ", 2) == 0)
    text = what + strlen (m.rel) + 2;
  if (rc < 0)
    return cli_refuse (cli, cli_exit_of (rc), "cannot %s %s/%s: %s. The path must be a sealed "
                                              "snapshot or in one, and the mount have a cache "
                                              "(a store in a local directory has none)",
                       verb, m.top, m.rel, text);
  cli_say (cli, "%s %s/%s: done", verb, m.top, m.rel);
  return EXIT_DONE;
}

const struct command cmd_cache = {
  .name = "cache",
  .args = "stats|pin|unpin|warm|drop [PATH]",
  .brief = "Show and steer the block cache of a mount.",
  .detail = "warm fetches a sealed snapshot, or what is below PATH, into the cache; pin keeps it "
            "there; drop takes it out. stats shows size and hits.",
  .min_args = 1,
  .max_args = 2,
  .run = run,
};
