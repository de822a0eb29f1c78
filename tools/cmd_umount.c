/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "commands.h"
#include "fs/mountpoint.h"
#include "mounted.h"
#include "out.h"

static volatile sig_atomic_t is_interrupted;

static void
on_interrupt (int sig)
{
  (void) sig;
  is_interrupted = 1;
}

/* What is taken and not yet durable, over all open snapshots. */
static uint64_t
pending_of (json_t *status)
{
  uint64_t sum = 0;
  size_t i;
  json_t *s;
  json_array_foreach (json_object_get (status, "snapshots"), i, s)
    {
      sum += (uint64_t) json_integer_value (json_object_get (s, "pending"));
    }
  return sum;
}

/* Why it may take long: the first region whose store is not reached. */
static void
note_trouble (json_t *status, char *note, size_t cap)
{
  size_t i;
  json_t *r;
  json_array_foreach (json_object_get (status, "regions"), i, r)
    {
      const char *breaker = json_string_value (json_object_get (r, "breaker"));
      const char *error = json_string_value (json_object_get (r, "last_error"));
      if (breaker && strcmp (breaker, "closed") != 0) {
        snprintf (note, cap, "the store of %s is not reached: %s",
                  json_string_value (json_object_get (r, "name")), error ? error : "");
        return;
      }
    }
}

/* Who has files open for writing, for the message. */
static void
name_writers (const struct cli *cli, json_t *status)
{
  size_t i;
  json_t *s;
  json_array_foreach (json_object_get (status, "snapshots"), i, s)
    {
      json_int_t n = json_integer_value (json_object_get (s, "writers"));
      if (n)
        cli_say (cli, "  %s/%s/%s: %lld file(s)", json_string_value (json_object_get (s, "region")),
                 json_string_value (json_object_get (s, "vault")),
                 json_string_value (json_object_get (s, "name")), (long long) n);
    }
}

/* The order is given by a child, since it is answered when all is durable; we look on. */
struct order {
  pid_t child;
  int fd; /* the child's answer: an int, then text */
};
static int
give_order (const struct mounted *m, const char *line, struct order *out)
{
  int fds[2];
  if (pipe2 (fds, O_CLOEXEC) < 0)
    return err_from_errno (errno);
  out->child = fork ();
  if (out->child < 0)
    return err_from_errno (errno);
  if (out->child == 0) {
    char reply[4096];
    signal (SIGINT, SIG_IGN); /* the order stands, whoever waits for it */
    int rc = mounted_command (m, line, reply, sizeof reply);
    ssize_t n = write (fds[1], &rc, sizeof rc);
    if (n == sizeof rc)
      n = write (fds[1], reply, strlen (reply));
    _exit (n < 0);
  }
  close (fds[1]);
  out->fd = fds[0];
  return 0;
}

/* Shows what is left until the order is answered; its result, or LEFT_ALONE after Ctrl-C. */
/* With --force: the daemon ends at the first, and stops waiting for the store at the next. */
#define FORCE_AFTER_NS (10 * NS_PER_S)
static void
send_end (int daemon)
{
  (void) syscall (SYS_pidfd_send_signal, daemon, SIGTERM, NULL, 0); /* it may have gone already */
}

#define LEFT_ALONE 1
static int
await_order (const struct cli *cli, const struct mounted *m, struct order *o, int daemon_to_end,
             char *reply, size_t cap)
{
  int64_t began = clock_now ();
  struct progress p;
  uint64_t most = 0;
  progress_begin (&p, cli, "making durable");
  struct pollfd fd = { .fd = o->fd, .events = POLLIN };
  struct sigaction act = { .sa_handler = on_interrupt };
  sigaction (SIGINT, &act, NULL);
  while (!is_interrupted && poll (&fd, 1, 500) <= 0) {
    json_t *status = mounted_status (m);
    uint64_t left = pending_of (status);
    most = left > most ? left : most;
    char note[512];
    json_t *memory = json_object_get (status, "memory");
    snprintf (note, sizeof note, "%lld pack(s) on their way",
              (long long) (json_integer_value (json_object_get (memory, "packs_in_flight"))
                           + json_integer_value (json_object_get (memory, "packs_filling"))));
    note_trouble (status, note, sizeof note);
    json_decref (status);
    progress_show (&p, most - left, most, note);
    if (daemon_to_end >= 0 && clock_now () - began > FORCE_AFTER_NS)
      send_end (daemon_to_end);
  }
  progress_end (&p);
  if (is_interrupted)
    return LEFT_ALONE;
  int rc = ERR_IO;
  ssize_t n = read (o->fd, &rc, sizeof rc);
  size_t used = 0;
  while (n > 0 && used + 1 < cap && (n = read (o->fd, reply + used, cap - 1 - used)) > 0)
    used += (size_t) n;
  reply[used] = 0;
  close (o->fd);
  while (waitpid (o->child, NULL, 0) < 0 && errno == EINTR)
    ;
  return rc;
}

/* A handle on the daemon that tells of its end, whoever its parent is. */
static int
daemon_handle (const struct mounted *m)
{
  AUTO_BUF text;
  buf_init (&text, 1u << 20);
  int pid = 0, rc = mounted_read (m, "config", &text);
  buf_put_u8 (&text, 0);
  if (rc < 0 || buf_error (&text) || sscanf ((const char *) text.data, "# pid %d", &pid) != 1)
    return -1;
  return pid > 1 ? (int) syscall (SYS_pidfd_open, pid, 0) : -1;
}

/* A read-only mount takes no orders and has nothing to make durable: as umount(8) does it. */
static int
unmount_plainly (const struct mounted *m)
{
  if (geteuid () == 0)
    return umount2 (m->top, UMOUNT_NOFOLLOW) == 0 ? 0 : err_from_errno (errno);
  int how = 0;
  pid_t child = fork ();
  if (child == 0) {
    execlp ("fusermount3", "fusermount3", "-u", "--", m->top, (char *) NULL);
    _exit (127);
  }
  while (child > 0 && waitpid (child, &how, 0) < 0 && errno == EINTR)
    ;
  return child > 0 && WIFEXITED (how) && WEXITSTATUS (how) == 0 ? 0 : ERR_BUSY;
}

static int
detach_dead (const struct cli *cli, const char *path)
{
  int rc = mountpoint_detach_dead (path);
  if (rc < 0)
    return cli_fail (cli, rc, "Try umount -l, or fusermount3 -uz.", "detach %s", path);
  cli_say (cli, "the daemon had died; the dead mount was detached. What had been made durable "
                "(fsync, seal) is there after the next mount");
  return EXIT_DONE;
}

static int
refused (const struct cli *cli, const struct mounted *m, int rc, const char *reply)
{
  if (rc != ERR_BUSY)
    return cli_refuse (cli, cli_exit_of (rc), "cannot unmount %s: %s. It stays mounted; --force "
                                              "unmounts all the same, and what is not durable is "
                                              "lost", m->top, reply);
  int status = cli_refuse (cli, EXIT_FAILED, "cannot unmount %s: %s. Close them, or give --force",
                           m->top, reply);
  json_t *j = mounted_status (m);
  name_writers (cli, j);
  json_decref (j);
  return status;
}

static int
run (struct cli *cli)
{
  struct mounted m;
  enum mountpoint_state state;
  const char *path = cli->args[0];
  if (mountpoint_check (path, &state) == 0 && state == MOUNTPOINT_DEAD)
    return detach_dead (cli, path);
  int status = mounted_find (cli, path, &m);
  if (status)
    return status;
  if (m.rel[0])
    return cli_refuse (cli, EXIT_USAGE_WRONG, "%s is not the top of a mount: coffer umount %s",
                       path, m.top);
  /* Else the child's place and ours would keep the mount busy. */
  if (chdir ("/") < 0)
    return cli_refuse (cli, EXIT_FAILED, "cannot change to /: %s", strerror (errno));
  AUTO_FD daemon = daemon_handle (&m);
  struct order order = { .child = -1, .fd = -1 };
  char reply[4096];
  bool is_forced = cli_has (cli, "force");
  int rc = give_order (&m, is_forced ? "umount force" : "umount", &order);
  if (rc == 0)
    rc = await_order (cli, &m, &order, is_forced ? daemon : -1, reply, sizeof reply);
  else
    snprintf (reply, sizeof reply, "%s", err_str (rc));
  if (rc == LEFT_ALONE) {
    cli_say (cli, "not waiting any more; %s is made durable and unmounted in the background. "
                  "coffer umount %s waits for it again, with --force it does not wait for the "
                  "store",
             m.top, m.top);
    return EXIT_TRANSIENT;
  }
  bool is_cut = is_forced && rc < 0 && daemon >= 0;
  if (is_cut) /* told to end, it answers this order with an error */
    rc = 0;
  if (rc == ERR_ROFS && (rc = unmount_plainly (&m)) < 0)
    snprintf (reply, sizeof reply, "%s", err_str (rc));
  if (rc < 0)
    return refused (cli, &m, rc, reply);
  struct pollfd gone = { .fd = daemon, .events = POLLIN };
  for (int i = 0; daemon >= 0 && poll (&gone, 1, is_forced ? 1000 : 10000) == 0; i++)
    if (is_forced)
      send_end (daemon);
    else
      cli_say (cli, "waiting for the daemon to end (%d s)", 10 * (i + 1));
  if (mountpoint_check (m.top, &state) == 0 && state == MOUNTPOINT_DEAD)
    return detach_dead (cli, m.top);
  if (is_cut)
    return cli_refuse (cli, EXIT_PARTLY, "unmounted %s without waiting for the store: of open "
                                         "snapshots only what had been made durable (fsync) will "
                                         "be "
                                         "there after the next mount", m.top);
  return EXIT_DONE;
}

static const struct option_row options[] = {
  { "force", 'f', NULL, "although files are open for writing, or the store is away" },
  { NULL, 0, NULL, NULL },
};
const struct command cmd_umount = {
  .name = "umount",
  .args = "DIR",
  .brief = "Make all that was written durable, unmount, and wait until the daemon has gone.",
  .detail = "Open snapshots stay open and are there after the next mount. Refuses while files are "
            "open for writing.",
  .options = options,
  .min_args = 1,
  .max_args = 1,
  .run = run,
};
