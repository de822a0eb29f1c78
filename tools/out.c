/* SPDX-License-Identifier: Apache-2.0 */
#include "out.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/text.h"

const char *
out_size (uint64_t bytes, char out[SIZE_TEXT])
{
  static const char *const units[] = { "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
  if (bytes < 1024) {
    snprintf (out, SIZE_TEXT, "%llu B", (unsigned long long) bytes);
    return out;
  }
  double v = (double) bytes / 1024;
  size_t u = 0;
  for (; v >= 1023.5 && u < 5; u++)
    v /= 1024;
  snprintf (out, SIZE_TEXT, "%.*f %s", v < 9.995 ? 2 : v < 99.95 ? 1 : 0, v, units[u]);
  return out;
}

const char *
out_span (int64_t seconds, char out[SIZE_TEXT])
{
  long long s = seconds;
  if (s < 0)
    snprintf (out, SIZE_TEXT, "-");
  else if (s < 3600)
    snprintf (out, SIZE_TEXT, "%lld:%02lld", s / 60, s % 60);
  else
    snprintf (out, SIZE_TEXT, "%lld:%02lld:%02lld", s / 3600, s / 60 % 60, s % 60);
  return out;
}

const char *
out_time (int64_t seconds, char out[TIME_TEXT])
{
  time_t t = (time_t) seconds;
  struct tm tm;
  if (seconds == 0 || !gmtime_r (&t, &tm) || !strftime (out, TIME_TEXT, "%Y-%m-%dT%H:%M:%SZ", &tm))
    snprintf (out, TIME_TEXT, "-");
  return out;
}

void
out_json_name (json_t *o, const char *key, const char *name)
{
  char shown[4 * PATH_MAX], key_hex[64];
  if (text_is_utf8 (name)) {
    json_object_set_new (o, key, json_string (name));
    return;
  }
  size_t n = strlen (name);
  AUTO_STR hex = malloc (2 * n + 1);
  json_object_set_new (o, key, json_string (text_show (name, shown, sizeof shown)));
  if (!hex)
    return;
  hex_encode ((const uint8_t *) name, n, hex);
  snprintf (key_hex, sizeof key_hex, "%s_hex", key);
  json_object_set_new (o, key_hex, json_string (hex));
}

const char *
out_name (const struct cli *cli, const char *name, char *out, size_t cap)
{
  return cli->is_terminal ? text_show (name, out, cap) : name;
}

void
out_json (const struct cli *cli, json_t *take)
{
  if (!take)
    return;
  json_dumpf (take, stdout, cli->is_terminal ? JSON_INDENT (2) : JSON_COMPACT);
  putchar ('\n');
  fflush (stdout);
  json_decref (take);
}

/* ---- progress ---- */

void
progress_begin (struct progress *p, const struct cli *cli, const char *what)
{
  *p = (struct progress){ .cli = cli, .what = what, .is_terminal = isatty (2),
                          .started = clock_now () };
}

/* Bytes per second over the slots, which are at least a second apart. */
static double
rate_of (struct progress *p, int64_t now, uint64_t done)
{
  int n = p->slot_count;
  const int cap = (int) (sizeof p->slots / sizeof p->slots[0]);
  if (n == 0 || now - p->slots[n - 1].at >= NS_PER_S) {
    if (n == cap) {
      memmove (p->slots, p->slots + 1, sizeof p->slots - sizeof p->slots[0]);
      n--;
    }
    p->slots[n].at = now;
    p->slots[n].done = done;
    p->slot_count = n + 1;
  }
  int64_t span = now - p->slots[0].at;
  if (span <= 0 || done < p->slots[0].done)
    return 0;
  return (double) (done - p->slots[0].done) * 1e9 / (double) span;
}

static void
show_text (struct progress *p, uint64_t done, uint64_t total, double rate, const char *note)
{
  char a[SIZE_TEXT], b[SIZE_TEXT], c[SIZE_TEXT], eta[SIZE_TEXT], line[512];
  int n = snprintf (line, sizeof line, "%s: %s", p->what, out_size (done, a));
  if (total)
    n += snprintf (line + n, sizeof line - (size_t) n, " of %s (%d %%)", out_size (total, b),
                   (int) (done >= total ? 100 : 100.0 * (double) done / (double) total));
  if (rate >= 1)
    n += snprintf (line + n, sizeof line - (size_t) n, ", %s/s", out_size ((uint64_t) rate, c));
  if (total > done && rate >= 1)
    n += snprintf (line + n, sizeof line - (size_t) n, ", ready in %s",
                   out_span ((int64_t) ((double) (total - done) / rate), eta));
  if (note && *note)
    snprintf (line + n, sizeof line - (size_t) n, ", %s", note);
  if (p->is_terminal)
    fprintf (stderr, "\r\033[K%.*s", 110, line);
  else
    fprintf (stderr, "%s\n", line);
  p->has_line = p->is_terminal;
  fflush (stderr);
}

void
progress_show (struct progress *p, uint64_t done, uint64_t total, const char *note)
{
  int64_t now = clock_now ();
  double rate = rate_of (p, now, done);
  int64_t every = p->cli->is_json ? NS_PER_S : p->is_terminal ? 200 * NS_PER_MS : 10 * NS_PER_S;
  if (p->cli->is_quiet || now - (p->printed ? p->printed : p->started) < every)
    return;
  p->printed = now;
  if (!p->cli->is_json) {
    show_text (p, done, total, rate, note);
    return;
  }
  json_t *o = json_pack ("{s:s, s:I, s:I, s:I, s:s*}", "progress", p->what, "done",
                         (json_int_t) done, "total", (json_int_t) total, "rate",
                         (json_int_t) rate, "note", note);
  if (o) {
    if (total > done && rate >= 1)
      json_object_set_new (o, "eta", json_integer ((json_int_t) ((double) (total - done) / rate)));
    json_dumpf (o, stdout, JSON_COMPACT);
    putchar ('\n');
    fflush (stdout);
    json_decref (o);
  }
}

void
progress_end (struct progress *p)
{
  if (p->has_line)
    fprintf (stderr, "\r\033[K");
  p->has_line = false;
}
