/* SPDX-License-Identifier: Apache-2.0 */
#define LOG_MODULE "log"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/text.h"

#define MAX_MODULE_LEVELS 32

static const char *const level_names[] = { "error", "warning", "info", "debug" };

static struct {
  pthread_mutex_t lock; /* plain, unranked: a leaf below every ranked lock */
  enum log_target target;
  char *path;
  _Atomic int fd;
  bool json, plain;
  _Atomic int level;
  int module_count;
  struct { char name[24]; int level; } modules[MAX_MODULE_LEVELS];
  char ring[LOG_RING][512];
  unsigned ring_next;
} state = { .lock = PTHREAD_MUTEX_INITIALIZER, .fd = 2, .level = LOG_LVL_INFO };

static int
open_file (const char *path)
{
  return open (path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
}

int
log_init (enum log_target target, const char *path, bool json)
{
  int fd = 2;
  char *copy = NULL;
  if (target == LOG_TO_FILE) {
    fd = open_file (path);
    if (fd < 0)
      return err_from_errno (errno);
    copy = strdup (path);
  }
  if (target == LOG_TO_SYSLOG)
    openlog ("coffer", LOG_PID, LOG_DAEMON);
  pthread_mutex_lock (&state.lock);
  free (state.path);
  state.path = copy;
  state.target = target;
  state.json = json;
  int old = state.fd;
  state.fd = fd;
  pthread_mutex_unlock (&state.lock);
  if (old > 2)
    close (old);
  return 0;
}

int
log_reopen (void)
{
  pthread_mutex_lock (&state.lock);
  int rc = 0;
  if (state.target == LOG_TO_FILE) {
    int fd = open_file (state.path);
    if (fd < 0)
      rc = err_from_errno (errno);
    else {
      /* dup2 keeps the number, so a line being written meanwhile goes to one of the two files. */
      dup2 (fd, state.fd);
      close (fd);
    }
  }
  pthread_mutex_unlock (&state.lock);
  return rc;
}

void
log_set_level (enum log_level level)
{
  state.level = (int) level;
}

void
log_set_plain (bool is_plain)
{
  state.plain = is_plain;
}

static int
parse_level (const char *s)
{
  for (int i = 0; i < 4; i++)
    if (strcmp (s, level_names[i]) == 0)
      return i;
  if (strcmp (s, "warn") == 0)
    return LOG_LVL_WARN;
  if (strcmp (s, "err") == 0)
    return LOG_LVL_ERR;
  return ERR_INVALID;
}

/* A module that has a level already gets this one: the table is no history. */
static int
set_module_level (const char *name, int level)
{
  int rc = 0, i = 0;
  pthread_mutex_lock (&state.lock);
  while (i < state.module_count && strcmp (state.modules[i].name, name) != 0)
    i++;
  if (i == MAX_MODULE_LEVELS || strlen (name) >= sizeof state.modules[0].name)
    rc = ERR_LIMIT;
  else {
    state.modules[i].level = level;
    if (i == state.module_count) {
      snprintf (state.modules[i].name, sizeof state.modules[0].name, "%s", name);
      state.module_count++; /* last: readers take no lock */
    }
  }
  pthread_mutex_unlock (&state.lock);
  return rc;
}

int
log_set_levels (const char *spec)
{
  char copy[512];
  if (strlen (spec) >= sizeof copy)
    return ERR_LIMIT;
  memcpy (copy, spec, strlen (spec) + 1);
  char *save = NULL;
  for (char *tok = strtok_r (copy, ",", &save); tok; tok = strtok_r (NULL, ",", &save)) {
    char *eq = strchr (tok, '=');
    int level = parse_level (eq ? eq + 1 : tok);
    if (level < 0)
      return level;
    if (!eq) {
      state.level = level;
      continue;
    }
    *eq = 0;
    int rc = set_module_level (tok, level);
    if (rc)
      return rc;
  }
  return 0;
}

bool
log_wants (enum log_level level, const char *module)
{
  int limit = state.level;
  if (state.module_count)
    for (int i = 0; i < state.module_count; i++)
      if (strcmp (state.modules[i].name, module) == 0)
        limit = state.modules[i].level;
  return (int) level <= limit;
}

static void
append_json_string (char *out, size_t cap, size_t *len, const char *s)
{
  for (; *s && *len + 8 < cap; s++) {
    unsigned char c = (unsigned char) *s;
    if (c == '"' || c == '\\') {
      out[(*len)++] = '\\';
      out[(*len)++] = (char) c;
    } else if (c < 0x20)
      *len += (size_t) snprintf (out + *len, cap - *len, "\\u%04x", c);
    else
      out[(*len)++] = (char) c;
  }
  out[*len] = 0;
}

static void
remember (enum log_level level, const char *text)
{
  if (level > LOG_LVL_WARN)
    return;
  pthread_mutex_lock (&state.lock);
  char *slot = state.ring[state.ring_next++ % LOG_RING];
  snprintf (slot, sizeof state.ring[0], "%s: %s", level_names[level], text);
  pthread_mutex_unlock (&state.lock);
}

void
log_line (enum log_level level, const char *module, const char *fmt, ...)
{
  int saved = errno;
  char text[LOG_LINE_MAX];
  va_list ap;
  va_start (ap, fmt);
  int n = vsnprintf (text, sizeof text, fmt, ap);
  va_end (ap);
  if (n >= (int) sizeof text)
    memcpy (text + sizeof text - 4, "...", 4);
  text_clean (text); /* one event is one line, whatever a name contains */
  remember (level, text);

  if (state.target == LOG_TO_SYSLOG) {
    static const int prio[] = { LOG_ERR, LOG_WARNING, LOG_INFO, LOG_DEBUG };
    syslog (prio[level], "%s: %s", module, text);
    errno = saved;
    return;
  }
  char line[LOG_LINE_MAX + 128];
  size_t len = 0;
  if (state.plain && !state.json) {
    len = (size_t) snprintf (line, sizeof line, "coffer: %s\n", text);
  } else {
    struct timespec ts;
    struct tm tm;
    clock_gettime (CLOCK_REALTIME, &ts);
    gmtime_r (&ts.tv_sec, &tm);
    char when[40];
    size_t w = strftime (when, sizeof when, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf (when + w, sizeof when - w, ".%03ldZ", ts.tv_nsec / 1000000);
    if (state.json) {
      len = (size_t) snprintf (line, sizeof line,
                               "{\"time\":\"%s\",\"level\":\"%s\",\"module\":\"%s\",\"msg\":\"",
                               when, level_names[level], module);
      append_json_string (line, sizeof line, &len, text);
      len += (size_t) snprintf (line + len, sizeof line - len, "\"}\n");
    } else {
      len = (size_t) snprintf (line, sizeof line, "%s %s %s: %s\n", when, level_names[level],
                               module, text);
    }
  }
  if (len > sizeof line)
    len = sizeof line;
  ssize_t ignored = write (state.fd, line, len);
  (void) ignored; /* nobody to tell */
  errno = saved;
}

bool
log_recent (int i, char *out, size_t cap)
{
  bool found = false;
  pthread_mutex_lock (&state.lock);
  if (i < LOG_RING && (unsigned) i < state.ring_next) {
    snprintf (out, cap, "%s", state.ring[(state.ring_next - 1 - (unsigned) i) % LOG_RING]);
    found = true;
  }
  pthread_mutex_unlock (&state.lock);
  return found;
}
