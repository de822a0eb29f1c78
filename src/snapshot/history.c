/* SPDX-License-Identifier: Apache-2.0 */
#define LOG_MODULE "history"
#include "snapshot/history.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"

static const char *
result_of (int rc)
{
  switch (rc) {
  case 0: return "done";
  case ERR_BUSY:
  case ERR_EXISTS: return "busy";
  case ERR_AGAIN:
  case ERR_THROTTLED: return "transient";
  case ERR_DENIED:
  case ERR_AUTH:
  case ERR_PERM:
  case ERR_ACCES: return "denied";
  case ERR_FORMAT:
  case ERR_MISSING: return "damage";
  case ERR_FULL: return "full";
  default: return "failed";
  }
}

static void
path_of (const struct mount *m, const char *name, char *out, size_t cap)
{
  snprintf (out, cap, "%s/%s", m->opts.state_dir, name);
}

/* One write(2) at the end of the file; the file's own lock keeps two from turning it over. */
static int
append (const struct mount *m, const char *line, size_t n)
{
  char path[4200], old[4200];
  struct stat st;
  path_of (m, "history", path, sizeof path);
  path_of (m, "history.1", old, sizeof old);
  int fd = open (path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (fd < 0)
    return err_from_errno (errno);
  bool ok = flock (fd, LOCK_EX) == 0 && write (fd, line, n) == (ssize_t) n;
  int rc = ok ? 0 : err_from_errno (errno);
  if (ok && fstat (fd, &st) == 0 && st.st_size >= HISTORY_FILE_MAX && st.st_nlink
      && rename (path, old) != 0)
    rc = err_from_errno (errno);
  close (fd);
  return rc;
}

/* Adds time, event and host to O (taken), and writes it. */
static void
put (const struct mount *m, const char *event, json_t *o)
{
  char when[32];
  struct tm tm;
  time_t now = (time_t) (clock_wall () / NS_PER_S);
  strftime (when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", gmtime_r (&now, &tm));
  json_t *line = json_pack ("{s:s, s:s, s:s}", "time", when, "event", event, "host", m->host);
  char *text = line && o && json_object_update (line, o) == 0
                 ? json_dumps (line, JSON_COMPACT | JSON_PRESERVE_ORDER | JSON_ENSURE_ASCII)
                 : NULL;
  int rc = ERR_NOMEM;
  if (text) {
    AUTO_BUF out;
    buf_init (&out, 1 << 16);
    buf_printf (&out, "%s\n", text);
    rc = buf_error (&out) ? buf_error (&out) : append (m, (const char *) out.data, out.len);
  }
  if (rc)
    log_warn ("cannot write the history path=%s/history event=%s err=\"%s\"", m->opts.state_dir,
              event, err_str (rc));
  free (text);
  json_decref (line);
  json_decref (o);
}

static json_t *
about (const struct snap *s)
{
  char path[300];
  snprintf (path, sizeof path, "%s/%s/%s", s->vault->region->name, s->vault->name, s->final.ts);
  return json_pack ("{s:s, s:s}", "snapshot", path, "part", s->part);
}

void
history_begin (struct snap *s, uint32_t uid)
{
  json_t *o = about (s);
  json_object_set_new (o, "uid", json_integer (uid));
  put (s->mount, "begin", o);
}

void
history_resume (struct snap *s)
{
  put (s->mount, "resume", about (s));
}

void
history_remove (struct snap *s)
{
  json_t *o = about (s);
  json_object_set_new (o, "received", json_integer ((json_int_t) s->received));
  put (s->mount, "remove", o);
}

static void
set_seconds (json_t *o, const char *key, int64_t ns)
{
  json_object_set_new (o, key, json_integer ((json_int_t) (ns / NS_PER_S)));
}

void
history_seal (struct snap *s, int rc, int64_t begun)
{
  char why[sizeof s->error_text], correlation[64] = "", parent[SNAPSHOT_TS_MAX];
  json_t *o = about (s);
  lock_take (&s->lock);
  snprintf (why, sizeof why, "%s", s->error_text[0] ? s->error_text : err_str (rc));
  snprintf (parent, sizeof parent, "%s", s->parent);
  for (size_t i = 0; i < s->meta_count; i++)
    if (strcmp (s->meta[i].key, "correlation-id") == 0)
      snprintf (correlation, sizeof correlation, "%s", s->meta[i].value);
  lock_release (&s->lock);
  json_object_set_new (o, "how", json_string (s->seal_how));
  json_object_set_new (o, "result", json_string (result_of (rc)));
  if (rc)
    json_object_set_new (o, "error", json_string (why));
  set_seconds (o, "created", s->created);
  set_seconds (o, "seconds", clock_wall () - s->created);
  set_seconds (o, "seal_seconds", clock_now () - begun);
  const struct { const char *key; uint64_t n; } numbers[] = {
    { "files", s->counts.files }, { "logical", s->counts.logical }, { "received", s->received },
    { "new", s->dep.fresh }, { "deduplicated", s->dep.dedup }, { "stored", s->dep.stored },
  };
  for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
    json_object_set_new (o, numbers[i].key, json_integer ((json_int_t) numbers[i].n));
  if (parent[0])
    json_object_set_new (o, "parent", json_string (parent));
  if (correlation[0])
    json_object_set_new (o, "correlation_id", json_string (correlation));
  put (s->mount, "seal", o);
}

/* ---- for those above ---- */

int
mount_note (struct mount *m, const char *line)
{
  json_t *o = json_loads (line, JSON_REJECT_DUPLICATES, NULL);
  const char *event = json_string_value (json_object_get (o, "event"));
  if (!event || strlen (line) > 8192) {
    json_decref (o);
    return ERR_INVALID;
  }
  char name[32];
  snprintf (name, sizeof name, "%s", event);
  json_object_del (o, "time"); /* ours */
  json_object_del (o, "host");
  put (m, name, o);
  return 0;
}

static int
read_all (const struct mount *m, const char *name, struct buf *out)
{
  char path[4200], part[8192];
  path_of (m, name, path, sizeof path);
  int fd = open (path, O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    return errno == ENOENT ? 0 : err_from_errno (errno);
  ssize_t n;
  while ((n = read (fd, part, sizeof part)) > 0)
    buf_put (out, part, (size_t) n);
  close (fd);
  return n < 0 ? ERR_IO : buf_error (out);
}

int
mount_history (struct mount *m, struct buf *out)
{
  int rc = read_all (m, "history.1", out);
  return rc ? rc : read_all (m, "history", out);
}
