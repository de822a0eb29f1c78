/* SPDX-License-Identifier: Apache-2.0 */
#include "base/config.h"

#include <fnmatch.h>
#include <string.h>

#include "base/config_priv.h"

static const struct config_row rows[CONFIG_COUNT] = {
#define CONFIG(id, name_, type_, scope_, unit_, min_, max_, dflt_, live_, help_)                  \
  [CONFIG_ID_##id] = { .name = name_,                                                             \
                       .type = CONFIG_##type_,                                                    \
                       .scope = CONFIG_##scope_,                                                  \
                       .unit = unit_,                                                             \
                       .min = min_,                                                               \
                       .max = max_,                                                               \
                       .dflt = dflt_,                                                             \
                       .is_live = live_,                                                          \
                       .help = help_ },
#include "base/config_table.h"
#undef CONFIG
};

const struct config_row *
config_row (enum config_id id)
{
  return &rows[id];
}

const char *
config_type_name (enum config_type type)
{
  static const char *const names[]
    = { "text", "path", "size", "rate", "duration", "yes|no", "number", "choice" };
  return names[type];
}

int
config_find (const char *name)
{
  for (int id = 0; id < CONFIG_COUNT; id++) {
    const char *a = rows[id].name, *b = name;
    while (*a && (*a == *b || (*a == '-' && *b == '_')))
      a++, b++;
    if (!*a && !*b)
      return id;
  }
  return -1;
}

static int
value_set (struct config_value *v, const char *text, int64_t number)
{
  char *copy = strdup (text);
  if (!copy)
    return ERR_NOMEM;
  free (v->text);
  v->text = copy;
  v->number = number;
  return 0;
}

int
config_new (struct config **out)
{
  AUTO (config) c = calloc (1, sizeof *c);
  if (!c)
    return ERR_NOMEM;
  for (int id = 0; id < CONFIG_COUNT; id++) {
    AUTO_BUF why;
    buf_init (&why, 1024);
    int64_t number = 0;
    int rc = 0;
    if (*rows[id].dflt)
      rc = config_check_value (&rows[id], rows[id].dflt, &number, &why);
    if (rc == 0)
      rc = value_set (&c->dflt[id], rows[id].dflt, number);
    if (rc)
      return rc;
  }
  *out = STEAL (c);
  return 0;
}

void
config_free (struct config *c)
{
  if (!c)
    return;
  for (int id = 0; id < CONFIG_COUNT; id++) {
    free (c->v[id].text);
    free (c->dflt[id].text);
    for (size_t i = 0; i < c->region_count; i++)
      free (c->regions[i].v[id].text);
  }
  free (c->regions);
  free (c);
}

size_t
config_regions (const struct config *c)
{
  return c->region_count;
}

const char *
config_region_name (const struct config *c, size_t region)
{
  return c->regions[region].name;
}

int
config_region_add (struct config *c, const char *name, struct buf *why)
{
  for (size_t i = 0; i < c->region_count; i++)
    if (strcmp (c->regions[i].name, name) == 0)
      return (int) i;
  if (!config_region_name_is_valid (name)) {
    buf_printf (why, "\"%s\" is no name of a region: lower-case letters, digits, '.', '_' and '-', "
                     "at most 63, beginning with a letter or digit", name);
    return ERR_INVALID;
  }
  if (c->region_count == CONFIG_REGION_MAX) {
    buf_printf (why, "more than %d regions", CONFIG_REGION_MAX);
    return ERR_LIMIT;
  }
  struct config_region *more
    = realloc (c->regions, (c->region_count + 1) * sizeof *c->regions);
  if (!more)
    return ERR_NOMEM;
  c->regions = more;
  struct config_region *r = &more[c->region_count];
  memset (r, 0, sizeof *r);
  memcpy (r->name, name, strlen (name) + 1);
  return (int) c->region_count++;
}

/* Unlike config_set, an id and no place for a message about names. */
static int
set_id (struct config *c, int region, int id, const char *text, struct buf *why)
{
  int64_t number;
  int rc = config_check_value (&rows[id], text, &number, why);
  if (rc)
    return rc;
  return value_set (region < 0 ? &c->v[id] : &c->regions[region].v[id], text, number);
}

int
config_set (struct config *c, int region, const char *name, const char *value, struct buf *why)
{
  int id = config_find (name);
  if (id < 0) {
    buf_printf (why, "there is no setting \"%s\" (coffer.conf(5) lists them)", name);
    return ERR_INVALID;
  }
  if (region >= 0 && rows[id].scope != CONFIG_REGIONAL) {
    buf_printf (why, "%s is a setting of the whole mount, not of a region", rows[id].name);
    return ERR_INVALID;
  }
  return set_id (c, region, id, value, why);
}

static const struct config_value *
value_of (const struct config *c, int region, enum config_id id)
{
  if (region >= 0 && c->regions[region].v[id].text)
    return &c->regions[region].v[id];
  return c->v[id].text ? &c->v[id] : &c->dflt[id];
}

const char *
config_text (const struct config *c, int region, enum config_id id)
{
  return value_of (c, region, id)->text;
}

int64_t
config_number (const struct config *c, int region, enum config_id id)
{
  return value_of (c, region, id)->number;
}

bool
config_is (const struct config *c, enum config_id id)
{
  return value_of (c, CONFIG_ALL, id)->number != 0;
}

bool
config_has (const struct config *c, int region, enum config_id id)
{
  return value_of (c, region, id) != &c->dflt[id];
}

/* ---- lists as after -o ---- */

/* Means nothing here: taken by mount(8), systemd or a person. */
static const char *const passed_over[] = {
  "defaults", "rw",      "auto",  "noauto",  "nofail", "fail", "user",   "users",     "nouser",
  "owner",    "noowner", "group", "nogroup", "_netdev", "netdev", "x-*", "X-*", "comment=*",
  "default_permissions", "nonempty", "subtype=*", "user=*", "loud", "silent",
};
static const char *const of_the_kernel[] = {
  "nodev",    "dev",        "nosuid",   "suid",    "noexec",     "exec",   "noatime", "atime",
  "relatime", "strictatime", "nodiratime", "diratime", "norelatime", "sync", "async", "dirsync",
  "context=*", "fscontext=*", "defcontext=*", "rootcontext=*",
};

static bool
is_among (const char *item, const char *const *patterns, size_t n)
{
  for (size_t i = 0; i < n; i++)
    if (fnmatch (patterns[i], item, 0) == 0)
      return true;
  return false;
}

/* "eu.upload-rate": splits at the last point before '=' if what stands before it names a region. */
static int
region_of_item (struct config *c, char **name)
{
  char *point = strrchr (*name, '.');
  if (!point)
    return CONFIG_ALL;
  for (size_t i = 0; i < c->region_count; i++)
    if (strlen (c->regions[i].name) == (size_t) (point - *name)
        && strncmp (c->regions[i].name, *name, (size_t) (point - *name)) == 0) {
      *name = point + 1;
      return (int) i;
    }
  return CONFIG_ALL;
}

static int
set_item (struct config *c, char *item, struct buf *extra, struct buf *why)
{
  if (is_among (item, passed_over, sizeof passed_over / sizeof passed_over[0]))
    return 0;
  if (is_among (item, of_the_kernel, sizeof of_the_kernel / sizeof of_the_kernel[0])) {
    buf_printf (extra, "%s%s", extra->len ? "," : "", item);
    return buf_error (extra);
  }
  if (strcmp (item, "ro") == 0)
    return set_id (c, CONFIG_ALL, CONFIG_ID_READ_ONLY, "yes", why);
  char *eq = strchr (item, '=');
  if (eq)
    *eq = 0;
  char *name = item;
  int region = region_of_item (c, &name);
  if (eq)
    return config_set (c, region, name, eq + 1, why);
  int id = config_find (name);
  if (id >= 0 && rows[id].type == CONFIG_BOOL)
    return config_set (c, region, name, "yes", why);
  if (strncmp (name, "no", 2) == 0) {
    id = config_find (name + 2 + (name[2] == '-' || name[2] == '_'));
    if (id >= 0 && rows[id].type == CONFIG_BOOL)
      return config_set (c, region, rows[id].name, "no", why);
  }
  if (config_find (name) >= 0)
    buf_printf (why, "the option %s needs a value: %s=...", name, name);
  else
    buf_printf (why, "there is no option \"%s\" (coffer.conf(5) lists them)", name);
  return ERR_INVALID;
}

int
config_set_list (struct config *c, const char *list, struct buf *extra, struct buf *why)
{
  AUTO_STR copy = malloc (strlen (list) + 1);
  if (!copy)
    return ERR_NOMEM;
  for (const char *p = list; *p;) {
    size_t n = 0;
    for (; *p && *p != ','; p++) {
      if (*p == '\\' && (p[1] == ',' || p[1] == '\\'))
        p++;
      copy[n++] = *p;
    }
    copy[n] = 0;
    p += *p == ',';
    int rc = n ? set_item (c, copy, extra, why) : 0;
    if (rc)
      return rc;
  }
  return 0;
}
