/* SPDX-License-Identifier: Apache-2.0 */
/* s3_priv - one request to S3, and what the files of the backend share. */
#ifndef COFFER_BLOB_S3_PRIV_H
#define COFFER_BLOB_S3_PRIV_H

#include <stdatomic.h>

#include "base/lock.h"
#include "blob/blob.h"
#include "blob/creds.h"
#include "blob/http.h"
#include "blob/meter.h"
#include "blob/s3_xml.h"
#include "blob/sigv4.h"

#define S3_PAIRS_MAX 8

struct blob_s3 {
  struct blob blob;
  /* immutable after open */
  struct http *http;
  struct creds *creds;
  char *bucket, *prefix; /* prefix: "" or ends in '/' */
  char *region;
  char *origin;    /* "https://host:port", with the bucket where it is in the host name */
  char *host;      /* what follows "://" in it */
  char *path_base; /* "/bucket" or "" */
  bool has_if_none_match, is_unsigned;
  /* any thread */
  _Atomic int64_t skew_ns;   /* added to our clock when signing */
  _Atomic int64_t date_ns, date_at; /* last Date header, and clock_now () when it came */
  _Atomic bool is_swept, has_no_batch;
  _Atomic int64_t logged_at;
};

/* In: what to ask.  Out: resp and error, also on failure; released by s3_call_release. */
struct s3_call {
  enum blob_op op;
  const char *method;
  const char *key; /* NULL: the bucket */
  /* headers: besides those of every call */
  struct sigv4_pair query[S3_PAIRS_MAX], headers[S3_PAIRS_MAX];
  size_t query_count, header_count;
  const void *body;
  size_t body_len;
  const uint8_t *sha256; /* of the body where known */
  void (*progress) (void *ctx, uint64_t sent);
  void *progress_ctx;
  void *out;
  size_t out_len;
  struct buf *sink;
  bool is_quiet; /* failures are the caller's to tell */

  struct http_response resp;
  struct s3_error error;
};

/* 0 for a 2xx answer; else the error of blob.h that it stands for. */
int s3_run (struct blob_s3 *s, struct s3_call *c) WARN_UNUSED;
void s3_call_release (struct s3_call *c);
void s3_add_query (struct s3_call *c, const char *name, const char *value);
void s3_add_header (struct s3_call *c, const char *name, const char *value);
/* The error for an S3 code (may be "") and an HTTP status. */
int s3_error_of (int status, const char *code);
/* Logs and remembers a failed call. */
void s3_tell (struct blob_s3 *s, const struct s3_call *c, int rc);

int s3_put_parts (struct blob_s3 *s, const char *key, const uint8_t *data, size_t len,
                  const struct blob_put_opts *opts);
void s3_sweep_orphans (struct blob_s3 *s);
int s3_list (struct blob *b, const char *prefix, const char *start_after, bool is_delimited,
             blob_list_fn fn, void *ctx);
int s3_delete (struct blob *b, const char *const *keys, size_t n);
/* "2009-10-12T17:50:30.000Z" as ns; 0 where it is no time. */
int64_t s3_parse_time (const char *s);

#endif
