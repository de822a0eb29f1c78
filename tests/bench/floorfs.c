/* SPDX-License-Identifier: Apache-2.0 */
/* floorfs - an in-memory FUSE file system that does nothing: the floor of the small-file bars.
 *
 * Whatever this costs, the kernel, libfuse and the client program cost; a real file system cannot
 * be below it.  So it keeps everything cacheable (timeouts of a day, negative entries, directory
 * and page cache), answers every request from memory under one mutex, and by default drops file
 * data: a read from the daemon returns zeros of the right length.
 *
 *   floorfs [-f] [-s] [-o OPTION,...] DIR
 *     keep          keep file data
 *     noxattr       answer ENOSYS to xattr calls, after which the kernel asks no more
 *     stats=FILE    write the number of requests by kind to FILE on unmount
 *     clone_fd, max_threads=N, allow_other, default_permissions, ... as libfuse has them
 *
 * Correct enough for rsync -aHAX, --link-dest, cp -a, find and ls -l.  Does NOT: check permissions
 * (default_permissions does), inherit ACLs, limit memory, lock, or order anything across a crash.
 *
 * Names and inodes are in floorfs_tree.c, what the kernel asks in floorfs_ops.c. */
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include "floorfs.h"
#include "floorfs_tree.h"

struct options opts;
unsigned long counts[KIND_COUNT];
#define AS_NAME(name) #name,
static const char *const kind_names[] = { KINDS (AS_NAME) };

static const struct fuse_opt opt_spec[] = {
  { "keep", offsetof (struct options, keep), 1 },
  { "noxattr", offsetof (struct options, noxattr), 1 },
  { "stats=%s", offsetof (struct options, stats), 0 },
  FUSE_OPT_END,
};

static int
stats_write (const char *path)
{
  FILE *f = fopen (path, "w");
  if (f == NULL) {
    perror (path);
    return 1;
  }
  for (int i = 0; i < KIND_COUNT; i++)
    if (counts[i] != 0)
      fprintf (f, "%s %lu\n", kind_names[i], counts[i]);
  return fclose (f) != 0;
}

static int
serve (struct fuse_args *args, const struct fuse_cmdline_opts *cmd)
{
  struct fuse_session *se = fuse_session_new (args, &floor_ops, sizeof floor_ops, NULL);
  struct fuse_loop_config *loop = fuse_loop_cfg_create ();
  int rc = 1;
  if (se == NULL || loop == NULL || fuse_set_signal_handlers (se) != 0)
    goto out;
  fuse_loop_cfg_set_clone_fd (loop, (unsigned) cmd->clone_fd);
  fuse_loop_cfg_set_max_threads (loop, cmd->max_threads);
  if (cmd->max_idle_threads != UINT_MAX) /* "no limit", which the setter refuses */
    fuse_loop_cfg_set_idle_threads (loop, cmd->max_idle_threads);
  if (fuse_session_mount (se, cmd->mountpoint) == 0) {
    fuse_daemonize (cmd->foreground);
    rc = cmd->singlethread ? fuse_session_loop (se) : fuse_session_loop_mt (se, loop);
    fuse_session_unmount (se);
  }
  fuse_remove_signal_handlers (se);
out:
  if (loop != NULL)
    fuse_loop_cfg_destroy (loop);
  if (se != NULL)
    fuse_session_destroy (se);
  return rc != 0;
}

int
main (int argc, char **argv)
{
  struct fuse_args args = FUSE_ARGS_INIT (argc, argv);
  struct fuse_cmdline_opts cmd;
  if (fuse_opt_parse (&args, &opts, opt_spec, NULL) != 0 || fuse_parse_cmdline (&args, &cmd) != 0)
    return 2;
  if (cmd.show_help || cmd.mountpoint == NULL) {
    fprintf (stderr, "usage: floorfs [-f] [-s] [-o keep,noxattr,stats=FILE,clone_fd,...] DIR\n");
    return 2;
  }
  if (tree_init () != 0) {
    perror ("floorfs");
    return 1;
  }
  int rc = serve (&args, &cmd);
  if (opts.stats != NULL)
    rc |= stats_write (opts.stats);
  free (opts.stats);
  free (cmd.mountpoint);
  fuse_opt_free_args (&args);
  return rc;
}
