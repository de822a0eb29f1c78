/* SPDX-License-Identifier: Apache-2.0 */
/* One request to S3: build, sign, send, understand the answer. */
#define LOG_MODULE "s3"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "blob/retry.h"
#include "blob/s3_priv.h"

#define EMPTY_SHA256 "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define REQUEST_TEXT_MAX (32u << 10)
#define LOG_EVERY (10 * NS_PER_S)
#define SKEW_MAX (15 * 60 * NS_PER_S) /* what S3 tolerates */

/* Codes first: the same status means different things.  Advice is what a person can do. */
static const struct {
  const char *code;
  int rc;
  const char *advice;
} codes[] = {
  { "NoSuchKey", ERR_MISSING, NULL },
  { "NoSuchBucket", ERR_MISSING, "the bucket does not exist; create it or mend the URL" },
  { "NoSuchUpload", ERR_MISSING, NULL },
  { "PreconditionFailed", ERR_EXISTS, NULL },
  { "ConditionalRequestConflict", ERR_AGAIN, NULL },
  { "OperationAborted", ERR_AGAIN, NULL },
  { "RequestTimeout", ERR_AGAIN, NULL },
  { "IncompleteBody", ERR_AGAIN, NULL },
  { "InternalError", ERR_AGAIN, NULL },
  { "ServiceUnavailable", ERR_AGAIN, NULL },
  { "SlowDown", ERR_THROTTLED, NULL },
  { "SlowDownRead", ERR_THROTTLED, NULL },
  { "SlowDownWrite", ERR_THROTTLED, NULL },
  { "TooManyRequests", ERR_THROTTLED, NULL },
  { "Throttling", ERR_THROTTLED, NULL },
  { "ThrottlingException", ERR_THROTTLED, NULL },
  { "RequestLimitExceeded", ERR_THROTTLED, NULL },
  { "BandwidthLimitExceeded", ERR_THROTTLED, NULL },
  { "InvalidRange", ERR_LIMIT, NULL },
  { "EntityTooLarge", ERR_LIMIT, "the store takes no object of that size" },
  { "QuotaExceeded", ERR_FULL, "the quota is used up; raise it or let old backups expire" },
  { "XMinioStorageFull", ERR_FULL, "the store is full" },
  { "XMinioAdminBucketQuotaExceeded", ERR_FULL, "the bucket's quota is used up" },
  { "InsufficientStorage", ERR_FULL, "the store is full" },
  { "StorageFull", ERR_FULL, "the store is full" },
  { "AccessDenied", ERR_DENIED, "a permission is missing; check the policies of user and bucket" },
  { "AllAccessDisabled", ERR_DENIED, "the bucket or account is disabled" },
  { "InvalidAccessKeyId", ERR_DENIED, "the store does not know this access key" },
  { "SignatureDoesNotMatch", ERR_DENIED, "the secret key is wrong" },
  { "InvalidToken", ERR_DENIED, "the session token is wrong" },
  { "ExpiredToken", ERR_DENIED, "the session token has expired; renew the credentials" },
  { "ExpiredTokenException", ERR_DENIED, "the session token has expired; renew the credentials" },
  { "TokenRefreshRequired", ERR_DENIED, "renew the credentials" },
  { "RequestTimeTooSkewed", ERR_DENIED, "this host's clock is wrong; set it (NTP)" },
  { "PermanentRedirect", ERR_DENIED, "the bucket is in another region; set region= in the URL" },
  { "TemporaryRedirect", ERR_DENIED, "the bucket is in another region; set region= in the URL" },
  { "AuthorizationHeaderMalformed", ERR_DENIED, "wrong region or key; set region= in the URL" },
  { "NotImplemented", ERR_IO, "the store lacks a function; if-none-match=0 in the URL may help" },
};

static int
error_of_status (int status)
{
  switch (status) {
  case 404: return ERR_MISSING;
  case 412: return ERR_EXISTS;
  case 416: return ERR_LIMIT;
  case 429: return ERR_THROTTLED;
  case 507: return ERR_FULL;
  case 301:
  case 302:
  case 307:
  case 308:
  case 401:
  case 403: return ERR_DENIED;
  case 408:
  case 409: return ERR_AGAIN;
  default: return status >= 500 ? (status == 501 || status == 505 ? ERR_IO : ERR_AGAIN) : ERR_IO;
  }
}

int
s3_error_of (int status, const char *code)
{
  for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++)
    if (strcmp (codes[i].code, code) == 0)
      return codes[i].rc;
  return error_of_status (status);
}

static const char *
advice_for (const struct s3_call *c, int rc)
{
  for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++)
    if (strcmp (codes[i].code, c->error.code) == 0 && codes[i].advice)
      return codes[i].advice;
  int status = c->resp.status;
  if (status == 301 || status == 307)
    return "the bucket is elsewhere; set region= or endpoint= in the URL";
  if (rc == ERR_DENIED)
    return status ? "check the credentials and the bucket's policy"
                  : "the endpoint's certificate is not trusted; ca-file= in the URL names the CA's";
  if (rc == ERR_MISSING)
    return "is the bucket's name right?";
  if (rc == ERR_FORMAT)
    return "it was not used; look for a proxy or a cache on the way";
  return "the answer was not expected of an S3 store; is the endpoint right?";
}

void
s3_tell (struct blob_s3 *s, const struct s3_call *c, int rc)
{
  const char *what = c->error.code[0]     ? c->error.code
                     : c->resp.failure[0] ? c->resp.failure
                                          : err_str (rc);
  const char *key = c->key ? c->key : "";
  bool is_answer = (rc == ERR_MISSING && strcmp (c->error.code, "NoSuchBucket") != 0)
                   || rc == ERR_EXISTS || rc == ERR_LIMIT || rc == ERR_CANCELLED || rc == ERR_NOMEM;
  if (is_answer || c->is_quiet)
    return;
  meter_error (s->blob.meter, rc, "%s s3://%s/%s%s at %s: %s (status %d)", blob_op_name (c->op),
               s->bucket, s->prefix, key, s->host, what, c->resp.status);
  if (err_is_transient (rc)) {
    log_debug ("request failed op=%s key=%s%s host=%s status=%d reason=\"%s\"",
               blob_op_name (c->op), s->prefix, key, s->host, c->resp.status, what);
    return;
  }
  int64_t now = clock_now (), last = s->logged_at;
  if ((last && now - last < LOG_EVERY)
      || !atomic_compare_exchange_strong (&s->logged_at, &last, now))
    return;
  const char *region = c->resp.region[0] ? c->resp.region : c->error.region;
  log_err ("%s; %s op=%s bucket=%s key=%s%s endpoint=%s status=%d code=\"%s\""
           " message=\"%s\"%s%s request=%s",
           rc == ERR_FORMAT ? "an answer of the store cannot be true"
                            : "the store refused a request",
           advice_for (c, rc), blob_op_name (c->op), s->bucket, s->prefix,
           key, s->origin, c->resp.status, what, c->error.message,
           region[0] ? " right-region=" : "", region,
           c->resp.request_id);
}

void
s3_add_query (struct s3_call *c, const char *name, const char *value)
{
  c->query[c->query_count++] = (struct sigv4_pair){ name, value };
}

void
s3_add_header (struct s3_call *c, const char *name, const char *value)
{
  c->headers[c->header_count++] = (struct sigv4_pair){ name, value };
}

void
s3_call_release (struct s3_call *c)
{
  http_response_release (&c->resp);
}

static int
payload_hash (const struct blob_s3 *s, const struct s3_call *c, char hex[65])
{
  if (!c->body_len) {
    memcpy (hex, EMPTY_SHA256, 65);
    return 0;
  }
  if (s->is_unsigned) {
    memcpy (hex, SIGV4_UNSIGNED, sizeof SIGV4_UNSIGNED);
    return 0;
  }
  uint8_t own[32];
  const uint8_t *hash = c->sha256;
  if (!hash) {
    int rc = sigv4_sha256 (c->body, c->body_len, own);
    if (rc != 0)
      return rc;
    hash = own;
  }
  hex_encode (hash, 32, hex);
  return 0;
}

/* What a request is made of; views into the caller's memory and into the buffers. */
struct draft {
  struct buf path, url, auth, lines;
  struct sigv4_pair signed_headers[S3_PAIRS_MAX + 4];
  const char *headers[S3_PAIRS_MAX + 6];
  size_t signed_count, header_count;
  char date[SIGV4_DATE_LEN + 1], hash[65];
};

static void
draft_init (struct draft *d)
{
  *d = (struct draft){ 0 };
  buf_init (&d->path, REQUEST_TEXT_MAX);
  buf_init (&d->url, REQUEST_TEXT_MAX);
  buf_init (&d->auth, REQUEST_TEXT_MAX);
  buf_init (&d->lines, REQUEST_TEXT_MAX);
}

static void
draft_release (struct draft *d)
{
  buf_release (&d->path);
  buf_release (&d->url);
  buf_wipe_release (&d->auth);
  buf_wipe_release (&d->lines); /* has the session token */
}

static int
draft_url (const struct blob_s3 *s, const struct s3_call *c, struct draft *d)
{
  /* The decoded path, for the signer; then the same encoded, for the wire. */
  buf_printf (&d->path, "%s/", s->path_base);
  if (c->key)
    buf_printf (&d->path, "%s%s", s->prefix, c->key);
  else if (s->path_base[0])
    d->path.len--; /* "/bucket", as the manual has it */
  buf_put_u8 (&d->path, 0);
  if (buf_error (&d->path))
    return buf_error (&d->path);
  buf_printf (&d->url, "%s", s->origin);
  sigv4_encode (&d->url, (const char *) d->path.data, true);
  if (c->query_count) {
    buf_put_u8 (&d->url, '?');
    int rc = sigv4_query (c->query, c->query_count, &d->url);
    if (rc != 0)
      return rc;
  }
  buf_put_u8 (&d->url, 0);
  return buf_error (&d->url);
}

static int
draft_sign (const struct blob_s3 *s, const struct s3_call *c, const struct aws_creds *creds,
            struct draft *d)
{
  sigv4_date (clock_wall () + s->skew_ns, d->date);
  int rc = payload_hash (s, c, d->hash);
  if (rc != 0)
    return rc;
  d->signed_headers[d->signed_count++] = (struct sigv4_pair){ "Host", s->host };
  d->signed_headers[d->signed_count++] = (struct sigv4_pair){ "x-amz-date", d->date };
  d->signed_headers[d->signed_count++] = (struct sigv4_pair){ "x-amz-content-sha256", d->hash };
  if (creds->token[0])
    d->signed_headers[d->signed_count++]
        = (struct sigv4_pair){ "x-amz-security-token", creds->token };
  for (size_t i = 0; i < c->header_count; i++)
    d->signed_headers[d->signed_count++] = c->headers[i];
  struct sigv4_scope scope = { .access_key = creds->access_key, .secret_key = creds->secret_key,
                               .region = s->region, .service = "s3", .date = d->date };
  struct sigv4_request r = { .method = c->method, .path = (const char *) d->path.data,
                             .query = c->query, .query_count = c->query_count,
                             .headers = d->signed_headers,
                             .header_count = d->signed_count, .payload_hash = d->hash };
  return sigv4_authorize (&scope, &r, &d->auth);
}

static int
draft_headers (struct draft *d)
{
  size_t at[S3_PAIRS_MAX + 6];
  for (size_t i = 0; i < d->signed_count; i++) {
    at[d->header_count++] = d->lines.len;
    buf_printf (&d->lines, "%s: %s", d->signed_headers[i].name, d->signed_headers[i].value);
    buf_put_u8 (&d->lines, 0);
  }
  at[d->header_count++] = d->lines.len;
  buf_printf (&d->lines, "Authorization: %s", (const char *) d->auth.data);
  buf_put_u8 (&d->lines, 0);
  at[d->header_count++] = d->lines.len;
  buf_printf (&d->lines, "Content-Type: application/octet-stream");
  buf_put_u8 (&d->lines, 0);
  if (buf_error (&d->lines))
    return buf_error (&d->lines);
  for (size_t i = 0; i < d->header_count; i++)
    d->headers[i] = (const char *) d->lines.data + at[i];
  return 0;
}

static void
note_clock (struct blob_s3 *s, const struct s3_call *c)
{
  if (!c->resp.date_ns)
    return;
  s->date_at = clock_now ();
  s->date_ns = c->resp.date_ns;
}

static int
understand (struct blob_s3 *s, struct s3_call *c)
{
  note_clock (s, c);
  if (c->resp.status >= 200 && c->resp.status <= 299)
    return 0;
  s3_xml_error (c->resp.error_body.data, c->resp.error_body.len, &c->error);
  int rc = s3_error_of (c->resp.status, c->error.code);
  /* A body that the store found altered: our memory, or the way there? */
  if (strcmp (c->error.code, "XAmzContentSHA256Mismatch") == 0
      || strcmp (c->error.code, "BadDigest") == 0) {
    uint8_t now[32];
    bool is_ours = c->sha256 && sigv4_sha256 (c->body, c->body_len, now) == 0
                   && memcmp (now, c->sha256, 32) != 0;
    rc = is_ours ? ERR_FORMAT : ERR_AGAIN;
  }
  if (err_is_transient (rc))
    retry_after_note (c->resp.retry_after_ns);
  return rc;
}

static int
attempt (struct blob_s3 *s, struct s3_call *c, const struct aws_creds *creds)
{
  struct draft d;
  draft_init (&d);
  int rc = draft_url (s, c, &d);
  if (rc == 0)
    rc = draft_sign (s, c, creds, &d);
  if (rc == 0)
    rc = draft_headers (&d);
  if (rc == 0) {
    struct http_request q = { .method = c->method, .url = (const char *) d.url.data,
                              .headers = d.headers, .header_count = d.header_count,
                              .body = c->body, .body_len = c->body_len, .progress = c->progress,
                              .progress_ctx = c->progress_ctx, .out = c->out,
                              .out_len = c->out_len, .sink = c->sink };
    meter_request (s->blob.meter, c->op);
    rc = http_perform (s->http, &q, &c->resp);
  }
  draft_release (&d);
  return rc == 0 ? understand (s, c) : rc;
}

/* Can the cause of a refusal be mended here?  Then the call is worth one more attempt. */
static bool
mend (struct blob_s3 *s, const struct s3_call *c)
{
  const char *code = c->error.code;
  if (strncmp (code, "ExpiredToken", 12) == 0 || strcmp (code, "TokenRefreshRequired") == 0
      || strcmp (code, "InvalidAccessKeyId") == 0) {
    creds_invalidate (s->creds);
    return true;
  }
  if (strcmp (code, "RequestTimeTooSkewed") != 0 || !c->resp.date_ns)
    return false;
  int64_t skew = c->resp.date_ns - clock_wall ();
  log_warn ("this host's clock differs from the store's; signing by that. Set the clock (NTP)"
            " seconds=%lld limit=%lld",
            (long long) (skew / NS_PER_S), (long long) (SKEW_MAX / NS_PER_S));
  s->skew_ns = skew;
  return true;
}

int
s3_run (struct blob_s3 *s, struct s3_call *c)
{
  struct aws_creds creds;
  size_t sink_len = c->sink ? c->sink->len : 0;
  for (int tries = 0;; tries++) {
    int rc = creds_get (s->creds, &creds);
    if (rc != 0)
      return http_is_cancelled (s->http) ? ERR_CANCELLED : rc;
    rc = attempt (s, c, &creds);
    aws_creds_wipe (&creds);
    if (rc == ERR_DENIED && tries == 0 && mend (s, c)) {
      http_response_release (&c->resp);
      c->error = (struct s3_error){ 0 };
      if (c->sink)
        c->sink->len = sink_len;
      continue;
    }
    if (rc != 0)
      s3_tell (s, c, rc);
    return rc;
  }
}
