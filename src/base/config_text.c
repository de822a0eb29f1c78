/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/config_priv.h"

/* In libconfuse's double quotes '\' and '"' are escaped, and "${" would take from the environment.
 * */
static void
put_quoted (struct buf *out, const char *text)
{
  buf_put_u8 (out, '"');
  for (const char *p = text; *p; p++) {
    if (*p == '"' || *p == '\\' || *p == '$')
      buf_put_u8 (out, '\\');
    buf_put_u8 (out, (uint8_t) *p);
  }
  buf_put_u8 (out, '"');
}

static void
put_setting (struct buf *out, const char *indent, const struct config_row *row,
             const struct config_value *v)
{
  buf_printf (out, "%s%s = ", indent, row->name);
  put_quoted (out, v->text);
  buf_put_u8 (out, '\n');
}

void
config_dump (const struct config *c, struct buf *out)
{
  for (int id = 0; id < CONFIG_COUNT; id++) {
    const struct config_row *row = config_row ((enum config_id) id);
    if (row->scope == CONFIG_OPTION)
      continue;
    const struct config_value *v = c->v[id].text ? &c->v[id] : &c->dflt[id];
    if (v->text[0] || c->v[id].text)
      put_setting (out, "", row, v);
  }
  for (size_t i = 0; i < c->region_count; i++) {
    buf_printf (out, "region ");
    put_quoted (out, c->regions[i].name);
    buf_printf (out, " {\n");
    for (int id = 0; id < CONFIG_COUNT; id++)
      if (c->regions[i].v[id].text)
        put_setting (out, "  ", config_row ((enum config_id) id), &c->regions[i].v[id]);
    buf_printf (out, "}\n");
  }
}

/* A sentence of the table as mdoc text: a line must not begin with a control character, and '\' is
 * escaped. */
static void
put_mdoc (struct buf *out, const char *text)
{
  if (*text == '.' || *text == '\'')
    buf_printf (out, "\\&");
  for (const char *p = text; *p; p++) {
    if (*p == '\\')
      buf_printf (out, "\\e");
    else if (*p == '-')
      buf_printf (out, "\\-");
    else if (*p == '~')
      buf_printf (out, "\\(ti");
    else
      buf_put_u8 (out, (uint8_t) *p);
    /* A sentence ends its line, as mdoc wants it. */
    if (*p == '.' && p[1] == ' ') {
      buf_put_u8 (out, '\n');
      p++;
    }
  }
  buf_put_u8 (out, '\n');
}

void
config_man (enum config_scope scope, struct buf *out)
{
  for (int id = 0; id < CONFIG_COUNT; id++) {
    const struct config_row *row = config_row ((enum config_id) id);
    if (row->scope != scope)
      continue;
    buf_printf (out, ".It Ic %s Pq ", row->name);
    const char *type = row->type == CONFIG_CHOICE ? row->unit : config_type_name (row->type);
    for (const char *p = type; *p; p++)
      if (*p == '|')
        buf_printf (out, " No or ");
      else
        buf_put_u8 (out, (uint8_t) *p);
    buf_put_u8 (out, '\n');
    put_mdoc (out, row->help);
    if (*row->dflt)
      buf_printf (out, "The default is\n.Ql %s .\n", row->dflt);
    if (row->is_live)
      buf_printf (out, "Can be changed while mounted.\n");
  }
}
