/* SPDX-License-Identifier: Apache-2.0 */
/* sigv4 - AWS Signature Version 4 in the Authorization header.
 *
 * Everything is given decoded and is encoded here once, so what is signed and what is sent come
 * from the same function (sigv4_encode, sigv4_query).  Judged by the published vectors (tests/data/
 * signing-vectors) and by the examples of the S3 manual.
 *
 * Pure but for the hashes: no clock, no log.  A signature is not secret, the secret key is: it is
 * not kept, and what is derived from it is wiped. */
#ifndef COFFER_BLOB_SIGV4_H
#define COFFER_BLOB_SIGV4_H

#include "base/buf.h"
#include "base/err.h"

#define SIGV4_DATE_LEN 16 /* 20150830T123600Z */
#define SIGV4_UNSIGNED "UNSIGNED-PAYLOAD"

struct sigv4_pair {
  const char *name, *value;
};

struct sigv4_request {
  const char *method;
  const char *path; /* decoded, begins with '/' */
  const struct sigv4_pair *query;
  size_t query_count;
  const struct sigv4_pair *headers; /* those to sign: host and x-amz-date at least */
  size_t header_count;
  const char *payload_hash; /* hex, or SIGV4_UNSIGNED */
  bool normalize;           /* resolve "." and ".." and "//" in the path; never for S3 */
};

struct sigv4_scope {
  const char *access_key, *secret_key, *region, *service;
  const char *date; /* SIGV4_DATE_LEN characters, as in x-amz-date */
};

/* Percent-encodes all but the unreserved characters (and '/' where KEEP_SLASH). */
void sigv4_encode (struct buf *out, const char *s, bool keep_slash);
/* The canonical query string, also the one to send. */
int sigv4_query (const struct sigv4_pair *v, size_t n, struct buf *out) WARN_UNUSED;
int sigv4_canonical_request (const struct sigv4_request *r, struct buf *out) WARN_UNUSED;
int sigv4_string_to_sign (const struct sigv4_scope *s, const struct buf *canonical,
                          struct buf *out) WARN_UNUSED;
/* The value of the Authorization header, NUL-terminated (the NUL is not counted in out->len). */
int sigv4_authorize (const struct sigv4_scope *s, const struct sigv4_request *r,
                     struct buf *out) WARN_UNUSED;

/* NS since the epoch as x-amz-date. */
void sigv4_date (int64_t ns, char out[SIGV4_DATE_LEN + 1]);
int sigv4_sha256 (const void *p, size_t n, uint8_t out[32]) WARN_UNUSED;

#endif
