/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define LOG_MODULE "mount"
#include "base/log.h"
#include "commands.h"
#include "harden.h"
#include "wire.h"

struct start {
  const struct cli *cli;
  const struct config *config;
  int report; /* the pipe to the parent, or -1 in the foreground */
};

/* Where the log goes once the mount stands.  Until then messages go to whoever started it. */
static int
choose_log (const struct start *s)
{
  const char *to = config_text (s->config, CONFIG_ALL, CONFIG_ID_LOG);
  bool is_json = config_is (s->config, CONFIG_ID_LOG_JSON);
  if (!*to)
    to = s->report >= 0 ? "syslog" : "stderr";
  log_set_plain (false);
  int rc = 0;
  if (strcmp (to, "syslog") == 0)
    rc = log_init (LOG_TO_SYSLOG, NULL, is_json);
  else if (strcmp (to, "stderr") == 0)
    rc = log_init (LOG_TO_STDERR, NULL, is_json);
  else
    rc = log_init (LOG_TO_FILE, to, is_json);
  (void) log_set_levels (config_text (s->config, CONFIG_ALL, CONFIG_ID_LOG_LEVEL)); /* checked */
  if (s->cli->verbosity)
    log_set_level (s->cli->verbosity > 1 ? LOG_LVL_DEBUG : LOG_LVL_INFO);
  if (s->cli->debug)
    (void) log_set_levels (s->cli->debug); /* checked by cli_parse */
  return rc;
}

static void
on_ready (void *ctx)
{
  struct start *s = ctx;
  if (choose_log (s) < 0)
    log_warn ("cannot open the log, messages stay where they went log=%s",
              config_text (s->config, CONFIG_ALL, CONFIG_ID_LOG));
  notify_service ("READY=1");
  if (s->report < 0)
    return;
  detach_from_terminal ();
  ssize_t n = write (s->report, "", 1);
  (void) n; /* the parent may have been interrupted; the mount stands all the same */
  close (s->report);
}

/* Waits until the child serves (one byte) or ends (its status). */
static int
wait_for_child (const struct cli *cli, pid_t child, int fd)
{
  char byte;
  ssize_t n;
  do
    n = read (fd, &byte, 1);
  while (n < 0 && errno == EINTR);
  if (n == 1)
    return EXIT_DONE;
  int how = 0;
  while (waitpid (child, &how, 0) < 0 && errno == EINTR)
    ;
  if (WIFEXITED (how))
    return WEXITSTATUS (how) ? WEXITSTATUS (how) : EXIT_FAILED;
  return cli_refuse (cli, EXIT_FAILED, "the daemon died of signal %d before it could mount: see "
                                       "the system's log", WTERMSIG (how));
}

static int
serve (struct start *s, const char *extra, const char *dir)
{
  char full[4096];
  /* The daemon does not stay where it was started. */
  if (!realpath (dir, full)) {
    char cwd[2048];
    if (*dir == '/' || !getcwd (cwd, sizeof cwd))
      snprintf (full, sizeof full, "%s", dir);
    else
      snprintf (full, sizeof full, "%s/%s", cwd, dir);
  }
  if (chdir ("/") < 0)
    return cli_refuse (s->cli, EXIT_FAILED, "cannot change to /: %s", strerror (errno));
  return wire_serve (s->cli, s->config, extra, full, on_ready, s);
}

static int
serve_in_background (struct start *s, const char *extra, const char *dir)
{
  int fds[2];
  if (pipe2 (fds, O_CLOEXEC) < 0)
    return cli_refuse (s->cli, EXIT_FAILED, "cannot make a pipe: %s", strerror (errno));
  fflush (stdout);
  pid_t child = fork ();
  if (child < 0)
    return cli_refuse (s->cli, EXIT_TRANSIENT, "cannot start the daemon: %s", strerror (errno));
  if (child > 0) {
    close (fds[1]);
    return wait_for_child (s->cli, child, fds[0]);
  }
  close (fds[0]);
  setsid ();
  s->report = fds[1];
  return serve (s, extra, dir);
}

static int
dump (const struct config *c)
{
  AUTO_BUF text;
  buf_init (&text, 1 << 20);
  config_dump (c, &text);
  if (buf_error (&text))
    return EXIT_FAILED;
  printf ("%.*s", (int) text.len, (const char *) text.data);
  return EXIT_DONE;
}

static int
check_log_level (const struct cli *cli, const struct config *c)
{
  const char *levels = config_text (c, CONFIG_ALL, CONFIG_ID_LOG_LEVEL);
  if (log_set_levels (levels) < 0)
    return cli_refuse (cli, EXIT_USAGE_WRONG, "log-level = \"%s\": the levels are error, warning, "
                                              "info and debug, alone or as module=level", levels);
  log_set_plain (true);
  log_set_level (cli->verbosity > 1 ? LOG_LVL_DEBUG : cli->verbosity ? LOG_LVL_INFO
                                                                    : LOG_LVL_WARN);
  return 0;
}

static int
run (struct cli *cli)
{
  harden_process ();
  AUTO (config) c = NULL;
  AUTO_BUF extra;
  buf_init (&extra, 4096);
  bool is_dump = cli_has (cli, "dump-config");
  int n = cli->arg_count;
  const char *dir = n ? cli->args[n - 1] : NULL;
  const char *url = n > 1 ? cli->args[0] : NULL;
  if (is_dump && n == 1 && wire_is_url (dir))
    url = dir;
  if (!is_dump && (!dir || (n == 1 && wire_is_url (dir))))
    return cli_refuse (cli, EXIT_USAGE_WRONG, "where to mount? coffer mount [URL] DIRECTORY");
  int status = wire_config (cli, url, &extra, &c);
  if (status == 0)
    status = check_log_level (cli, c);
  if (status)
    return status;
  if (is_dump)
    return dump (c);
  /* Unless asked for, neither devices nor set-id bits of a backup are live in the mount. */
  AUTO_BUF all;
  buf_init (&all, 8192);
  buf_put_u8 (&extra, 0);
  if (buf_error (&extra) == 0)
    buf_printf (&all, "nodev,nosuid%s%s", *extra.data ? "," : "", (const char *) extra.data);
  buf_put_u8 (&all, 0);
  if (buf_error (&all) || buf_error (&extra))
    return cli_fail (cli, ERR_LIMIT, NULL, "pass on the options of the kernel");
  struct start s = { .cli = cli, .config = c, .report = -1 };
  if (cli_has (cli, "foreground"))
    return serve (&s, (const char *) all.data, dir);
  return serve_in_background (&s, (const char *) all.data, dir);
}

static const struct option_row options[] = {
  { "foreground", 'f', NULL, "stay in the foreground; the log goes to stderr" },
  { "dump-config", 0, NULL, "print the settings in force and do nothing" },
  { NULL, 0, NULL, NULL },
};
const struct command cmd_mount = {
  .name = "mount",
  .args = "[URL] DIR",
  .brief = "Mount a store, or the regions of a configuration file, on a directory.",
  .detail = "Returns when the mount serves, or fails with a message. Mounts from /etc/fstab with "
            "the type coffer work through mount.coffer. A mount whose daemon has died is detached "
            "first.",
  .options = options,
  .flags = COMMAND_STORE | COMMAND_NO_LOG,
  .max_args = 2,
  .run = run,
};

/* ---- as mount.coffer ---- */

int
mount_helper_main (int argc, char **argv)
{
  struct cli cli = { .command = &cmd_mount };
  static char *args[2];
  static char list[8192], read_only[] = "ro";
  size_t used;
  int optc;
  bool is_fake = false;
  while ((optc = getopt (argc, argv, "sfnvNrwo:t:")) != -1)
    switch (optc) {
    case 'f': is_fake = true; break;
    case 'v': cli.verbosity++; break;
    case 'r':
    case 'o':
      optarg = optc == 'r' ? read_only : optarg;
      used = strlen (list);
      if (used + strlen (optarg) + 2 > sizeof list)
        return cli_refuse (&cli, EXIT_USAGE_WRONG, "the list of options is too long");
      snprintf (list + used, sizeof list - used, "%s%s", used ? "," : "", optarg);
      break;
    case '?': return EXIT_USAGE_WRONG;
    default: break; /* nothing to do for us */
    }
  if (argc - optind != 2)
    return cli_refuse (&cli, EXIT_USAGE_WRONG, "usage: mount.coffer URL|CONFIG-FILE DIR "
                                               "[-o OPTIONS]; in /etc/fstab: URL DIR coffer "
                                               "OPTIONS 0 0");
  if (is_fake)
    return EXIT_DONE;
  char *source = argv[optind];
  args[0] = source;
  args[1] = argv[optind + 1];
  cli.args = args;
  cli.arg_count = 2;
  struct stat st;
  if (!wire_is_url (source) && stat (source, &st) == 0 && S_ISREG (st.st_mode)) {
    cli.given[cli.given_count].name = "config";
    cli.given[cli.given_count++].value = source;
    cli.args = args + 1;
    cli.arg_count = 1;
  }
  cli.given[cli.given_count].name = "option";
  cli.given[cli.given_count++].value = list;
  return run (&cli);
}
