/* SPDX-License-Identifier: Apache-2.0 */
/* http - HTTP/1.1 requests over connections that are kept and reused.
 *
 * A request runs in the caller's thread on a connection of its own from the pool, and ends as soon
 * as http_cancel is called, no byte moves for stall_timeout_ms, or its time is over (30 s and what
 * its bytes take at HTTP_MIN_RATE).  Time spent waiting for the throttle counts for neither.
 *
 * Every byte pays the throttle: bodies in steps of at most HTTP_STEP before they go out or as they
 * come in, headers when they are known.  TLS 1.2 or newer, certificates and names checked;
 * redirects are not followed (credentials go to no other host).  Nothing is retried, except that a
 * request on a kept connection that turns out to be closed is sent once more (response.was_resent).
 *
 * Threads: any.  `lock` guards the lists of connections only. */
#ifndef COFFER_BLOB_HTTP_H
#define COFFER_BLOB_HTTP_H

#include <stdbool.h>

#include "base/buf.h"
#include "blob/meter.h"
#include "blob/throttle.h"

#define HTTP_STEP (32u << 10)
#define HTTP_MIN_RATE (32u << 10) /* bytes per second below which an endpoint counts as dead */
#define HTTP_CONNECT_TIMEOUT_MS 10000
#define HTTP_STALL_TIMEOUT_MS 30000
#define HTTP_ERROR_MAX (64u << 10) /* bytes kept of the body of an error */

struct http;

struct http_opts {
  const char *ca_file;          /* NULL: the system's */
  int connect_timeout_ms;       /* 0: the default */
  int stall_timeout_ms;         /* 0: the default */
  struct throttle_set up, down; /* borrowed */
  struct meter *meter;          /* borrowed; may be NULL */
};

struct http_request {
  const char *method, *url;
  const char *const *headers; /* "Name: value" */
  size_t header_count;
  const void *body; /* NULL: none */
  size_t body_len;
  void (*progress) (void *ctx, uint64_t sent);
  void *progress_ctx;
  /* Where the body of a 2xx answer goes; more than fits is ERR_LIMIT (sink) or ERR_FORMAT (out). */
  void *out;
  size_t out_len;
  struct buf *sink;
};

struct http_response {
  int status;
  int64_t content_length;            /* -1: not said */
  uint64_t range_from, range_to;     /* Content-Range, inclusive */
  uint64_t range_size;
  bool has_range, was_resent, is_xml;
  uint64_t body_len;                 /* bytes of body that came */
  int64_t date_ns, last_modified_ns; /* 0: not said */
  int64_t retry_after_ns;
  char etag[128], region[64], request_id[96], location[256];
  struct buf error_body; /* of an answer that is not 2xx; released by http_response_release */
  char failure[256];     /* why there was no answer, for a log line */
};

int http_new (const struct http_opts *opts, struct http **out) WARN_UNUSED;
void http_free (struct http *h); /* no request may be running */
DEFINE_FREEP (http);
/* All requests, also those to come, end in ERR_CANCELLED. */
void http_cancel (struct http *h);
bool http_is_cancelled (struct http *h);

/* 0 where an answer of any status came completely; else ERR_AGAIN (network, timeout), ERR_DENIED
 * (certificate), ERR_FORMAT, ERR_LIMIT, ERR_INVALID (URL), ERR_CANCELLED, ERR_NOMEM. */
int http_perform (struct http *h, const struct http_request *req,
                  struct http_response *resp) WARN_UNUSED;
void http_response_release (struct http_response *resp);

#endif
