/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshot/names.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define LABEL_MAX 63

bool
vault_name_is_valid (const char *name)
{
  size_t n = strlen (name);
  if (n == 0 || n > 63 || name[0] == '.' || name[0] == '_' || name[0] == '-')
    return false;
  for (size_t i = 0; i < n; i++)
    if (!strchr ("abcdefghijklmnopqrstuvwxyz0123456789._-", name[i]))
      return false;
  return true;
}

/* N digits at *s; -1 if there are not as many. */
static int
digits (const char **s, int n)
{
  int v = 0;
  for (int i = 0; i < n; i++, (*s)++) {
    if (!isdigit ((unsigned char) **s))
      return -1;
    v = v * 10 + (**s - '0');
  }
  return v;
}

static bool
skip (const char **s, char c, bool is_extended)
{
  if (!is_extended)
    return true;
  if (**s != c)
    return false;
  (*s)++;
  return true;
}

static bool
label_is_valid (const char *label, size_t n)
{
  if (n == 0 || n > LABEL_MAX || label[0] == '-' || label[0] == '_')
    return false;
  for (size_t i = 0; i < n; i++)
    if (!strchr ("abcdefghijklmnopqrstuvwxyz0123456789_-", label[i]))
      return false;
  return true;
}

int
snapshot_name_parse (const char *name, struct snapshot_name *out)
{
  const char *s = name;
  if (strlen (name) < 16)
    return ERR_INVALID;
  bool is_extended = name[4] == '-';
  struct tm tm = { 0 };
  int year = digits (&s, 4);
  bool ok = year >= 1970 && skip (&s, '-', is_extended);
  int month = ok ? digits (&s, 2) : -1;
  ok = ok && skip (&s, '-', is_extended);
  int day = ok ? digits (&s, 2) : -1;
  ok = ok && *s++ == 'T';
  int hour = ok ? digits (&s, 2) : -1;
  ok = ok && skip (&s, ':', is_extended);
  int minute = ok ? digits (&s, 2) : -1;
  ok = ok && skip (&s, ':', is_extended);
  int second = ok ? digits (&s, 2) : -1;
  ok = ok && *s++ == 'Z';
  if (!ok || month < 1 || month > 12 || day < 1 || day > 31 || hour < 0 || hour > 23 || minute < 0
      || minute > 59 || second < 0 || second > 59)
    return ERR_INVALID;
  tm.tm_year = year - 1900;
  tm.tm_mon = month - 1;
  tm.tm_mday = day;
  tm.tm_hour = hour;
  tm.tm_min = minute;
  tm.tm_sec = second;
  int64_t instant = timegm (&tm);
  if (tm.tm_mday != day) /* February 30th */
    return ERR_INVALID;

  size_t rest = strlen (s);
  static const char suffix[] = ".partial";
  bool is_partial = rest >= sizeof suffix - 1 && strcmp (s + rest - (sizeof suffix - 1),
                                                         suffix) == 0;
  if (is_partial)
    rest -= sizeof suffix - 1;
  if (rest && (s[0] != '-' || !label_is_valid (s + 1, rest - 1)))
    return ERR_INVALID;
  memset (out, 0, sizeof *out);
  int n = snprintf (out->ts, sizeof out->ts, "%04d%02d%02dT%02d%02d%02dZ%.*s", year, month, day,
                    hour,
                    minute, second, (int) rest, s);
  out->instant = instant;
  out->label = rest ? out->ts + 17 : out->ts + n;
  out->is_partial = is_partial;
  return 0;
}

const char *
snapshot_name_help (void)
{
  return "an instant in UTC, 20261121T030000Z or 2026-11-21T03:00:00Z, with an optional -label"
         " ([a-z0-9][a-z0-9_-]*, up to 63) and .partial while it is written";
}
