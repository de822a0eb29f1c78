/* SPDX-License-Identifier: Apache-2.0 */
/* Uploads in parts, and those that somebody left behind. */
#define LOG_MODULE "s3"
#include "base/openssl.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "blob/s3.h"
#include "blob/s3_priv.h"

#define PARTS_MAX 10000 /* S3's */
/* a part that fails is sent again alone; then the whole put is the caller's to retry */
#define PART_TRIES 4
#define ANSWER_MAX (1u << 20)
#define ORPHAN_AGE (24 * 3600 * NS_PER_S)
#define ETAG_LEN 128

struct upload {
  struct blob_s3 *s;
  const char *key;
  const uint8_t *data;
  size_t len, part_bytes, part_count;
  const struct blob_put_opts *opts;
  char id[1024];
  char (*etags)[ETAG_LEN];
  uint64_t before;  /* bytes of the parts that are done */
  bool is_doubtful; /* a completion may have been done though its answer was lost */
};

struct wanted {
  const char *name;
  char *out;
  size_t cap;
};

static int
take_wanted (void *ctx, const char *parent, const char *name, const char *text)
{
  struct wanted *w = ctx;
  if (strcmp (name, w->name) != 0)
    return 0;
  if (strlen (text) >= w->cap)
    return ERR_FORMAT;
  snprintf (w->out, w->cap, "%s", text);
  return 0;
}

static int
begin_upload (struct upload *u)
{
  AUTO_BUF answer;
  buf_init (&answer, ANSWER_MAX);
  struct s3_call c = { .op = BLOB_OP_PUT, .method = "POST", .key = u->key, .body = "",
                       .sink = &answer };
  s3_add_query (&c, "uploads", "");
  int rc = s3_run (u->s, &c);
  struct wanted w = { .name = "UploadId", .out = u->id, .cap = sizeof u->id };
  struct s3_xml_handler h = { .text = take_wanted, .ctx = &w };
  if (rc == 0
      && (s3_xml_parse (answer.data, answer.len, "InitiateMultipartUploadResult", &h) != 0
          || !u->id[0]))
    rc = ERR_FORMAT;
  s3_call_release (&c);
  return rc;
}

static void
abort_upload (struct blob_s3 *s, const char *key, const char *id)
{
  struct s3_call c = { .op = BLOB_OP_DELETE, .method = "DELETE", .key = key, .is_quiet = true };
  s3_add_query (&c, "uploadId", id);
  int rc = s3_run (s, &c);
  if (rc != 0 && rc != ERR_MISSING)
    log_debug ("cannot abort an upload; it is swept a day later key=%s%s err=\"%s\"", s->prefix,
               key,
               err_str (rc));
  s3_call_release (&c);
}

static void
on_part_progress (void *ctx, uint64_t sent)
{
  struct upload *u = ctx;
  u->opts->progress (u->opts->ctx, u->before + sent);
}

static int
send_part (struct upload *u, size_t i)
{
  char number[16];
  snprintf (number, sizeof number, "%zu", i + 1);
  u->before = (uint64_t) i * u->part_bytes;
  size_t n = u->len - u->before < u->part_bytes ? u->len - u->before : u->part_bytes;
  struct s3_call c = { .op = BLOB_OP_PUT, .method = "PUT", .key = u->key,
                       .body = u->data + u->before,
                       .body_len = n, .progress = u->opts->progress ? on_part_progress : NULL,
                       .progress_ctx = u };
  s3_add_query (&c, "partNumber", number);
  s3_add_query (&c, "uploadId", u->id);
  int rc = s3_run (u->s, &c);
  if (rc == 0 && !c.resp.etag[0])
    rc = ERR_FORMAT;
  if (rc == 0)
    snprintf (u->etags[i], ETAG_LEN, "%s", c.resp.etag);
  s3_call_release (&c);
  return rc == ERR_MISSING ? ERR_AGAIN : rc; /* the upload is gone: begin again */
}

static int
send_parts (struct upload *u)
{
  for (size_t i = 0; i < u->part_count; i++) {
    int rc = send_part (u, i);
    for (int tries = 1; err_is_transient (rc) && tries < PART_TRIES; tries++) {
      meter_retry (u->s->blob.meter);
      clock_sleep ((NS_PER_S / 5) << tries);
      rc = http_is_cancelled (u->s->http) ? ERR_CANCELLED : send_part (u, i);
    }
    if (rc != 0)
      return rc;
  }
  return 0;
}

/* The ETag that S3 gives an object in parts: MD5 of the parts' MD5s, then their number.  False
 * where the parts' are no MD5 (some encryptions). */
static bool
expected_etag (const struct upload *u, char *out, size_t cap)
{
  AUTO_BUF all;
  uint8_t md5[16];
  char hex[33];
  buf_init (&all, PARTS_MAX * 16);
  for (size_t i = 0; i < u->part_count; i++) {
    const char *e = u->etags[i] + (u->etags[i][0] == '"');
    snprintf (hex, sizeof hex, "%.32s", e); /* without its closing quote */
    if (strspn (e, "0123456789abcdef") != 32 || !hex_decode (hex, 16, md5))
      return false;
    buf_put (&all, md5, sizeof md5);
  }
  if (buf_error (&all) || EVP_Digest (all.data, all.len, md5, NULL, EVP_md5 (), NULL) != 1)
    return false;
  hex_encode (md5, sizeof md5, hex);
  snprintf (out, cap, "%s-%zu", hex, u->part_count);
  return true;
}

/* After a completion whose answer was lost: did it happen? */
static bool
is_completed (struct upload *u)
{
  char want[64];
  struct s3_call c = { .op = BLOB_OP_HEAD, .method = "HEAD", .key = u->key };
  bool ok = expected_etag (u, want, sizeof want) && s3_run (u->s, &c) == 0
            && c.resp.content_length == (int64_t) u->len
            && strncmp (c.resp.etag + (c.resp.etag[0] == '"'), want, strlen (want)) == 0;
  s3_call_release (&c);
  return ok;
}

static int
complete_once (struct upload *u, const struct buf *body)
{
  AUTO_BUF answer;
  buf_init (&answer, ANSWER_MAX);
  struct s3_call c = { .op = BLOB_OP_PUT, .method = "POST", .key = u->key, .body = body->data,
                       .body_len = body->len, .sink = &answer };
  s3_add_query (&c, "uploadId", u->id);
  if (u->opts->if_absent && u->s->has_if_none_match)
    s3_add_header (&c, "If-None-Match", "*");
  int rc = s3_run (u->s, &c);
  /* The status comes before the work is done: an error may follow it in the body. */
  if (rc == 0 && s3_xml_error (answer.data, answer.len, &c.error)) {
    rc = s3_error_of (500, c.error.code);
    s3_tell (u->s, &c, rc);
  } else if (rc == 0) {
    char etag[ETAG_LEN] = "";
    struct wanted w = { .name = "ETag", .out = etag, .cap = sizeof etag };
    struct s3_xml_handler h = { .text = take_wanted, .ctx = &w };
    if (s3_xml_parse (answer.data, answer.len, "CompleteMultipartUploadResult", &h) != 0
        || !etag[0])
      rc = ERR_AGAIN; /* cut, or no answer at all: ask again */
  }
  u->is_doubtful |= c.resp.was_resent || err_is_transient (rc);
  s3_call_release (&c);
  return rc;
}

static int
complete_upload (struct upload *u)
{
  AUTO_BUF body;
  buf_init (&body, ANSWER_MAX * 4);
  buf_printf (&body, "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
  for (size_t i = 0; i < u->part_count; i++)
    buf_printf (&body, "<Part><PartNumber>%zu</PartNumber><ETag>%s</ETag></Part>", i + 1,
                u->etags[i]);
  buf_printf (&body, "</CompleteMultipartUpload>");
  int rc = buf_error (&body);
  if (rc != 0)
    return rc;
  rc = complete_once (u, &body);
  for (int tries = 1; err_is_transient (rc) && tries < PART_TRIES; tries++) {
    meter_retry (u->s->blob.meter);
    clock_sleep ((NS_PER_S / 5) << tries);
    rc = http_is_cancelled (u->s->http) ? ERR_CANCELLED : complete_once (u, &body);
  }
  if (u->is_doubtful && (rc == ERR_MISSING || rc == ERR_EXISTS || err_is_transient (rc))
      && is_completed (u))
    return 0;
  return rc == ERR_MISSING ? ERR_AGAIN : rc;
}

static int
run_upload (struct upload *u)
{
  if (u->opts->if_absent && u->s->has_if_none_match) {
    struct blob_info info;
    int rc = blob_head (&u->s->blob, u->key, &info);
    if (rc != ERR_MISSING)
      return rc == 0 ? ERR_EXISTS : rc;
  }
  int rc = begin_upload (u);
  if (rc != 0)
    return rc;
  rc = send_parts (u);
  if (rc == 0)
    rc = complete_upload (u);
  if (rc != 0)
    abort_upload (u->s, u->key, u->id);
  return rc;
}

int
s3_put_parts (struct blob_s3 *s, const char *key, const uint8_t *data, size_t len,
              const struct blob_put_opts *opts)
{
  size_t part = S3_PART_BYTES;
  while (len / part >= PARTS_MAX)
    part *= 2;
  struct upload u = { .s = s, .key = key, .data = data, .len = len, .part_bytes = part,
                      .part_count = (len + part - 1) / part, .opts = opts };
  u.etags = calloc (u.part_count, sizeof *u.etags);
  if (!u.etags)
    return ERR_NOMEM;
  int rc = run_upload (&u);
  free (u.etags);
  return rc;
}

struct orphans {
  struct blob_s3 *s;
  int64_t limit;
  char key[BLOB_KEY_MAX * 2 + 2], id[1024];
  int64_t begun;
  struct { char *key, *id; } v[64]; /* the rest at the next start */
  size_t n;
};

static int
orphan_text (void *ctx, const char *parent, const char *name, const char *text)
{
  struct orphans *o = ctx;
  if (strcmp (parent, "Upload") != 0)
    return 0;
  if (strcmp (name, "Key") == 0)
    snprintf (o->key, sizeof o->key, "%s", text);
  else if (strcmp (name, "UploadId") == 0)
    snprintf (o->id, sizeof o->id, "%s", text);
  else if (strcmp (name, "Initiated") == 0)
    o->begun = s3_parse_time (text);
  return 0;
}

static int
orphan_end (void *ctx, const char *parent, const char *name)
{
  struct orphans *o = ctx;
  size_t own = strlen (o->s->prefix);
  if (strcmp (name, "Upload") != 0)
    return 0;
  if (o->begun && o->begun < o->limit && o->n < 64 && strncmp (o->key, o->s->prefix, own) == 0
      && blob_key_is_valid (o->key + own)) {
    o->v[o->n].key = strdup (o->key + own);
    o->v[o->n].id = strdup (o->id);
    if (!o->v[o->n].key || !o->v[o->n].id)
      return ERR_NOMEM;
    o->n++;
  }
  o->begun = 0;
  return 0;
}

/* Best effort: who may not list uploads may still back up. */
void
s3_sweep_orphans (struct blob_s3 *s)
{
  AUTO_BUF answer;
  buf_init (&answer, ANSWER_MAX * 4);
  struct s3_call c = { .op = BLOB_OP_LIST, .method = "GET", .sink = &answer, .is_quiet = true };
  s3_add_query (&c, "uploads", "");
  s3_add_query (&c, "prefix", s->prefix);
  int64_t now;
  struct orphans o = { .s = s };
  struct s3_xml_handler h = { .text = orphan_text, .end = orphan_end, .ctx = &o };
  int rc = s3_run (s, &c);
  if (rc == 0)
    rc = blob_now (&s->blob, &now);
  if (rc == 0) {
    o.limit = now - ORPHAN_AGE;
    rc = s3_xml_parse (answer.data, answer.len, "ListMultipartUploadsResult", &h);
  }
  s3_call_release (&c);
  if (rc != 0)
    log_debug ("cannot look for abandoned uploads err=\"%s\"", err_str (rc));
  for (size_t i = 0; i < 64; i++) {
    if (i < o.n)
      abort_upload (s, o.v[i].key, o.v[i].id);
    free (o.v[i].key);
    free (o.v[i].id);
  }
  if (o.n)
    log_info ("aborted uploads that were begun more than a day ago count=%zu", o.n);
}
