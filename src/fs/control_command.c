/* SPDX-License-Identifier: Apache-2.0 */
/* control_command - the lines that .coffer/command takes.
 *
 *   seal PATH [force] [without=HOST|PART]...  starts or joins the seal; status tells how it goes
 *   seal PATH part [force], seal PATH reopen  finishes this host's part; takes that back
 *   adopt PATH[/PART] [force]                 takes over a part whose host is lost
 *   cache pin|unpin|warm|drop PATH
 *   throttle REGION SETTING
 *   log LEVEL                                 "debug", "packer=debug,http=info"
 *   umount [force]                            makes all durable, then ends the mount
 *   anything else                             is offered to the program above (fs_control.command)
 *
 * PATH is as in the mount, or absolute below the mount point. */
#include <stdio.h>
#include <stdlib.h>

#include "fs/control_priv.h"
#include "fs/notify.h"

#define LOG_MODULE "control"
#include "base/log.h"

#define WORDS_MAX 256
#define LIST_MAX 4096

/* The part of PATH below the mount point, without slashes at the ends. */
static char *
path_below (const struct fs *fs, char *path)
{
  size_t n = strlen (fs->mountpoint);
  if (strncmp (path, fs->mountpoint, n) == 0 && (path[n] == '/' || !path[n]))
    path += n;
  path += strspn (path, "/");
  for (n = strlen (path); n && path[n - 1] == '/'; n--)
    path[n - 1] = 0;
  return path;
}

/* Splits LINE in place at blanks into at most MAX words; the last takes the rest. */
static size_t
split (char *line, char **words, size_t max)
{
  size_t n = 0;
  char *at = line + strspn (line, " \t");
  while (*at && n < max) {
    words[n++] = at;
    if (n == max)
      break;
    at += strcspn (at, " \t");
    if (*at)
      *at++ = 0;
    at += strspn (at, " \t");
  }
  return n;
}

static void
say_usage (struct buf *reply, const char *usage)
{
  buf_printf (reply, "error: usage: %s\n", usage);
}

/* LIST has room. */
static void
add_word (char *list, const char *word)
{
  size_t n = strlen (list);
  snprintf (list + n, LIST_MAX - n, "%s%s", n ? "," : "", word);
}

static int
do_seal (struct fs *fs, char *args, struct buf *reply)
{
  char *words[WORDS_MAX];
  char without[LIST_MAX] = "";
  unsigned flags = 0;
  size_t n = split (args, words, WORDS_MAX);
  bool is_wrong = n < 1;
  for (size_t i = 1; i < n; i++) {
    if (strcmp (words[i], "force") == 0)
      flags |= SEAL_FORCE;
    else if (strcmp (words[i], "part") == 0)
      flags |= SEAL_PART;
    else if (strcmp (words[i], "reopen") == 0)
      flags |= SEAL_REOPEN;
    else if (strncmp (words[i], "without=", 8) == 0 && words[i][8]
             && strlen (without) + strlen (words[i] + 8) + 2 < sizeof without)
      add_word (without, words[i] + 8);
    else
      is_wrong = true;
  }
  is_wrong |= (flags & SEAL_REOPEN) && (flags != SEAL_REOPEN || *without);
  is_wrong |= (flags & SEAL_PART) && *without;
  if (is_wrong) {
    say_usage (reply, "seal PATH [force] [without=HOST|PART]..., seal PATH part [force], or seal "
               "PATH reopen");
    return ERR_INVALID;
  }
  const char *path = path_below (fs, words[0]);
  int rc = mount_seal_start (fs->mount, path, flags, without);
  if (rc == ERR_BUSY)
    buf_printf (reply, "error: files are open for writing in %s, or a seal of another kind is "
                "under way; see .coffer/status\n", path);
  else if (rc < 0)
    buf_printf (reply, "error: cannot seal %s: %s\n", path, err_str (rc));
  else {
    if (!(flags & (SEAL_PART | SEAL_REOPEN)))
      notify_watch_seal (fs->notify, path);
    buf_printf (reply, "ok sealing %s\n", path);
  }
  return rc;
}

static int
do_adopt (struct fs *fs, char *args, struct buf *reply)
{
  char *words[2] = { NULL, NULL };
  size_t n = split (args, words, 2);
  bool is_forced = n == 2 && strcmp (words[1], "force") == 0;
  if (n < 1 || (n == 2 && !is_forced)) {
    say_usage (reply, "adopt PATH[/PART] [force]");
    return ERR_INVALID;
  }
  AUTO_BUF why;
  buf_init (&why, LIST_MAX);
  const char *path = path_below (fs, words[0]);
  int rc = mount_adopt (fs->mount, path, is_forced ? ADOPT_FORCE : 0, &why);
  if (rc < 0)
    buf_printf (reply, "error: cannot adopt %s: %s%s%.*s\n", path,
                rc == ERR_LIMIT ? "there are several parts" : err_str (rc),
                why.len ? ": " : "", (int) why.len, (const char *) why.data);
  else
    buf_printf (reply, "ok adopted %s\n", path);
  return rc;
}

static int
do_cache (struct fs *fs, char *args, struct buf *reply)
{
  char *words[2];
  if (split (args, words, 2) != 2) {
    say_usage (reply, "cache pin|unpin|warm|drop PATH");
    return ERR_INVALID;
  }
  const char *path = path_below (fs, words[1]);
  int rc = mount_cache_command (fs->mount, words[0], path);
  if (rc < 0)
    buf_printf (reply, "error: cache %s %s: %s\n", words[0], path, err_str (rc));
  else
    buf_printf (reply, "ok\n");
  return rc;
}

static int
do_log (struct fs *fs, char *args, struct buf *reply)
{
  int rc = log_set_levels (args);
  if (rc < 0)
    say_usage (reply, "log err|warn|info|debug, or MODULE=LEVEL,...");
  else
    buf_printf (reply, "ok\n");
  return rc;
}

int
control_throttle (struct fs *fs, const char *region, const char *text, struct buf *reply)
{
  const struct fs_control *up = &fs->opts.control;
  if (!up->throttle_set)
    return ERR_NOTSUP;
  int rc = up->throttle_set (up->ctx, region, text, reply);
  if (rc < 0)
    log_warn ("throttle not changed region=%s setting=\"%s\" err=\"%s\"", region, text,
              err_str (rc));
  else
    log_info ("throttle changed region=%s setting=\"%s\"", region, text);
  if (reply->len == 0)
    buf_printf (reply, rc < 0 ? "error: %s\n" : "ok\n", err_str (rc));
  return rc;
}

static int
do_throttle (struct fs *fs, char *args, struct buf *reply)
{
  char *words[2];
  if (split (args, words, 2) != 2) {
    say_usage (reply, "throttle REGION SETTING");
    return ERR_INVALID;
  }
  return control_throttle (fs, words[0], words[1], reply);
}

static int
do_umount (struct fs *fs, char *args, struct buf *reply)
{
  bool is_forced = strcmp (args, "force") == 0;
  if (*args && !is_forced) {
    say_usage (reply, "umount [force]");
    return ERR_INVALID;
  }
  size_t writers = mount_writers (fs->mount);
  if (writers && !is_forced) {
    buf_printf (reply, "error: %zu files are open for writing\n", writers);
    return ERR_BUSY;
  }
  int rc = mount_drain (fs->mount);
  if (rc < 0 && !is_forced) {
    buf_printf (reply, "error: what is open could not be made durable: %s\n", err_str (rc));
    return rc;
  }
  if (rc < 0)
    log_warn ("unmounting although not all is durable err=\"%s\"", err_str (rc));
  buf_printf (reply, "ok\n");
  return 0;
}

static int
do_other (struct fs *fs, const char *line, struct buf *reply)
{
  const struct fs_control *up = &fs->opts.control;
  int rc = up->command ? up->command (up->ctx, line, reply) : ERR_NOTSUP;
  if (rc == ERR_NOTSUP && reply->len == 0)
    buf_printf (reply, "error: unknown command; known: seal, adopt, cache, throttle, log, "
                "umount\n");
  else if (rc < 0 && reply->len == 0)
    buf_printf (reply, "error: %s\n", err_str (rc));
  else if (reply->len == 0)
    buf_printf (reply, "ok\n");
  return rc == ERR_NOTSUP ? ERR_INVALID : rc;
}

int
control_command (struct fs *fs, const char *line, struct buf *reply, bool *is_stop)
{
  static const struct {
    const char *verb;
    int (*run) (struct fs *fs, char *args, struct buf *reply);
  } table[] = {
    { "seal", do_seal },         { "adopt", do_adopt }, { "cache", do_cache },
    { "throttle", do_throttle }, { "log", do_log },     { "umount", do_umount },
  };
  AUTO_STR copy = strdup (line);
  if (!copy)
    return ERR_NOMEM;
  size_t n = strcspn (copy, " \t");
  char *args = copy + n + strspn (copy + n, " \t");
  copy[n] = 0;
  for (size_t i = 0; i < sizeof table / sizeof *table; i++)
    if (strcmp (copy, table[i].verb) == 0) {
      int rc = table[i].run (fs, args, reply);
      *is_stop = rc == 0 && table[i].run == do_umount;
      return rc;
    }
  return do_other (fs, line, reply);
}

/* ---- from a node to its path ---- */

/* The node of `<region>/<vault>/<name>`, 0 where it is not to be had. */
static uint64_t
node_of (struct fs *fs, const struct snapshot_info *s)
{
  struct node_stat st = { .node = NODE_ROOT };
  const char *const names[] = { s->region, s->vault, s->name };
  for (int i = 0; i < 3; i++)
    if (mount_lookup (fs->mount, st.node, names[i], 0, &st) < 0)
      return 0;
  node_give_back (fs, st.node, 1);
  return st.node;
}

int
control_path_of (struct fs *fs, uint64_t node, char *out, size_t cap)
{
  AUTO_MEM struct snapshot_info *list = NULL;
  size_t n;
  int rc = mount_snapshots (fs->mount, &list, &n);
  if (rc < 0)
    return rc;
  for (size_t i = 0; i < n; i++)
    if (list[i].state != SNAP_REMOVED && node_of (fs, &list[i]) == node) {
      snprintf (out, cap, "%s/%s/%s", list[i].region, list[i].vault, list[i].name);
      return 0;
    }
  return ERR_INVALID; /* a directory within a snapshot */
}
