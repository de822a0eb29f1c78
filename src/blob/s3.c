/* SPDX-License-Identifier: Apache-2.0 */
#define LOG_MODULE "s3"
#include "blob/s3.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "blob/s3_priv.h"

#define DATE_MAX_AGE (60 * NS_PER_S) /* our own clock carries the store's for so long */

static struct blob_s3 *
of (struct blob *b)
{
  return (struct blob_s3 *) b;
}

static void
base64_sha256 (const uint8_t hash[32], char out[45])
{
  static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  for (int i = 0, o = 0; i < 33; i += 3, o += 4) {
    unsigned v = (unsigned) hash[i] << 16 | (unsigned) hash[i + 1] << 8 | (i + 2 < 32 ? hash[i + 2]
                                                                           : 0u);
    out[o] = digits[v >> 18];
    out[o + 1] = digits[v >> 12 & 63];
    out[o + 2] = digits[v >> 6 & 63];
    out[o + 3] = i + 2 < 32 ? digits[v & 63] : '=';
  }
  out[44] = '\0';
}

/* Does the store have exactly these bytes under KEY? */
static int
is_same (struct blob_s3 *s, const char *key, const void *data, size_t len)
{
  AUTO_BUF there;
  buf_init (&there, len + 1);
  struct s3_call c = { .op = BLOB_OP_GET, .method = "GET", .key = key, .sink = &there };
  int rc = s3_run (s, &c);
  s3_call_release (&c);
  if (rc == ERR_LIMIT)
    return 0;
  if (rc != 0)
    return rc;
  return there.len == len && (len == 0 || memcmp (there.data, data, len) == 0);
}

static int
put_single (struct blob_s3 *s, const char *key, const void *data, size_t len,
            const struct blob_put_opts *opts)
{
  struct s3_call c = { .op = BLOB_OP_PUT, .method = "PUT", .key = key, .body = data ? data : "",
                       .body_len = len, .sha256 = opts->sha256, .progress = opts->progress,
                       .progress_ctx = opts->ctx };
  char checksum[45];
  if (s->is_unsigned && opts->sha256) {
    base64_sha256 (opts->sha256, checksum);
    s3_add_header (&c, "x-amz-checksum-sha256", checksum);
  }
  if (opts->if_absent && s->has_if_none_match)
    s3_add_header (&c, "If-None-Match", "*");
  int rc = s3_run (s, &c);
  if (rc == ERR_EXISTS && c.resp.was_resent) {
    /* The first sending may have arrived, and this is its own echo. */
    int same = is_same (s, key, data, len);
    rc = same > 0 ? 0 : same == 0 ? ERR_EXISTS : same;
  }
  s3_call_release (&c);
  return rc;
}

static int
s3_put (struct blob *b, const char *key, const void *data, size_t len,
        const struct blob_put_opts *opts)
{
  struct blob_s3 *s = of (b);
  if (!atomic_exchange (&s->is_swept, true))
    s3_sweep_orphans (s);
  return len <= S3_SINGLE_MAX ? put_single (s, key, data, len, opts)
                              : s3_put_parts (s, key, data, len, opts);
}

/* Is the answer exactly the range that was asked for?  A shorter one means that the object ends. */
static int
check_range (const struct s3_call *c, uint64_t off, size_t len)
{
  const struct http_response *r = &c->resp;
  if (r->status == 206 && r->has_range) {
    uint64_t n = r->range_to - r->range_from + 1;
    if (r->range_from != off || n > len || n != r->body_len)
      return ERR_FORMAT;
    if (n < len)
      return r->range_size == off + n ? ERR_LIMIT : ERR_FORMAT;
    return 0;
  }
  /* Some stores answer a range that is the whole object without saying so. */
  if (r->status == 200 && off == 0 && r->body_len == len)
    return 0;
  return ERR_FORMAT;
}

static int
s3_get (struct blob *b, const char *key, uint64_t off, size_t len, void *out)
{
  struct blob_s3 *s = of (b);
  if (off > UINT64_MAX - len)
    return ERR_LIMIT;
  char range[64];
  snprintf (range, sizeof range, "bytes=%llu-%llu", (unsigned long long) off,
            (unsigned long long) (off + len - 1));
  struct s3_call c = { .op = BLOB_OP_GET, .method = "GET", .key = key, .out = out, .out_len = len };
  s3_add_header (&c, "Range", range);
  int rc = s3_run (s, &c);
  if (rc == 0) {
    rc = check_range (&c, off, len);
    if (rc == ERR_FORMAT)
      snprintf (c.resp.failure, sizeof c.resp.failure,
                "another range than %s: status %d, %llu bytes",
                range, c.resp.status, (unsigned long long) c.resp.body_len);
    if (rc != 0)
      s3_tell (s, &c, rc);
  }
  s3_call_release (&c);
  return rc;
}

static int
s3_get_all (struct blob *b, const char *key, struct buf *out)
{
  size_t before = out->len;
  struct s3_call c = { .op = BLOB_OP_GET, .method = "GET", .key = key, .sink = out };
  int rc = s3_run (of (b), &c);
  if (rc == 0 && (c.resp.status != 200
                  || (c.resp.content_length >= 0
                      && (uint64_t) c.resp.content_length != c.resp.body_len)))
    rc = ERR_FORMAT;
  if (rc != 0)
    out->len = before;
  s3_call_release (&c);
  return rc;
}

static int
s3_head (struct blob *b, const char *key, struct blob_info *out)
{
  struct s3_call c = { .op = BLOB_OP_HEAD, .method = "HEAD", .key = key };
  int rc = s3_run (of (b), &c);
  if (rc == 0 && c.resp.content_length < 0)
    rc = ERR_FORMAT;
  if (rc == 0)
    *out = (struct blob_info){ .size = (uint64_t) c.resp.content_length,
                               .mtime = c.resp.last_modified_ns };
  s3_call_release (&c);
  return rc;
}

static int
s3_now (struct blob *b, int64_t *out)
{
  struct blob_s3 *s = of (b);
  int64_t now = clock_now ();
  if (!s->date_ns || now - s->date_at > DATE_MAX_AGE) {
    /* Any answer has a date, a refusal too. */
    struct s3_call c = { .op = BLOB_OP_HEAD, .method = "HEAD", .is_quiet = true };
    int rc = s3_run (s, &c);
    int64_t date = c.resp.date_ns;
    s3_call_release (&c);
    if (!date)
      return rc != 0 ? rc : ERR_FORMAT;
  }
  *out = s->date_ns + (clock_now () - s->date_at);
  return 0;
}

static void
s3_cancel (struct blob *b)
{
  http_cancel (of (b)->http);
  creds_cancel (of (b)->creds);
}

static void
s3_free (struct blob *b)
{
  struct blob_s3 *s = of (b);
  http_free (s->http);
  creds_free (s->creds);
  free (s->bucket);
  free (s->prefix);
  free (s->region);
  free (s->origin);
  free (s->host);
  free (s->path_base);
  meter_free (b->meter);
  free (s);
}

static const struct blob_ops s3_ops = {
  .name = "s3",
  .put = s3_put,
  .get = s3_get,
  .get_all = s3_get_all,
  .head = s3_head,
  .list = s3_list,
  .del = s3_delete,
  .now = s3_now,
  .cancel = s3_cancel,
  .free = s3_free,
};

static bool
is_name (const char *s, const char *more)
{
  if (!*s)
    return false;
  for (; *s; s++)
    if (!((*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z') || (*s >= '0' && *s <= '9')
          || strchr (more, *s)))
      return false;
  return true;
}

/* The prefix as the keys have it: "" or ending in one '/'. */
static int
set_prefix (struct blob_s3 *s, const char *path)
{
  size_t n = strlen (path);
  while (n && path[n - 1] == '/')
    n--;
  if (asprintf (&s->prefix, "%.*s%s", (int) n, path, n ? "/" : "") < 0) {
    s->prefix = NULL;
    return ERR_NOMEM;
  }
  if (!n)
    return 0;
  s->prefix[n] = '\0';
  bool ok = blob_key_is_valid (s->prefix);
  s->prefix[n] = '/';
  if (!ok)
    log_err ("the path of the store's URL cannot be a prefix of keys path=%s", path);
  return ok ? 0 : ERR_INVALID;
}

static int
set_endpoint (struct blob_s3 *s, const struct url *u)
{
  const char *endpoint = url_param (u, "endpoint"), *style = url_param (u, "path-style");
  char own[128];
  if (style && strcmp (style, "0") != 0 && strcmp (style, "1") != 0) {
    log_err ("path-style in the store's URL must be 0 or 1");
    return ERR_INVALID;
  }
  /* A bucket with dots has no certificate as a host name. */
  bool is_path = style ? style[0] == '1' : endpoint != NULL || strchr (s->bucket, '.') != NULL;
  if (!endpoint) {
    snprintf (own, sizeof own, "https://s3.%s.amazonaws.com", s->region);
    endpoint = own;
  }
  const char *host = strstr (endpoint, "://");
  size_t scheme_len = host ? (size_t) (host - endpoint) : 0;
  bool is_known = (scheme_len == 5 && strncmp (endpoint, "https", 5) == 0)
                  || (scheme_len == 4 && strncmp (endpoint, "http", 4) == 0);
  host = host ? host + 3 : "";
  size_t host_len = strlen (host);
  while (host_len && host[host_len - 1] == '/')
    host_len--;
  char name[256];
  snprintf (name, sizeof name, "%.*s", (int) host_len, host);
  if (!is_known || host_len >= sizeof name || !is_name (name, ".-:[]_")) {
    log_err ("endpoint in the store's URL must be like https://host:port endpoint=%s", endpoint);
    return ERR_INVALID;
  }
  if (asprintf (&s->host, "%s%s%s", is_path ? "" : s->bucket, is_path ? "" : ".", name) < 0)
    s->host = NULL;
  if (asprintf (&s->path_base, "%s%s", is_path ? "/" : "", is_path ? s->bucket : "") < 0)
    s->path_base = NULL;
  if (!s->host || !s->path_base
      || asprintf (&s->origin, "%.*s://%s", (int) scheme_len, endpoint, s->host) < 0) {
    s->origin = NULL;
    return ERR_NOMEM;
  }
  return 0;
}

static int
set_flags (struct blob_s3 *s, const struct url *u, enum creds_imds *imds)
{
  static const char *const names[] = { "imds", "unsigned-payload", "if-none-match" };
  for (int i = 0; i < 3; i++) {
    const char *v = url_param (u, names[i]);
    if (v && strcmp (v, "0") != 0 && strcmp (v, "1") != 0) {
      log_err ("a parameter of the store's URL must be 0 or 1 name=%s", names[i]);
      return ERR_INVALID;
    }
  }
  const char *v = url_param (u, "imds");
  *imds = !v ? CREDS_IMDS_AUTO : v[0] == '1' ? CREDS_IMDS_FIRST : CREDS_IMDS_NEVER;
  v = url_param (u, "unsigned-payload");
  s->is_unsigned = v && v[0] == '1';
  if (s->is_unsigned && strncmp (s->origin, "https:", 6) != 0) {
    log_err ("unsigned-payload=1 needs an https endpoint: nothing else would protect the bytes");
    return ERR_INVALID;
  }
  v = url_param (u, "if-none-match");
  s->has_if_none_match = !v || v[0] == '1';
  return 0;
}

static int
set_up (struct blob_s3 *s, const struct url *u, const struct blob_open_opts *opts)
{
  const char *profile = opts->profile ? opts->profile : url_param (u, "profile");
  const char *region = url_param (u, "region");
  char found[64];
  if (!is_name (u->host, ".-_")) {
    log_err ("the bucket of the store's URL is no name bucket=%s", u->host);
    return ERR_INVALID;
  }
  if (!region)
    region = creds_region (profile, found, sizeof found) ? found : "us-east-1";
  if (!is_name (region, "-")) {
    log_err ("the region is no name region=%s", region);
    return ERR_INVALID;
  }
  s->bucket = strdup (u->host);
  s->region = strdup (region);
  if (!s->bucket || !s->region)
    return ERR_NOMEM;
  int rc = set_prefix (s, u->path);
  if (rc == 0)
    rc = set_endpoint (s, u);
  enum creds_imds imds = CREDS_IMDS_AUTO;
  if (rc == 0)
    rc = set_flags (s, u, &imds);
  if (rc == 0)
    rc = meter_new (&s->blob.meter);
  if (rc == 0)
    rc = creds_new (profile, imds, &s->creds);
  if (rc != 0)
    return rc;
  const char *ca = url_param (u, "ca-file"), *env_ca = getenv ("AWS_CA_BUNDLE");
  struct http_opts h = { .ca_file = ca ? ca : env_ca && *env_ca ? env_ca : NULL,
                         .connect_timeout_ms = opts->connect_timeout_ms,
                         .stall_timeout_ms = opts->stall_timeout_ms,
                         .up = opts->up, .down = opts->down, .meter = s->blob.meter };
  s->blob.up = opts->up;
  return http_new (&h, &s->http);
}

int
blob_s3_open (const struct url *u, const struct blob_open_opts *opts, struct blob **out)
{
  struct blob_s3 *s = calloc (1, sizeof *s);
  if (!s)
    return ERR_NOMEM;
  s->blob.ops = &s3_ops;
  AUTO (blob) b = &s->blob;
  int rc = set_up (s, u, opts);
  if (rc != 0)
    return rc;
  s->blob.caps = s->has_if_none_match ? BLOB_CAP_IF_ABSENT : 0;
  *out = STEAL (b);
  return 0;
}
