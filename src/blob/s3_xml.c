/* SPDX-License-Identifier: Apache-2.0 */
#include "blob/s3_xml.h"

#include <expat.h>
#include <stdio.h>
#include <string.h>

#define DEPTH_MAX 8
#define NAME_MAX_LEN 48

struct reader {
  XML_Parser parser;
  const char *root;
  const struct s3_xml_handler *handler;
  char names[DEPTH_MAX][NAME_MAX_LEN];
  int depth;
  char text[S3_XML_TEXT_MAX];
  size_t text_len;
  bool has_child;
  int rc;
};

static void
stop (struct reader *r, int rc)
{
  if (r->rc == 0)
    r->rc = rc;
  XML_StopParser (r->parser, XML_FALSE);
}

static void XMLCALL
on_start (void *ctx, const XML_Char *name, const XML_Char **attrs)
{
  struct reader *r = ctx;
  const char *colon = strchr (name, ':');
  const char *local = colon ? colon + 1 : name;
  if (r->depth == DEPTH_MAX || strlen (local) >= NAME_MAX_LEN
      || (r->depth == 0 && r->root && strcmp (local, r->root) != 0)) {
    stop (r, ERR_FORMAT);
    return;
  }
  snprintf (r->names[r->depth++], NAME_MAX_LEN, "%s", local);
  r->text_len = 0;
  r->has_child = false;
}

static void XMLCALL
on_text (void *ctx, const XML_Char *s, int len)
{
  struct reader *r = ctx;
  if ((size_t) len >= sizeof r->text - r->text_len) {
    stop (r, ERR_FORMAT);
    return;
  }
  memcpy (r->text + r->text_len, s, (size_t) len);
  r->text_len += (size_t) len;
}

static void XMLCALL
on_end (void *ctx, const XML_Char *name)
{
  struct reader *r = ctx;
  if (r->rc != 0 || r->depth == 0)
    return;
  const char *own = r->names[r->depth - 1];
  const char *parent = r->depth > 1 ? r->names[r->depth - 2] : "";
  int rc = 0;
  r->text[r->text_len] = '\0';
  if (!r->has_child)
    rc = r->handler->text (r->handler->ctx, parent, own, r->text);
  if (rc == 0 && r->handler->end)
    rc = r->handler->end (r->handler->ctx, parent, own);
  r->depth--;
  r->text_len = 0;
  r->has_child = true;
  if (rc != 0)
    stop (r, rc);
}

static void XMLCALL
on_doctype (void *ctx, const XML_Char *name, const XML_Char *sysid, const XML_Char *pubid,
            int has_subset)
{
  stop (ctx, ERR_FORMAT); /* no server of ours sends one; it could define entities */
}

int
s3_xml_parse (const void *p, size_t n, const char *root, const struct s3_xml_handler *h)
{
  struct reader r = { .root = root, .handler = h };
  if (n > INT32_MAX)
    return ERR_LIMIT;
  r.parser = XML_ParserCreate (NULL);
  if (!r.parser)
    return ERR_NOMEM;
  XML_SetUserData (r.parser, &r);
  XML_SetElementHandler (r.parser, on_start, on_end);
  XML_SetCharacterDataHandler (r.parser, on_text);
  XML_SetStartDoctypeDeclHandler (r.parser, on_doctype);
  enum XML_Status status = XML_Parse (r.parser, p, (int) n, 1);
  XML_ParserFree (r.parser);
  if (r.rc != 0)
    return r.rc;
  return status == XML_STATUS_OK ? 0 : ERR_FORMAT;
}

static int
error_text (void *ctx, const char *parent, const char *name, const char *text)
{
  struct s3_error *e = ctx;
  if (strcmp (parent, "Error") != 0)
    return 0;
  if (strcmp (name, "Code") == 0)
    snprintf (e->code, sizeof e->code, "%s", text);
  else if (strcmp (name, "Message") == 0)
    snprintf (e->message, sizeof e->message, "%s", text);
  else if (strcmp (name, "Region") == 0)
    snprintf (e->region, sizeof e->region, "%s", text);
  else if (strcmp (name, "RequestId") == 0)
    snprintf (e->request_id, sizeof e->request_id, "%s", text);
  return 0;
}

bool
s3_xml_error (const void *p, size_t n, struct s3_error *out)
{
  struct s3_xml_handler h = { .text = error_text, .ctx = out };
  memset (out, 0, sizeof *out);
  if (s3_xml_parse (p, n, "Error", &h) == 0 && out->code[0])
    return true;
  memset (out, 0, sizeof *out);
  return false;
}
