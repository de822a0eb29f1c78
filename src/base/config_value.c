/* SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "base/config_priv.h"

static config_rate_fn rate_fn;

void
config_check_rate (config_rate_fn fn)
{
  rate_fn = fn;
}

int
config_parse_scaled (const char *digits, size_t n, int64_t unit, int64_t *out)
{
  int64_t whole = 0, part = 0, scale = 1;
  bool has_point = false, has_digit = false;
  for (size_t i = 0; i < n; i++) {
    if (digits[i] == '.' && !has_point) {
      has_point = true;
      continue;
    }
    if (!isdigit ((unsigned char) digits[i]) || scale == 1000)
      return ERR_INVALID;
    has_digit = true;
    int64_t *to = has_point ? &part : &whole;
    if (__builtin_mul_overflow (*to, 10, to) || __builtin_add_overflow (*to, digits[i] - '0', to))
      return ERR_LIMIT;
    if (has_point)
      scale *= 10;
  }
  if (!has_digit)
    return ERR_INVALID;
  int64_t a, b;
  if (__builtin_mul_overflow (whole, unit, &a) || __builtin_mul_overflow (part, unit, &b)
      || __builtin_add_overflow (a, b / scale, &a))
    return ERR_LIMIT;
  *out = a;
  return 0;
}

/* TEXT is a number and one of the units; a unit may be the empty word. */
struct unit {
  const char *name;
  int64_t factor;
};
static int
parse_with_unit (const char *text, const struct unit *units, size_t unit_count, int64_t *out)
{
  size_t n = strspn (text, "0123456789.");
  const char *unit = text + n;
  while (*unit == ' ')
    unit++;
  for (size_t i = 0; i < unit_count; i++)
    if (strcasecmp (unit, units[i].name) == 0)
      return config_parse_scaled (text, n, units[i].factor, out);
  return ERR_INVALID;
}

#define KIB 1024LL
#define KB 1000LL

int
config_parse_size (const char *text, int64_t *out)
{
  static const struct unit units[] = {
    { "", 1 },
    { "B", 1 },
    { "k", KIB },
    { "KiB", KIB },
    { "kB", KB },
    { "M", KIB * KIB },
    { "MiB", KIB * KIB },
    { "MB", KB * KB },
    { "G", KIB * KIB * KIB },
    { "GiB", KIB * KIB * KIB },
    { "GB", KB * KB * KB },
    { "T", KIB * KIB * KIB * KIB },
    { "TiB", KIB * KIB * KIB * KIB },
    { "TB", KB * KB * KB * KB },
    { "P", KIB * KIB * KIB * KIB * KIB },
    { "PiB", KIB * KIB * KIB * KIB * KIB },
    { "PB", KB * KB * KB * KB * KB },
  };
  return parse_with_unit (text, units, sizeof units / sizeof units[0], out);
}

int
config_parse_duration (const char *text, int64_t *ns)
{
  static const struct unit units[] = {
    { "", NS_PER_S },
    { "ms", NS_PER_MS },
    { "s", NS_PER_S },
    { "sec", NS_PER_S },
    { "m", 60 * NS_PER_S },
    { "min", 60 * NS_PER_S },
    { "h", 3600 * NS_PER_S },
    { "d", 86400 * NS_PER_S },
    { "w", 7 * 86400 * NS_PER_S },
  };
  if (strcasecmp (text, "off") == 0 || strcasecmp (text, "never") == 0) {
    *ns = 0;
    return 0;
  }
  return parse_with_unit (text, units, sizeof units / sizeof units[0], ns);
}

int
config_parse_bool (const char *text, bool *out)
{
  static const char *const words[][2]
    = { { "no", "yes" }, { "off", "on" }, { "false", "true" }, { "0", "1" } };
  for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
    for (int b = 0; b < 2; b++)
      if (strcasecmp (text, words[i][b]) == 0) {
        *out = b;
        return 0;
      }
  return ERR_INVALID;
}

static int
parse_int (const char *text, int64_t *out)
{
  bool is_negative = *text == '-';
  int64_t v = 0;
  const char *digits = text + is_negative;
  if (strchr (digits, '.'))
    return ERR_INVALID;
  int rc = config_parse_scaled (digits, strlen (digits), 1, &v);
  if (rc == 0)
    *out = is_negative ? -v : v;
  return rc;
}

/* The index of TEXT among WORDS ("a|b|c"), or ERR_INVALID. */
static int
parse_choice (const char *words, const char *text, int64_t *out)
{
  int64_t i = 0;
  for (const char *p = words; *p; i++) {
    size_t n = strcspn (p, "|");
    if (strlen (text) == n && strncasecmp (p, text, n) == 0) {
      *out = i;
      return 0;
    }
    p += n + (p[n] == '|');
  }
  return ERR_INVALID;
}

bool
config_region_name_is_valid (const char *name)
{
  size_t n = strspn (name, "abcdefghijklmnopqrstuvwxyz0123456789._-");
  return n > 0 && n <= 63 && !name[n] && isalnum ((unsigned char) name[0]);
}

static int
parse_value (const struct config_row *row, const char *text, int64_t *number)
{
  bool flag = false;
  int rc = 0;
  *number = 0;
  switch (row->type) {
  case CONFIG_STRING: break;
  case CONFIG_PATH:
    /* A daemon changes to /, so a name relative to somewhere would mean something else there. */
    if (*text && *text != '/' && strcmp (text, "-") != 0 && strcmp (text, "none") != 0)
      rc = ERR_INVALID;
    break;
  case CONFIG_SIZE: rc = config_parse_size (text, number); break;
  case CONFIG_DURATION: rc = config_parse_duration (text, number); break;
  case CONFIG_INT: rc = parse_int (text, number); break;
  case CONFIG_CHOICE: rc = parse_choice (row->unit, text, number); break;
  case CONFIG_RATE: rc = rate_fn ? rate_fn (text) : 0; break;
  case CONFIG_BOOL:
    rc = config_parse_bool (text, &flag);
    *number = flag;
    break;
  }
  return rc;
}

static const char *
accepted (const struct config_row *row)
{
  switch (row->type) {
  case CONFIG_STRING: return "text";
  case CONFIG_PATH: return "an absolute path";
  case CONFIG_SIZE: return "a size such as 512MiB or 10GB";
  case CONFIG_RATE: return "a rate such as 20MB or 100Mbit, off, or 08:00-18:00=20MB,*=100MB";
  case CONFIG_DURATION: return "a time such as 30s, 5m, 1h, 7d or off";
  case CONFIG_BOOL: return "yes or no";
  case CONFIG_INT: return "a whole number";
  case CONFIG_CHOICE: return row->unit;
  }
  return "";
}

/* Minimum and maximum as people write them. */
static void
put_bounds (const struct config_row *row, struct buf *why)
{
  if (row->type == CONFIG_DURATION)
    buf_printf (why, "from %llds to %llds", (long long) (row->min / NS_PER_S),
                (long long) (row->max / NS_PER_S));
  else
    buf_printf (why, "from %lld to %lld", (long long) row->min, (long long) row->max);
}

int
config_check_value (const struct config_row *row, const char *text, int64_t *number,
                    struct buf *why)
{
  if (strlen (text) >= CONFIG_VALUE_MAX || strpbrk (text, "\n\r")) {
    buf_printf (why, "%s: the value is longer than %d bytes or has a line break", row->name,
                CONFIG_VALUE_MAX - 1);
    return ERR_INVALID;
  }
  int rc = parse_value (row, text, number);
  if (rc == ERR_INVALID) {
    buf_printf (why, "%s = \"%s\": this must be %s", row->name, text, accepted (row));
    return rc;
  }
  if (row->min != row->max && rc == 0 && (*number < row->min || *number > row->max)) {
    /* 0 may always be spelt "off" where a setting can be off; else it is out of bounds. */
    rc = ERR_LIMIT;
  }
  if (rc == ERR_LIMIT) {
    buf_printf (why, "%s = \"%s\": this must be ", row->name, text);
    put_bounds (row, why);
  }
  return rc;
}
