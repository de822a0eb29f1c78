/* SPDX-License-Identifier: Apache-2.0 */
#include "base/openssl.h"
#include "blob/sigv4.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"

#define PAIRS_MAX 32
#define TEXT_MAX (64u << 10) /* of every string that is built here; headers are far smaller */

int
sigv4_sha256 (const void *p, size_t n, uint8_t out[32])
{
  return EVP_Digest (p, n, out, NULL, EVP_sha256 (), NULL) == 1 ? 0 : ERR_NOMEM;
}

static int
hmac (const void *key, size_t key_len, const void *p, size_t n, uint8_t out[32])
{
  unsigned len = 32;
  return HMAC (EVP_sha256 (), key, (int) key_len, p, n, out, &len) ? 0 : ERR_NOMEM;
}

static bool
is_unreserved (char c)
{
  return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'
    || c == '.'
         || c == '_' || c == '~';
}

void
sigv4_encode (struct buf *out, const char *s, bool keep_slash)
{
  for (; *s; s++)
    if (is_unreserved (*s) || (*s == '/' && keep_slash))
      buf_put_u8 (out, (uint8_t) *s);
    else
      buf_printf (out, "%%%02X", (uint8_t) *s);
}

/* Encoded "name=value" strings, for sorting: by name, then by value, as the bytes stand. */
struct encoded {
  char *name, *value;
};

static int
by_name (const void *a, const void *b)
{
  const struct encoded *x = a, *y = b;
  int c = strcmp (x->name, y->name);
  return c ? c : strcmp (x->value, y->value);
}

static char *
encode_dup (const char *s)
{
  AUTO_BUF b;
  buf_init (&b, TEXT_MAX);
  sigv4_encode (&b, s, false);
  buf_put_u8 (&b, 0);
  return buf_error (&b) ? NULL : (char *) STEAL (b.data);
}

int
sigv4_query (const struct sigv4_pair *v, size_t n, struct buf *out)
{
  struct encoded e[PAIRS_MAX] = { 0 };
  if (n > PAIRS_MAX)
    return ERR_LIMIT;
  int rc = 0;
  for (size_t i = 0; i < n; i++) {
    e[i].name = encode_dup (v[i].name);
    e[i].value = encode_dup (v[i].value);
    if (!e[i].name || !e[i].value)
      rc = ERR_NOMEM;
  }
  if (rc == 0 && n)
    qsort (e, n, sizeof *e, by_name);
  for (size_t i = 0; rc == 0 && i < n; i++)
    buf_printf (out, "%s%s=%s", i ? "&" : "", e[i].name, e[i].value);
  for (size_t i = 0; i < n; i++) {
    free (e[i].name);
    free (e[i].value);
  }
  return rc != 0 ? rc : buf_error (out);
}

/* RFC 3986's remove_dot_segments, and runs of '/' as one. */
static void
normalize_path (const char *path, char *out)
{
  size_t n = 0;
  for (const char *p = path; *p;) {
    while (*p == '/')
      p++;
    size_t len = strcspn (p, "/");
    bool is_last = !p[len];
    if (len == 0 || (len == 1 && p[0] == '.')) {
      if (is_last && (n == 0 || out[n - 1] != '/'))
        out[n++] = '/';
    } else if (len == 2 && p[0] == '.' && p[1] == '.') {
      while (n && out[n - 1] != '/')
        n--;
      n -= n > 0;
      if (is_last)
        out[n++] = '/';
    } else {
      if (n == 0 || out[n - 1] != '/')
        out[n++] = '/';
      memcpy (out + n, p, len);
      n += len;
      if (!is_last && p[len + strspn (p + len, "/")] == '\0')
        out[n++] = '/';
    }
    p += len;
  }
  if (n == 0)
    out[n++] = '/';
  out[n] = '\0';
}

struct header {
  char name[128];
  const char *value;
  size_t order; /* of arrival: equal names keep it */
};

static int
by_header (const void *a, const void *b)
{
  const struct header *x = a, *y = b;
  int c = strcmp (x->name, y->name);
  return c ? c : x->order < y->order ? -1 : 1;
}

static int
sort_headers (const struct sigv4_request *r, struct header *h)
{
  if (r->header_count > PAIRS_MAX)
    return ERR_LIMIT;
  for (size_t i = 0; i < r->header_count; i++) {
    size_t n = strlen (r->headers[i].name);
    if (n >= sizeof h[i].name)
      return ERR_LIMIT;
    for (size_t k = 0; k <= n; k++) {
      char c = r->headers[i].name[k];
      h[i].name[k] = c >= 'A' && c <= 'Z' ? (char) (c | 0x20) : c;
    }
    h[i].value = r->headers[i].value;
    h[i].order = i;
  }
  qsort (h, r->header_count, sizeof *h, by_header);
  return 0;
}

/* Trimmed, runs of white space as one blank. */
static void
put_value (struct buf *out, const char *v)
{
  bool is_begun = false, is_gap = false;
  for (; *v; v++) {
    if (*v == ' ' || *v == '\t' || *v == '\n' || *v == '\r') {
      is_gap = is_begun;
      continue;
    }
    if (is_gap)
      buf_put_u8 (out, ' ');
    is_gap = false;
    is_begun = true;
    buf_put_u8 (out, (uint8_t) *v);
  }
}

static void
put_signed_names (struct buf *out, const struct header *h, size_t n)
{
  for (size_t i = 0; i < n; i++)
    if (i == 0 || strcmp (h[i].name, h[i - 1].name) != 0)
      buf_printf (out, "%s%s", i ? ";" : "", h[i].name);
}

static void
put_headers (struct buf *out, const struct header *h, size_t n)
{
  for (size_t i = 0; i < n; i++) {
    bool is_same = i && strcmp (h[i].name, h[i - 1].name) == 0;
    if (is_same)
      buf_put_u8 (out, ',');
    else
      buf_printf (out, "%s%s:", i ? "\n" : "", h[i].name);
    put_value (out, h[i].value);
  }
  buf_put (out, "\n\n", 2);
}

int
sigv4_canonical_request (const struct sigv4_request *r, struct buf *out)
{
  struct header h[PAIRS_MAX];
  int rc = sort_headers (r, h);
  if (rc != 0)
    return rc;
  AUTO_STR normal = malloc (strlen (r->path) + 2);
  if (!normal)
    return ERR_NOMEM;
  normalize_path (r->path, normal);
  buf_printf (out, "%s\n", r->method);
  sigv4_encode (out, r->normalize ? normal : r->path, true);
  buf_put_u8 (out, '\n');
  rc = sigv4_query (r->query, r->query_count, out);
  if (rc != 0)
    return rc;
  buf_put_u8 (out, '\n');
  put_headers (out, h, r->header_count);
  put_signed_names (out, h, r->header_count);
  buf_printf (out, "\n%s", r->payload_hash);
  return buf_error (out);
}

int
sigv4_string_to_sign (const struct sigv4_scope *s, const struct buf *canonical, struct buf *out)
{
  uint8_t hash[32];
  char hex[65];
  int rc = sigv4_sha256 (canonical->data, canonical->len, hash);
  if (rc != 0)
    return rc;
  hex_encode (hash, sizeof hash, hex);
  buf_printf (out, "AWS4-HMAC-SHA256\n%s\n%.8s/%s/%s/aws4_request\n%s", s->date, s->date, s->region,
              s->service, hex);
  return buf_error (out);
}

static int
sign (const struct sigv4_scope *s, const struct buf *text, char hex[65])
{
  uint8_t key[32], mac[32];
  AUTO_BUF seed;
  buf_init (&seed, TEXT_MAX);
  buf_printf (&seed, "AWS4%s", s->secret_key);
  int rc = buf_error (&seed);
  if (rc == 0)
    rc = hmac (seed.data, seed.len, s->date, 8, key);
  if (rc == 0)
    rc = hmac (key, sizeof key, s->region, strlen (s->region), key);
  if (rc == 0)
    rc = hmac (key, sizeof key, s->service, strlen (s->service), key);
  if (rc == 0)
    rc = hmac (key, sizeof key, "aws4_request", 12, key);
  if (rc == 0)
    rc = hmac (key, sizeof key, text->data, text->len, mac);
  if (rc == 0)
    hex_encode (mac, sizeof mac, hex);
  explicit_bzero (key, sizeof key);
  buf_wipe_release (&seed);
  return rc;
}

int
sigv4_authorize (const struct sigv4_scope *s, const struct sigv4_request *r, struct buf *out)
{
  AUTO_BUF canonical;
  AUTO_BUF text;
  buf_init (&canonical, TEXT_MAX);
  buf_init (&text, TEXT_MAX);
  struct header h[PAIRS_MAX];
  char signature[65];
  int rc = strlen (s->date) == SIGV4_DATE_LEN ? sort_headers (r, h) : ERR_INVALID;
  if (rc == 0)
    rc = sigv4_canonical_request (r, &canonical);
  if (rc == 0)
    rc = sigv4_string_to_sign (s, &canonical, &text);
  if (rc == 0)
    rc = sign (s, &text, signature);
  if (rc != 0)
    return rc;
  buf_printf (out, "AWS4-HMAC-SHA256 Credential=%s/%.8s/%s/%s/aws4_request, SignedHeaders=",
              s->access_key, s->date, s->region, s->service);
  put_signed_names (out, h, r->header_count);
  buf_printf (out, ", Signature=%s", signature);
  if (buf_reserve (out, 1))
    out->data[out->len] = '\0';
  return buf_error (out);
}

void
sigv4_date (int64_t ns, char out[SIGV4_DATE_LEN + 1])
{
  time_t t = (time_t) (ns / NS_PER_S);
  struct tm tm;
  if (!gmtime_r (&t, &tm) || strftime (out, SIGV4_DATE_LEN + 1, "%Y%m%dT%H%M%SZ", &tm) == 0)
    memcpy (out, "19700101T000000Z", SIGV4_DATE_LEN + 1);
}
