/* SPDX-License-Identifier: Apache-2.0 */
/* meter - the counters of one stack of blobs, for `status` and `metrics`.
 *
 * The innermost backend makes the meter and frees it; wrappers borrow it (blob->meter).  Requests
 * and bytes are counted where they happen, so retries are in them.  Bytes are those on the wire
 * (HTTP: with headers, without TLS framing) or those given to the file system.
 *
 * Threads: any.  `lock` is a leaf.  Every function takes a NULL meter and does nothing. */
#ifndef COFFER_BLOB_METER_H
#define COFFER_BLOB_METER_H

#include <stdint.h>

#include "base/err.h"
#include "blob/breaker.h"

struct blob;

enum blob_op { BLOB_OP_PUT, BLOB_OP_GET, BLOB_OP_HEAD, BLOB_OP_LIST, BLOB_OP_DELETE,
               BLOB_OP_COUNT };

struct blob_stats {
  uint64_t requests[BLOB_OP_COUNT];
  uint64_t bytes_up, bytes_down;
  uint64_t retries;
  uint64_t errors; /* failed attempts that were not an answer (missing, exists) */
  enum breaker_state breaker;
  int last_error;        /* enum err; 0: none so far */
  int64_t last_error_at; /* clock_wall () */
  char last_error_text[256];
};

/* A copy of the counters of B's stack; all zero where nobody counts. */
void blob_stats_get (struct blob *b, struct blob_stats *out);
const char *blob_op_name (enum blob_op op);

struct meter;

int meter_new (struct meter **out) WARN_UNUSED;
void meter_free (struct meter *m);
void meter_request (struct meter *m, enum blob_op op);
void meter_bytes (struct meter *m, uint64_t up, uint64_t down);
void meter_retry (struct meter *m);
void meter_breaker (struct meter *m, enum breaker_state state);
/* Remembers RC with a sentence: what was tried, on what, what happened.  No secret in it. */
void meter_error (struct meter *m, int rc, const char *fmt, ...)
  __attribute__ ((format (printf, 3, 4)));

#endif
