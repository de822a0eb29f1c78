/* SPDX-License-Identifier: Apache-2.0 */
#define LOG_MODULE "url"
#include "blob/url.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "blob/breaker.h"
#include "blob/fault.h"
#include "blob/file.h"
#include "blob/memory.h"
#include "blob/s3.h"
#include "blob/throttled.h"

#define URL_MAX 4096

static int
hex_value (char c)
{
  if (c >= '0' && c <= '9')
    return c - '0';
  c |= 0x20;
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* In place; false on a bad or NUL escape. */
static bool
decode (char *s)
{
  if (!*s)
    return true; /* may be a constant */
  char *out = s;
  for (; *s; s++) {
    if (*s != '%') {
      *out++ = *s;
      continue;
    }
    int hi = hex_value (s[1]), lo = hi < 0 ? -1 : hex_value (s[2]);
    if (lo < 0 || hi * 16 + lo == 0)
      return false;
    *out++ = (char) (hi * 16 + lo);
    s += 2;
  }
  *out = '\0';
  return true;
}

static int
parse_params (struct url *u, char *query)
{
  for (char *p = query; p && *p;) {
    char *next = strchr (p, '&');
    if (next)
      *next++ = '\0';
    char *eq = strchr (p, '=');
    if (!eq || eq == p || u->param_count == URL_PARAM_MAX)
      return ERR_INVALID;
    *eq = '\0';
    if (!decode (p) || !decode (eq + 1) || url_param (u, p))
      return ERR_INVALID;
    u->params[u->param_count++] = (struct url_param){ .name = p, .value = eq + 1 };
    p = next;
  }
  return 0;
}

static int
parse_parts (struct url *u)
{
  char *s = u->text;
  if (strncmp (s, "fault+", 6) == 0) {
    u->has_fault = true;
    s += 6;
  }
  char *query = strchr (s, '?');
  if (query)
    *query++ = '\0';
  u->host = u->path = "";
  if (strcmp (s, "memory:") == 0) {
    u->scheme = "memory";
    return parse_params (u, query);
  }
  char *sep = strstr (s, "://");
  if (!sep)
    return ERR_INVALID;
  *sep = '\0';
  u->scheme = s;
  char *rest = sep + 3;
  if (strcmp (s, "file") == 0) {
    /* file:///path, or file://localhost/path */
    if (strncmp (rest, "localhost/", 10) == 0)
      rest += 9;
    if (rest[0] != '/')
      return ERR_INVALID;
    u->path = rest;
  } else {
    char *slash = strchr (rest, '/');
    if (slash) {
      *slash = '\0';
      u->path = slash + 1;
    }
    u->host = rest;
    if (!decode (rest) || !rest[0])
      return ERR_INVALID;
  }
  return decode ((char *) u->path) ? parse_params (u, query) : ERR_INVALID;
}

int
url_parse (const char *text, struct url *out)
{
  if (strlen (text) > URL_MAX || strchr (text, '#'))
    return ERR_INVALID;
  struct url u = { .text = strdup (text) };
  if (!u.text)
    return ERR_NOMEM;
  int rc = parse_parts (&u);
  if (rc != 0)
    free (u.text);
  else
    *out = u;
  return rc;
}

void
url_release (struct url *u)
{
  free (u->text);
  *u = (struct url){ 0 };
}

const char *
url_param (const struct url *u, const char *name)
{
  for (size_t i = 0; i < u->param_count; i++)
    if (strcmp (u->params[i].name, name) == 0)
      return u->params[i].value;
  return NULL;
}

void
blob_url_redact (const char *url, char *out, size_t cap)
{
  const char *at = strchr (url, '@'), *sep = strstr (url, "://"), *query = strchr (url, '?');
  if (at && sep && at > sep && (!query || at < query))
    snprintf (out, cap, "%.*s***%.*s", (int) (sep + 3 - url), url,
              query ? (int) (query - at) : (int) strlen (at), at);
  else
    snprintf (out, cap, "%.*s", query ? (int) (query - url) : (int) strlen (url), url);
}

/* A misspelt parameter must not be ignored: it may have been meant to protect. */
static int
check_params (const struct url *u, const char *const *known)
{
  for (size_t i = 0; i < u->param_count; i++) {
    bool ok = u->has_fault && strcmp (u->params[i].name, "rules") == 0;
    for (size_t k = 0; !ok && known && known[k]; k++)
      ok = strcmp (known[k], u->params[i].name) == 0;
    if (!ok) {
      log_err ("unknown parameter in the store's URL name=%s", u->params[i].name);
      return ERR_INVALID;
    }
  }
  return 0;
}

static int
open_backend (const struct url *u, const struct blob_open_opts *opts, struct blob **out)
{
  if (strcmp (u->scheme, "file") == 0) {
    int rc = check_params (u, NULL);
    return rc != 0 ? rc : blob_file_open (u->path, opts->create, out);
  }
  if (strcmp (u->scheme, "memory") == 0) {
    int rc = check_params (u, NULL);
    return rc != 0 ? rc : blob_memory_new (out);
  }
  if (strcmp (u->scheme, "s3") == 0) {
    static const char *const known[] = { "endpoint", "path-style", "region", "ca-file", "profile",
                                         "imds",
                                         "unsigned-payload", "if-none-match", NULL };
    int rc = check_params (u, known);
    return rc != 0 ? rc : blob_s3_open (u, opts, out);
  }
  log_err ("unknown kind of store; known are file:// and s3:// scheme=%s", u->scheme);
  return ERR_INVALID;
}

static int
wrap_fault (const struct url *u, struct blob **b)
{
  const char *rules = url_param (u, "rules");
  int rc = blob_fault_new (b, rules ? rules : getenv ("COFFER_FAULTS"), b);
  if (rc == ERR_INVALID)
    log_err ("the fault rules of the store's URL cannot be read");
  return rc;
}

static bool
has_buckets (const struct throttle_set *s)
{
  for (int i = 0; i < THROTTLE_SET_MAX; i++)
    if (s->t[i])
      return true;
  return false;
}

static int
open_stack (const struct url *u, const struct blob_open_opts *opts, struct blob **out)
{
  AUTO (blob) b = NULL;
  int rc = open_backend (u, opts, &b);
  bool is_http = strcmp (u->scheme, "s3") == 0;
  if (rc == 0 && u->has_fault)
    rc = wrap_fault (u, &b);
  if (rc == 0 && !is_http && (has_buckets (&opts->up) || has_buckets (&opts->down)))
    rc = blob_throttled_new (&b, &opts->up, &opts->down, &b);
  if (rc == 0 && opts->retry != RETRY_NONE)
    rc = blob_breaker_new (&b, &b);
  if (rc == 0 && opts->retry != RETRY_NONE)
    rc = blob_retry_new (&b, opts->retry, &b);
  if (rc == 0)
    *out = STEAL (b);
  return rc;
}

int
blob_open_url (const char *url, const struct blob_open_opts *opts, struct blob **out)
{
  static const struct blob_open_opts none;
  struct url u;
  int rc = url_parse (url, &u);
  if (rc != 0) {
    char shown[256];
    blob_url_redact (url, shown, sizeof shown);
    log_err ("the store's URL cannot be read; examples: file:///srv/coffer,"
             " s3://BUCKET/PREFIX?endpoint=https://host:9000 url=%s", shown);
    return rc;
  }
  rc = open_stack (&u, opts ? opts : &none, out);
  url_release (&u);
  return rc;
}
