/* SPDX-License-Identifier: Apache-2.0 */
/* ramount - src/fs over the in-memory double: what the FUSE layer alone does and costs.
 *
 *   ramount [-d] [-o OPTION,...] DIR       stays in the foreground; prints "ready" when it serves
 *     allow_other, threads=N, read_ahead=KIB
 *     wait=MS, every=N    every N-th call that may wait does so, for MS
 *     held, admit=N       writes are held; N of them are let go a second
 *     stuck               a lookup of "stuck" waits for one of "free"
 *     timeout=S           how long a held write may wait
 * .coffer/config reads "refs N files N": references and open files of the double.  Exits 1 where
 * files are left open after an unmount. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "double.h"
#include "fs/session.h"

static char throttle[64] = "off";

static int
throttle_get (void *ctx, const char *region, struct buf *out)
{
  buf_printf (out, "%s\n", throttle);
  return 0;
}

static int
throttle_set (void *ctx, const char *region, const char *text, struct buf *reply)
{
  if (strchr (text, '!'))
    return ERR_INVALID;
  snprintf (throttle, sizeof throttle, "%s", text);
  return 0;
}

static struct mount *the_mount;

static int
config (void *ctx, struct buf *out)
{
  buf_printf (out, "refs %lld files %zu\n", (long long) double_refs (the_mount),
              double_open_files (the_mount));
  return 0;
}

static void
on_ready (void *ctx)
{
  puts ("ready");
  fflush (stdout);
}

static void
parse (char *spec, struct fs_opts *fo, struct double_opts *dopts)
{
  enum { ALLOW_OTHER, THREADS, READ_AHEAD, WAIT, EVERY, STUCK, HELD, ADMIT, TIMEOUT };
  char *const names[] = {
    [ALLOW_OTHER] = strdup ("allow_other"), [THREADS] = strdup ("threads"),
    [READ_AHEAD] = strdup ("read_ahead"),   [WAIT] = strdup ("wait"),
    [EVERY] = strdup ("every"),             [STUCK] = strdup ("stuck"),
    [HELD] = strdup ("held"),               [ADMIT] = strdup ("admit"),
    [TIMEOUT] = strdup ("timeout"),         NULL,
  };
  char *value;
  while (*spec) {
    int which = getsubopt (&spec, names, &value);
    int n = value ? (int) strtol (value, NULL, 10) : 0;
    switch (which) {
    case ALLOW_OTHER: fo->allow_other = true; break;
    case THREADS: fo->max_threads = (unsigned) n; break;
    case READ_AHEAD: fo->read_ahead_kb = (unsigned) n; break;
    case WAIT: dopts->wait_ms = n; break;
    case EVERY: dopts->wait_every = n; break;
    case STUCK: dopts->has_stuck = true; break;
    case HELD: dopts->is_held = true; break;
    case ADMIT: dopts->admit_per_s = n; break;
    case TIMEOUT: fo->write_timeout_ns = n * NS_PER_S; break;
    default: fprintf (stderr, "ramount: unknown option %s\n", value); exit (2);
    }
  }
  for (int i = 0; names[i]; i++)
    free (names[i]);
}

int
main (int argc, char **argv)
{
  struct double_opts dopts = { 0 };
  struct fs_opts opts = {
    .fsname = "ramount", .ready = on_ready,
    .control = { .throttle_get = throttle_get, .throttle_set = throttle_set, .config = config },
  };
  int c, rc;
  while ((c = getopt (argc, argv, "do:")) != -1) {
    if (c == 'd')
      opts.debug = true;
    else if (c == 'o')
      parse (optarg, &opts, &dopts);
    else
      return 2;
  }
  if (optind != argc - 1)
    return 2;
  opts.mountpoint = argv[optind];
  struct mount *m;
  struct fs *fs;
  if (double_new (&dopts, &m) < 0 || fs_new (m, &opts, &fs) < 0)
    return 1;
  the_mount = m;
  rc = fs_mount (fs);
  if (rc == 0)
    rc = fs_serve (fs);
  bool is_told = fs_was_stopped (fs);
  fs_free (fs);
  size_t files = double_open_files (m);
  mount_free (m);
  return rc < 0 || (!is_told && files) ? 1 : 0;
}
