/* SPDX-License-Identifier: Apache-2.0 */
/* ListObjectsV2 and DeleteObjects. */
#define LOG_MODULE "s3"
#include "base/openssl.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "blob/s3_priv.h"

#define PAGE 1000
/* 1000 entries of the longest keys, each byte an entity, and names around */
#define PAGE_BYTES_MAX (4u << 20)
#define TOKEN_MAX 2048

int64_t
s3_parse_time (const char *s)
{
  struct tm tm = { 0 };
  return strptime (s, "%Y-%m-%dT%H:%M:%S", &tm) ? (int64_t) timegm (&tm) * NS_PER_S : 0;
}

struct item {
  char *key;
  uint64_t size;
  int64_t mtime;
  bool is_prefix;
};

struct page {
  struct item *v;
  size_t n;
  struct item next; /* being read */
  bool is_truncated;
  char token[TOKEN_MAX];
};

static void
page_release (struct page *p)
{
  for (size_t i = 0; i < p->n; i++)
    free (p->v[i].key);
  free (p->v);
  free (p->next.key);
  *p = (struct page){ 0 };
}

static int
page_text (void *ctx, const char *parent, const char *name, const char *text)
{
  struct page *p = ctx;
  bool is_object = strcmp (parent, "Contents") == 0,
    is_prefix = strcmp (parent, "CommonPrefixes") == 0;
  if ((is_object && strcmp (name, "Key") == 0) || (is_prefix && strcmp (name, "Prefix") == 0)) {
    free (p->next.key);
    p->next.key = strdup (text);
    return p->next.key ? 0 : ERR_NOMEM;
  }
  if (is_object && strcmp (name, "Size") == 0)
    p->next.size = strtoull (text, NULL, 10);
  else if (is_object && strcmp (name, "LastModified") == 0)
    p->next.mtime = s3_parse_time (text);
  else if (strcmp (parent, "ListBucketResult") != 0)
    return 0;
  else if (strcmp (name, "IsTruncated") == 0)
    p->is_truncated = strcmp (text, "true") == 0;
  else if (strcmp (name, "NextContinuationToken") == 0) {
    if (strlen (text) >= sizeof p->token)
      return ERR_FORMAT;
    snprintf (p->token, sizeof p->token, "%s", text);
  }
  return 0;
}

static int
page_end (void *ctx, const char *parent, const char *name)
{
  struct page *p = ctx;
  bool is_prefix = strcmp (name, "CommonPrefixes") == 0;
  if (strcmp (parent, "ListBucketResult") != 0 || (!is_prefix && strcmp (name, "Contents") != 0))
    return 0;
  if (!p->next.key || p->n == PAGE)
    return ERR_FORMAT;
  p->next.is_prefix = is_prefix;
  p->v[p->n++] = p->next;
  p->next = (struct item){ 0 };
  return 0;
}

static int
by_key (const void *a, const void *b)
{
  return strcmp (((const struct item *) a)->key, ((const struct item *) b)->key);
}

struct listing {
  struct blob_s3 *s;
  const char *prefix; /* with the store's */
  const char *start_after; /* the caller's */
  bool is_delimited;
  char last[BLOB_KEY_MAX * 2 + 2]; /* full key of the last entry given or passed over */
  blob_list_fn fn;
  void *ctx;
};

static int
fetch_page (struct listing *l, const char *token, struct page *out)
{
  AUTO_BUF body;
  AUTO_STR after = NULL;
  buf_init (&body, PAGE_BYTES_MAX);
  struct s3_call c = { .op = BLOB_OP_LIST, .method = "GET", .sink = &body };
  s3_add_query (&c, "list-type", "2");
  s3_add_query (&c, "prefix", l->prefix);
  if (l->is_delimited)
    s3_add_query (&c, "delimiter", "/");
  if (token[0])
    s3_add_query (&c, "continuation-token", token);
  else if (l->start_after[0]) {
    if (asprintf (&after, "%s%s", l->s->prefix, l->start_after) < 0) {
      after = NULL;
      return ERR_NOMEM;
    }
    s3_add_query (&c, "start-after", after);
  }
  out->v = calloc (PAGE, sizeof *out->v);
  if (!out->v)
    return ERR_NOMEM;
  int rc = s3_run (l->s, &c);
  struct s3_xml_handler h = { .text = page_text, .end = page_end, .ctx = out };
  if (rc == 0 && (c.resp.status != 200
                  || s3_xml_parse (body.data, body.len, "ListBucketResult", &h) != 0)) {
    rc = ERR_FORMAT;
    snprintf (c.resp.failure, sizeof c.resp.failure, "a listing that cannot be read");
    s3_tell (l->s, &c, rc);
  }
  s3_call_release (&c);
  return rc;
}

/* Gives out one entry; its order and prefix are the store's promise, which is checked. */
static int
give (struct listing *l, const struct item *i, bool is_first_page)
{
  size_t own = strlen (l->s->prefix);
  int order = strcmp (i->key, l->last);
  if (strncmp (i->key, l->prefix, strlen (l->prefix)) != 0 || strlen (i->key) >= sizeof l->last) {
    log_err ("the store listed a key that was not asked for key=%s prefix=%s", i->key, l->prefix);
    return ERR_FORMAT;
  }
  if (order <= 0 && !i->is_prefix && !is_first_page) {
    log_err ("the store listed keys twice or out of order key=%s after=%s", i->key, l->last);
    return ERR_FORMAT;
  }
  if (order <= 0)
    return 0; /* a prefix that spans pages, or what start-after should have left out */
  snprintf (l->last, sizeof l->last, "%s", i->key);
  struct blob_entry e = { .key = i->key + own, .size = i->size, .mtime = i->mtime,
                          .is_prefix = i->is_prefix };
  if (!e.key[0] || (!i->is_prefix && e.key[strlen (e.key) - 1] == '/'))
    return 0; /* a "directory" that some tool made: not an object of ours */
  return l->fn (l->ctx, &e);
}

int
s3_list (struct blob *b, const char *prefix, const char *start_after, bool is_delimited,
         blob_list_fn fn, void *ctx)
{
  struct blob_s3 *s = (struct blob_s3 *) b;
  AUTO_STR full = NULL;
  if (strlen (start_after) > BLOB_KEY_MAX + 1)
    return ERR_INVALID;
  if (asprintf (&full, "%s%s", s->prefix, prefix) < 0) {
    full = NULL;
    return ERR_NOMEM;
  }
  struct listing l = { .s = s, .prefix = full, .start_after = start_after,
                       .is_delimited = is_delimited,
                       .fn = fn, .ctx = ctx };
  if (start_after[0])
    snprintf (l.last, sizeof l.last, "%s%s", s->prefix, start_after);
  char token[TOKEN_MAX] = "";
  for (bool is_first = true;; is_first = false) {
    struct page p = { 0 };
    int rc = fetch_page (&l, token, &p);
    if (rc == 0 && p.n)
      qsort (p.v, p.n, sizeof *p.v, by_key); /* objects and prefixes come apart */
    for (size_t i = 0; rc == 0 && i < p.n; i++)
      rc = give (&l, &p.v[i], is_first);
    bool is_last = !p.is_truncated;
    bool is_stuck = !is_last && (!p.token[0] || strcmp (p.token, token) == 0);
    snprintf (token, sizeof token, "%s", p.token);
    page_release (&p);
    if (rc != 0 || is_last)
      return rc;
    if (is_stuck) {
      log_err ("the store's listing does not go on prefix=%s", full);
      return ERR_FORMAT;
    }
  }
}

/* Deletes of one key */
static int
delete_one (struct blob_s3 *s, const char *key)
{
  struct s3_call c = { .op = BLOB_OP_DELETE, .method = "DELETE", .key = key };
  int rc = s3_run (s, &c);
  if (rc == ERR_MISSING && strcmp (c.error.code, "NoSuchBucket") != 0)
    rc = 0;
  s3_call_release (&c);
  return rc;
}

static void
put_escaped (struct buf *b, const char *s)
{
  for (; *s; s++)
    switch (*s) {
    case '&': buf_put (b, "&amp;", 5); break;
    case '<': buf_put (b, "&lt;", 4); break;
    case '>': buf_put (b, "&gt;", 4); break;
    case '"': buf_put (b, "&quot;", 6); break;
    default: buf_put_u8 (b, (uint8_t) *s);
    }
}

struct batch_result {
  struct blob_s3 *s;
  char key[BLOB_KEY_MAX * 2 + 2];
  struct s3_error error;
  int rc; /* of the first that failed; what retrying mends comes last */
};

static int
batch_text (void *ctx, const char *parent, const char *name, const char *text)
{
  struct batch_result *r = ctx;
  if (strcmp (parent, "Error") != 0)
    return 0;
  if (strcmp (name, "Key") == 0)
    snprintf (r->key, sizeof r->key, "%s", text);
  else if (strcmp (name, "Code") == 0)
    snprintf (r->error.code, sizeof r->error.code, "%s", text);
  else if (strcmp (name, "Message") == 0)
    snprintf (r->error.message, sizeof r->error.message, "%s", text);
  return 0;
}

static int
batch_end (void *ctx, const char *parent, const char *name)
{
  struct batch_result *r = ctx;
  if (strcmp (name, "Error") != 0)
    return 0;
  int rc = s3_error_of (400, r->error.code);
  if (strcmp (r->error.code, "NoSuchKey") != 0 && (r->rc == 0 || !err_is_transient (rc))) {
    r->rc = rc;
    struct s3_call c = { .op = BLOB_OP_DELETE, .error = r->error, .resp.status = 200 };
    size_t own = strlen (r->s->prefix);
    c.key = strlen (r->key) > own ? r->key + own : r->key;
    s3_tell (r->s, &c, rc);
  }
  r->error = (struct s3_error){ 0 };
  return 0;
}

static bool
base64_md5 (const struct buf *b, char out[25])
{
  uint8_t md5[16];
  return EVP_Digest (b->data, b->len, md5, NULL, EVP_md5 (), NULL) == 1
         && EVP_EncodeBlock ((uint8_t *) out, md5, 16) == 24;
}

static int
delete_batch (struct blob_s3 *s, const char *const *keys, size_t n)
{
  AUTO_BUF body;
  AUTO_BUF answer;
  char md5[25];
  buf_init (&body, PAGE_BYTES_MAX);
  buf_init (&answer, PAGE_BYTES_MAX);
  buf_printf (&body, "<Delete "
              "xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Quiet>true</Quiet>");
  for (size_t i = 0; i < n; i++) {
    buf_printf (&body, "<Object><Key>");
    put_escaped (&body, s->prefix);
    put_escaped (&body, keys[i]);
    buf_printf (&body, "</Key></Object>");
  }
  buf_printf (&body, "</Delete>");
  if (buf_error (&body))
    return buf_error (&body);
  if (!base64_md5 (&body, md5))
    return ERR_IO; /* a library without MD5: the caller falls back to single deletes */
  struct s3_call c = { .op = BLOB_OP_DELETE, .method = "POST", .body = body.data,
                       .body_len = body.len,
                       .sink = &answer, .is_quiet = true };
  s3_add_query (&c, "delete", "");
  s3_add_header (&c, "Content-MD5", md5);
  int rc = s3_run (s, &c);
  c.is_quiet = false;
  struct batch_result r = { .s = s };
  struct s3_xml_handler h = { .text = batch_text, .end = batch_end, .ctx = &r };
  if (rc == 0 && s3_xml_parse (answer.data, answer.len, NULL, &h) != 0)
    rc = ERR_FORMAT;
  if (rc != 0 && rc != ERR_IO)
    s3_tell (s, &c, rc);
  s3_call_release (&c);
  return rc != 0 ? rc : r.rc;
}

int
s3_delete (struct blob *b, const char *const *keys, size_t n)
{
  struct blob_s3 *s = (struct blob_s3 *) b;
  for (size_t done = 0; done < n;) {
    size_t some = n - done < PAGE ? n - done : PAGE;
    int rc = ERR_IO;
    if (some > 1 && !s->has_no_batch) {
      rc = delete_batch (s, keys + done, some);
      if (rc == ERR_IO && !atomic_exchange (&s->has_no_batch, true))
        log_info ("the store has no batch delete; deleting one by one endpoint=%s", s->origin);
    }
    if (rc == ERR_IO) {
      rc = 0;
      for (size_t i = 0; rc == 0 && i < some; i++)
        rc = delete_one (s, keys[done + i]);
    }
    if (rc != 0)
      return rc;
    done += some;
  }
  return 0;
}
