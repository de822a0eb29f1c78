/* SPDX-License-Identifier: Apache-2.0 */
#include "blob/schedule.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "blob/throttle.h"

/* In eighths of a byte, so that a bit is a whole number. */
static const struct {
  const char *name;
  uint64_t eighths;
} units[] = {
  { "", 8 },
  { "B", 8 },
  { "kB", 8000ull },
  { "MB", 8000000ull },
  { "GB", 8000000000ull },
  { "TB", 8000000000000ull },
  { "K", 8ull << 10 },
  { "M", 8ull << 20 },
  { "G", 8ull << 30 },
  { "KiB", 8ull << 10 },
  { "MiB", 8ull << 20 },
  { "GiB", 8ull << 30 },
  { "TiB", 8ull << 40 },
  { "bit", 1 },
  { "kbit", 1000 },
  { "Mbit", 1000000ull },
  { "Gbit", 1000000000ull },
};

static bool
find_unit (const char *s, size_t n, uint64_t *eighths)
{
  for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
    if (strlen (units[i].name) == n && strncasecmp (units[i].name, s, n) == 0) {
      *eighths = units[i].eighths;
      return true;
    }
  return false;
}

static int
parse_rate (const char *s, size_t n, uint64_t *out)
{
  if ((n == 3 && strncasecmp (s, "off", 3) == 0)
      || (n == 9 && strncasecmp (s, "unlimited", 9) == 0)) {
    *out = 0;
    return 0;
  }
  if (n > 2 && s[n - 2] == '/' && s[n - 1] == 's')
    n -= 2;
  size_t i = 0, digits = 0, decimals = 0;
  uint64_t milli = 0;
  for (; i < n && s[i] >= '0' && s[i] <= '9' && digits < 13; i++, digits++)
    milli = milli * 10 + (uint64_t) (s[i] - '0');
  if (!digits)
    return ERR_INVALID;
  if (i < n && s[i] == '.') {
    for (i++; i < n && s[i] >= '0' && s[i] <= '9' && decimals < 3; i++, decimals++)
      milli = milli * 10 + (uint64_t) (s[i] - '0');
    if (!decimals)
      return ERR_INVALID;
  }
  for (; decimals < 3; decimals++)
    milli *= 10;
  while (i < n && s[i] == ' ')
    i++;
  uint64_t eighths;
  if (!find_unit (s + i, n - i, &eighths))
    return ERR_INVALID;
  unsigned __int128 rate = (unsigned __int128) milli * eighths / 8000;
  if (rate > THROTTLE_RATE_MAX)
    return ERR_LIMIT;
  if (rate == 0 && milli != 0)
    return ERR_INVALID; /* less than a byte a second is a mistake, and must not mean "unlimited" */
  *out = (uint64_t) rate;
  return 0;
}

int
rate_parse (const char *text, uint64_t *out)
{
  size_t n = strlen (text);
  while (n && (text[n - 1] == '\n' || text[n - 1] == ' '))
    n--;
  return parse_rate (text, n, out);
}

void
rate_format (uint64_t rate, char *out, size_t cap)
{
  static const char *const names[] = { "B/s", "kB/s", "MB/s", "GB/s" };
  if (!rate) {
    snprintf (out, cap, "off");
    return;
  }
  uint64_t div = 1;
  size_t i = 0;
  for (; i < 3 && rate / div >= 1000; i++)
    div *= 1000;
  unsigned long long whole = rate / div, tenth = rate % div * 10 / div;
  if (tenth)
    snprintf (out, cap, "%llu.%llu %s", whole, tenth, names[i]);
  else
    snprintf (out, cap, "%llu %s", whole, names[i]);
}

/* HH:MM, 24:00 included; -1 where it is none. */
static int
parse_minute (const char *s)
{
  for (int i = 0; i < 5; i++)
    if (i == 2 ? s[i] != ':' : s[i] < '0' || s[i] > '9')
      return -1;
  int h = (s[0] - '0') * 10 + s[1] - '0', m = (s[3] - '0') * 10 + s[4] - '0';
  return h > 24 || m > 59 || (h == 24 && m) ? -1 : h * 60 + m;
}

static int
parse_entry (const char *s, size_t n, struct schedule_entry *out)
{
  const char *eq = memchr (s, '=', n);
  *out = (struct schedule_entry){ 0 };
  if (!eq)
    return parse_rate (s, n, &out->rate);
  size_t head = (size_t) (eq - s);
  if (head == 11 && s[5] == '-') {
    out->from = parse_minute (s);
    out->to = parse_minute (s + 6);
    if (out->from < 0 || out->to < 0 || out->from == out->to)
      return ERR_INVALID;
  } else if (head != 1 || s[0] != '*')
    return ERR_INVALID;
  return parse_rate (eq + 1, n - head - 1, &out->rate);
}

int
schedule_parse (const char *text, struct schedule *out)
{
  struct schedule s = { .n = 0 };
  size_t end = strlen (text);
  while (end && (text[end - 1] == '\n' || text[end - 1] == ' '))
    end--;
  if (!end)
    return ERR_INVALID;
  for (size_t i = 0; i <= end;) {
    while (i < end && text[i] == ' ')
      i++;
    size_t n = 0;
    while (i + n < end && text[i + n] != ',')
      n++;
    size_t trimmed = n;
    while (trimmed && text[i + trimmed - 1] == ' ')
      trimmed--;
    if (s.n == SCHEDULE_MAX)
      return ERR_LIMIT;
    int rc = parse_entry (text + i, trimmed, &s.v[s.n]);
    if (rc != 0)
      return rc;
    s.n++;
    i += n + 1;
  }
  *out = s;
  return 0;
}

uint64_t
schedule_rate_at_minute (const struct schedule *s, int minute)
{
  for (size_t i = 0; i < s->n; i++) {
    const struct schedule_entry *e = &s->v[i];
    bool holds = e->from == e->to   ? true
                 : e->from < e->to  ? minute >= e->from && minute < e->to
                                    : minute >= e->from || minute < e->to;
    if (holds)
      return e->rate;
  }
  return 0;
}

uint64_t
schedule_rate_at (const struct schedule *s, time_t t)
{
  struct tm tm;
  return localtime_r (&t, &tm) ? schedule_rate_at_minute (s, tm.tm_hour * 60 + tm.tm_min) : 0;
}

uint64_t
schedule_rate_most (const struct schedule *s)
{
  uint64_t most = 0;
  for (int minute = 0; minute < 24 * 60; minute++) {
    uint64_t rate = schedule_rate_at_minute (s, minute);
    if (!rate)
      return 0;
    most = rate > most ? rate : most;
  }
  return most;
}
