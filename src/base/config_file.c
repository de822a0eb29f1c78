/* SPDX-License-Identifier: Apache-2.0 */
#include <confuse.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/config_priv.h"

#define FILE_MAX_BYTES (1u << 20)

/* libconfuse takes a file that ends inside a section for a whole one.  So this line is put behind
 * the text: inside a section it is unknown, and what swallows it is not closed either. */
#define END_MARK "end-of-the-file"

/* libconfuse's callbacks carry no pointer of the caller: one load at a time (config.h says so). */
static struct buf *load_why;
static const char *load_path;

static void __attribute__ ((format (printf, 2, 0)))
on_error (cfg_t *cfg, const char *fmt, va_list ap)
{
  if (load_why->len) /* the first one is the cause */
    return;
  char text[CONFIG_VALUE_MAX];
  vsnprintf (text, sizeof text, fmt, ap);
  const char *unknown = "no such option '";
  buf_printf (load_why, "%s:%d: ", load_path, cfg->line);
  size_t n = strlen (unknown);
  if (strncmp (text, unknown, n) == 0 && strncmp (text + n, END_MARK, strlen (END_MARK)) == 0)
    buf_printf (load_why, "the file ends inside a section: a '}' is missing");
  else if (strncmp (text, unknown, n) == 0)
    buf_printf (load_why, "there is no setting \"%.*s\" here (coffer.conf(5) lists them)",
                (int) strcspn (text + n, "'"), text + n);
  else
    buf_printf (load_why, "%s", text);
}

/* Called for each value as it is read, so that the line is known. */
static int
on_value (cfg_t *cfg, cfg_opt_t *opt)
{
  const char *text = cfg_opt_getnstr (opt, cfg_opt_size (opt) - 1);
  int64_t number;
  AUTO_BUF why;
  buf_init (&why, 2 * CONFIG_VALUE_MAX);
  if (config_check_value (config_row ((enum config_id) config_find (cfg_opt_name (opt))),
                          text ? text : "", &number, &why)
      == 0)
    return 0;
  cfg_error (cfg, "%.*s", (int) why.len, (const char *) why.data);
  return -1;
}

static int
on_region (cfg_t *cfg, cfg_opt_t *opt)
{
  const char *name = cfg_title (cfg_opt_getnsec (opt, cfg_opt_size (opt) - 1));
  if (config_region_name_is_valid (name ? name : ""))
    return 0;
  cfg_error (cfg, "\"%s\" is no name of a region: lower-case letters, digits, '.', '_' and '-', at "
                  "most 63, beginning with a letter or digit", name);
  return -1;
}

/* Values in a parsed section (the whole file, or a region's) go into V. */
static int
take (struct config *c, cfg_t *cfg, int region, struct buf *why)
{
  for (int id = 0; id < CONFIG_COUNT; id++) {
    const struct config_row *row = config_row ((enum config_id) id);
    if (row->scope == CONFIG_OPTION || (region >= 0 && row->scope != CONFIG_REGIONAL))
      continue;
    const char *text = cfg_getstr (cfg, row->name);
    if (!text)
      continue;
    int rc = config_set (c, region, row->name, text, why);
    if (rc)
      return rc;
  }
  return 0;
}

static int
parse (struct config *c, const char *text, const char *path, struct buf *why)
{
  cfg_opt_t in_region[CONFIG_COUNT + 1], top[CONFIG_COUNT + 3];
  size_t r = 0, t = 0;
  for (int id = 0; id < CONFIG_COUNT; id++) {
    const struct config_row *row = config_row ((enum config_id) id);
    cfg_opt_t opt = CFG_STR (row->name, NULL, CFGF_NODEFAULT);
    if (row->scope == CONFIG_REGIONAL)
      in_region[r++] = opt;
    if (row->scope != CONFIG_OPTION)
      top[t++] = opt;
  }
  in_region[r] = (cfg_opt_t) CFG_END ();
  cfg_opt_t region_opt
    = CFG_SEC ("region", in_region, CFGF_MULTI | CFGF_TITLE | CFGF_NO_TITLE_DUPES);
  cfg_opt_t end_opt = CFG_BOOL (END_MARK, cfg_false, CFGF_NONE);
  size_t settings = t;
  top[t++] = region_opt;
  top[t++] = end_opt;
  top[t] = (cfg_opt_t) CFG_END ();

  cfg_t *cfg = cfg_init (top, CFGF_NONE);
  if (!cfg)
    return ERR_NOMEM;
  cfg_set_error_function (cfg, on_error);
  for (size_t i = 0; i < settings; i++)
    cfg_set_validate_func (cfg, top[i].name, on_value);
  for (size_t i = 0; i < r; i++) {
    char name[96];
    snprintf (name, sizeof name, "region|%s", in_region[i].name);
    cfg_set_validate_func (cfg, name, on_value);
  }
  cfg_set_validate_func (cfg, "region", on_region);
  bool is_whole = cfg_parse_buf (cfg, text) == CFG_SUCCESS && cfg_getbool (cfg, END_MARK);
  int rc = is_whole ? 0 : ERR_INVALID;
  if (rc && !why->len)
    buf_printf (why, "%s: a comment, a string or a section is not closed", path);
  if (rc == 0)
    rc = take (c, cfg, CONFIG_ALL, why);
  for (unsigned i = 0; rc == 0 && i < cfg_size (cfg, "region"); i++) {
    cfg_t *section = cfg_getnsec (cfg, "region", i);
    int region = config_region_add (c, cfg_title (section), why);
    rc = region < 0 ? region : take (c, section, region, why);
  }
  cfg_free (cfg);
  return rc;
}

/* All of FD; a file of a control directory does not know its size before. */
static int
read_all (int fd, struct buf *out)
{
  for (;;) {
    uint8_t *to = buf_reserve (out, 65536);
    if (!to)
      return buf_error (out);
    ssize_t got = read (fd, to, 65536);
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0)
      return err_from_errno (errno);
    if (got == 0)
      return 0;
    out->len += (size_t) got;
  }
}

int
config_load (struct config *c, const char *path, struct buf *why)
{
  AUTO_FD fd = open (path, O_RDONLY | O_CLOEXEC);
  struct stat st;
  if (fd < 0 || fstat (fd, &st) < 0) {
    int rc = err_from_errno (errno);
    buf_printf (why, "cannot read the configuration file %s: %s", path, strerror (errno));
    return rc;
  }
  if (!S_ISREG (st.st_mode)) {
    buf_printf (why, "the configuration file %s is not a regular file", path);
    return ERR_INVALID;
  }
  if (st.st_mode & S_IWOTH) {
    buf_printf (why, "anybody can write the configuration file %s: chmod o-w %s", path, path);
    return ERR_DENIED;
  }
  AUTO_BUF text;
  buf_init (&text, FILE_MAX_BYTES + 65536 + 64);
  int rc = read_all (fd, &text);
  if (rc == 0 && text.len > FILE_MAX_BYTES)
    rc = ERR_LIMIT;
  if (rc) {
    buf_printf (why, "cannot read the configuration file %s: %s", path, err_str (rc));
    return rc;
  }
  if (text.len && memchr (text.data, 0, text.len)) {
    buf_printf (why, "%s: this is no text", path);
    return ERR_INVALID;
  }
  buf_printf (&text, "\n" END_MARK " = true\n");
  buf_put_u8 (&text, 0);
  if (buf_error (&text))
    return buf_error (&text);
  load_why = why;
  load_path = path;
  rc = parse (c, (const char *) text.data, path, why);
  load_why = NULL;
  load_path = NULL;
  return rc;
}
