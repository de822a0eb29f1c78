/* SPDX-License-Identifier: Apache-2.0 */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "commands.h"
#include "mounted.h"
#include "out.h"

/* A seal of some milliseconds is not waited for longer than it takes: the pause grows with what was
 * waited already. */
#define POLL_MIN_NS (5 * NS_PER_MS)
#define POLL_MAX_NS (200 * NS_PER_MS)
#define SETTLE_NS (10 * NS_PER_S) /* to appear as sealing after the order was taken */

static volatile sig_atomic_t is_interrupted;

static void
on_interrupt (int sig)
{
  (void) sig;
  is_interrupted = 1;
}

enum mode { MODE_SEAL, MODE_PART, MODE_REOPEN };
static const char *const done_state[] = { "sealed", "finished", "open" };

/* `<region>/<db>/<ts>`: the three words, without ".partial". */
struct target {
  char region[64], vault[64], name[128];
  bool is_partial;
  enum mode mode;
};

static bool
split (const char *rel, struct target *out)
{
  char rest[2];
  if (sscanf (rel, "%63[^/]/%63[^/]/%127[^/]%1s", out->region, out->vault, out->name, rest) != 3)
    return false;
  char *dot = strstr (out->name, ".partial");
  out->is_partial = dot && !dot[8];
  if (out->is_partial)
    *dot = 0;
  return true;
}

static bool
is_text (json_t *o, const char *key, const char *want)
{
  const char *s = json_string_value (json_object_get (o, key));
  return s && strcmp (s, want) == 0;
}

/* The entry of T in status.json (borrowed from STATUS), or NULL. */
static json_t *
entry_of (json_t *status, const struct target *t)
{
  char partial[144];
  size_t i;
  json_t *s;
  snprintf (partial, sizeof partial, "%s.partial", t->name);
  json_array_foreach (json_object_get (status, "snapshots"), i, s)
    if (is_text (s, "region", t->region) && is_text (s, "vault", t->vault)
        && !is_text (s, "state", "removed")
        && (is_text (s, "name", t->name) || is_text (s, "name", partial)))
      return s;
  return NULL;
}

/* The sealed directory: T without ".partial". */
static bool
is_sealed (const struct mounted *m, const struct target *t)
{
  char path[2 * PATH_MAX], state[32];
  snprintf (path, sizeof path, "%s/%s/%s/%s", m->top, t->region, t->vault, t->name);
  return mounted_attr (path, "user.coffer.state", state, sizeof state)
         && strcmp (state, "sealed") == 0;
}

static int
report (struct cli *cli, const struct mounted *m, const struct target *t, json_t *entry)
{
  char path[2 * PATH_MAX];
  bool is_sealed_now = t->mode == MODE_SEAL || !entry || is_text (entry, "state", "sealed");
  const char *state = is_sealed_now ? "sealed" : done_state[t->mode];
  snprintf (path, sizeof path, "%s/%s/%s/%s%s", m->top, t->region, t->vault, t->name,
            t->is_partial && !is_sealed_now ? ".partial" : "");
  if (cli->is_json) {
    json_t *o = json_pack ("{s:s, s:s}", "path", path, "state", state);
    static const char *const keys[] = { "files", "logical", "new", "deduplicated", "stored" };
    for (size_t i = 0; o && entry && i < sizeof keys / sizeof keys[0]; i++)
      json_object_set (o, keys[i], json_object_get (entry, keys[i]));
    out_json (cli, o);
    return EXIT_DONE;
  }
  if (cli->is_quiet)
    return EXIT_DONE;
  if (is_sealed_now || t->mode == MODE_REOPEN)
    printf ("%s %s\n", state, path);
  else
    printf ("finished this host's part of %s\n", path);
  if (entry && t->mode != MODE_REOPEN) {
    char a[SIZE_TEXT], b[SIZE_TEXT], c[SIZE_TEXT], d[SIZE_TEXT];
    printf ("%lld files, %s: new %s, deduplicated %s, stored %s\n",
            (long long) json_integer_value (json_object_get (entry, "files")),
            out_size ((uint64_t) json_integer_value (json_object_get (entry, "logical")), a),
            out_size ((uint64_t) json_integer_value (json_object_get (entry, "new")), b),
            out_size ((uint64_t) json_integer_value (json_object_get (entry, "deduplicated")), c),
            out_size ((uint64_t) json_integer_value (json_object_get (entry, "stored")), d));
  }
  return EXIT_DONE;
}

static int
failed (struct cli *cli, const struct mounted *m, json_t *entry)
{
  const char *error = json_string_value (json_object_get (entry, "error"));
  const char *text = json_string_value (json_object_get (entry, "error_text"));
  int err = err_from_text (error ? error : "");
  const char *next = "It is open again, with all that was written. Mend what is named above, or in "
                     "the mount's log, and seal it again.";
  if (err == ERR_BUSY)
    next = text && strncmp (text, "open for writing", 16) == 0
      ? "Close these files and seal again, or give --force to cut here."
      : "Finish these parts on their hosts (coffer seal --part) and seal again, or leave them out "
        "with --without=HOST or --without=PART.";
  else if (err == ERR_EXISTS && text && strncmp (text, "both ", 5) == 0)
    next = "Take one of the parts back (coffer seal --reopen, on its host), rename or remove the "
           "file there, finish the part and seal again.";
  /* The text may end with the error, which is said anyway. */
  int n = text ? (int) strlen (text) : 0, tail = error ? (int) strlen (error) + 2 : 0;
  if (n > tail && tail > 2 && strncmp (text + n - tail, ": ", 2) == 0
      && strcmp (text + n - tail + 2, error) == 0)
    n -= tail;
  return cli_fail (cli, err, next, "seal %s/%s%s%.*s%s", m->top, m->rel, n ? " (" : "", n,
                   text ? text : "", n ? ")" : "");
}

/* One look: -1 to go on, else the exit status. */
static int
look (struct cli *cli, const struct mounted *m, const struct target *t, struct progress *p,
      bool *was_sealing, bool is_settled)
{
  int rc = -1;
  json_t *status = mounted_status (m);
  json_t *e = entry_of (status, t);
  if (e && is_text (e, "state", "sealing")) {
    *was_sealing = true;
    uint64_t left = (uint64_t) json_integer_value (json_object_get (e, "pending"));
    uint64_t all = (uint64_t) json_integer_value (json_object_get (e, "received"));
    progress_show (p, all > left ? all - left : 0, all, "sealing");
  } else if ((e && is_text (e, "state", "sealed")) || (!e && status && is_sealed (m, t))
             || (e && is_text (e, "state", done_state[t->mode]) && is_text (e, "error", ""))) {
    progress_end (p);
    rc = report (cli, m, t, e);
  } else if (e && (!is_text (e, "error", "") || *was_sealing)) {
    progress_end (p);
    rc = failed (cli, m, e);
  } else if (is_settled && status) {
    progress_end (p);
    rc = cli_refuse (cli, EXIT_FAILED, "the seal of %s/%s ended without a result: see %s/.coffer/"
                                       "status and the log", m->top, m->rel, m->top);
  } else if (!status && access (m->top, F_OK) != 0) {
    progress_end (p);
    rc = cli_refuse (cli, EXIT_TRANSIENT, "the mount %s has gone while it sealed %s: mount it and "
                                          "seal again", m->top, m->rel);
  }
  json_decref (status);
  return rc;
}

static int
await (struct cli *cli, const struct mounted *m, const struct target *t)
{
  struct progress p;
  progress_begin (&p, cli, t->name);
  struct sigaction act = { .sa_handler = on_interrupt };
  sigaction (SIGINT, &act, NULL);
  sigaction (SIGTERM, &act, NULL);
  int64_t began = clock_now ();
  bool was_sealing = false;
  for (;;) {
    bool is_settled = !was_sealing && clock_now () - began > SETTLE_NS;
    int rc = look (cli, m, t, &p, &was_sealing, is_settled);
    if (rc >= 0)
      return rc;
    if (is_interrupted) {
      progress_end (&p);
      cli_say (cli, "not waiting any more; the seal goes on in the background. %s/.coffer/status "
                    "shows it, and coffer seal %s/%s waits for it again",
               m->top, m->top, m->rel);
      return EXIT_TRANSIENT;
    }
    int64_t pause = (clock_now () - began) / 8;
    clock_sleep (pause < POLL_MIN_NS ? POLL_MIN_NS : pause > POLL_MAX_NS ? POLL_MAX_NS : pause);
  }
}

static int
refused (struct cli *cli, const struct mounted *m, int rc, const char *reply)
{
  const char *next = NULL;
  switch (rc) {
  case ERR_BUSY: next = "Wait until it is over."; break;
  case ERR_NOENT: next = "Is the name right, and has this host made it? ls shows what is there.";
    break;
  case ERR_EXISTS: next = "A sealed snapshot has this name. Choose a label, or another "
                          "time."; break;
  default: break;
  }
  /* The answer says on what as well. */
  size_t n = strlen (m->rel);
  if (strncmp (reply, "cannot seal ", 12) == 0 && strncmp (reply + 12, m->rel, n) == 0
      && strncmp (reply + 12 + n, ": ", 2) == 0)
    reply += 12 + n + 2;
  return cli_refuse (cli, (enum exit_status) cli_exit_of (rc), "cannot seal %s/%s: %s%s%s", m->top,
                     m->rel, reply, next ? ". " : "", next ? next : "");
}

static int
run (struct cli *cli)
{
  struct mounted m;
  struct target t;
  int status = mounted_find (cli, cli->args[0], &m);
  if (status)
    return status;
  if (!split (m.rel, &t))
    return cli_refuse (cli, EXIT_USAGE_WRONG, "%s is no snapshot: give "
                                              "MOUNT/REGION/DATABASE/TIMESTAMP[.partial]",
                       cli->args[0]);
  bool is_reopen = cli_has (cli, "reopen"), is_part = cli_has (cli, "part");
  if ((is_part && (is_reopen || cli_has (cli, "without")))
      || (is_reopen && (cli_has (cli, "force") || cli_has (cli, "without"))))
    return cli_refuse (cli, EXIT_USAGE_WRONG, "--part, --reopen and --without exclude each other, "
                                              "and --force does not go with --reopen");
  t.mode = is_reopen ? MODE_REOPEN : is_part ? MODE_PART : MODE_SEAL;
  if (!t.is_partial && is_sealed (&m, &t)) {
    cli_say (cli, "%s/%s is sealed already", m.top, m.rel);
    return EXIT_DONE;
  }
  char reply[4096];
  AUTO_BUF line;
  buf_init (&line, PATH_MAX + CLI_OPTIONS_MAX * 80);
  buf_printf (&line, "seal %s%s%s%s", m.rel, cli_has (cli, "force") ? " force" : "",
              is_part ? " part" : "", is_reopen ? " reopen" : "");
  for (int i = 0; i < cli->given_count; i++)
    if (strcmp (cli->given[i].name, "without") == 0) {
      if (!cli->given[i].value[0] || strpbrk (cli->given[i].value, " \t\n,"))
        return cli_refuse (cli, EXIT_USAGE_WRONG, "--without=%s: give the name of one host, or the "
                                                  "id of a part", cli->given[i].value);
      buf_printf (&line, " without=%s", cli->given[i].value);
    }
  buf_put_u8 (&line, 0);
  if (buf_error (&line))
    return cli_refuse (cli, EXIT_USAGE_WRONG, "the names are too long");
  int rc = mounted_command (&m, (const char *) line.data, reply, sizeof reply);
  if (rc < 0) {
    if (is_sealed (&m, &t)) { /* somebody else's mv or seal was first */
      cli_say (cli, "%s/%s is sealed already", m.top, m.rel);
      return EXIT_DONE;
    }
    return refused (cli, &m, rc, reply);
  }
  return await (cli, &m, &t);
}

static const struct option_row options[] = {
  { "force", 'f', NULL, "cut here although files are open for writing" },
  { "part", 'p', NULL, "only finish this host's part, for another host to seal with its own" },
  { "reopen", 0, NULL, "take --part back: this host may write again" },
  { "without", 0, "HOST", "leave out the unfinished part of HOST, or the part of this id; may be "
                          "repeated" },
  { NULL, 0, NULL, NULL },
};
const struct command cmd_seal = {
  .name = "seal",
  .args = "PATH",
  .brief = "Make a snapshot durable and immutable, and wait until it is.",
  .detail = "The same as mv T.partial T, but it shows progress, waits as long as it takes and can "
            "be interrupted: the seal then goes on in the background.\n"
            "Several hosts may write one snapshot, each its part in its own mount. Each finishes "
            "its part with --part; then one of them, or any other host with a mount of the store, "
            "seals all parts as one. It refuses while a part is not finished, and says whose, "
            "unless that part is left out with --without, which the snapshot records.",
  .options = options,
  .min_args = 1,
  .max_args = 1,
  .run = run,
};
