/* SPDX-License-Identifier: Apache-2.0 */
/* http_priv - the pool and one transfer: shared by http.c and http_callbacks.c. */
#ifndef COFFER_BLOB_HTTP_PRIV_H
#define COFFER_BLOB_HTTP_PRIV_H

#include <curl/curl.h>
#include <stdatomic.h>

#include "base/lock.h"
#include "blob/http.h"

#define HTTP_IDLE_MAX 40 /* above the number of uploads and fetches that run at once */

/* One connection; used by one thread at a time. */
struct http_conn {
  struct http_conn *next, **prev; /* in http->idle or http->busy, guarded by http->lock */
  CURLM *multi;
  CURL *easy;
  bool is_limited; /* made while there was a limit: its socket is set up for that */
};

struct http {
  /* immutable after new */
  char *ca_file;
  int connect_timeout_ms, stall_timeout_ms;
  struct throttle_set up, down;
  struct meter *meter;
  _Atomic bool is_cancelled;
  struct lock lock; /* guards what follows */
  struct http_conn *idle, *busy;
  unsigned idle_count;
};

struct http_transfer {
  struct http *http;
  const struct http_request *req;
  struct http_response *resp;
  size_t sent, received;
  uint64_t head_sent; /* request lines and headers that went out, of every attempt */
  size_t prepaid; /* of the body that comes: paid before the request went out */
  int64_t began, moved_at; /* clock_now (); waits for the throttle pushed forward */
  int rc;                  /* why a callback ended the transfer */
  char error[CURL_ERROR_SIZE];
};

size_t http_on_send (char *p, size_t size, size_t n, void *ctx);
int http_on_seek (void *ctx, curl_off_t off, int origin);
size_t http_on_receive (char *p, size_t size, size_t n, void *ctx);
size_t http_on_header (char *p, size_t size, size_t n, void *ctx);
int http_on_event (CURL *e, curl_infotype type, char *p, size_t len, void *ctx);
int http_on_socket (void *ctx, curl_socket_t fd, curlsocktype purpose);
/* How much the kernel may take in before we read it, at the rate in force; 0: as it likes. */
size_t http_receive_window (const struct http *h);
/* Pays N bytes and moves the transfer's deadlines by the time that took. */
int http_pay (struct http_transfer *t, const struct throttle_set *set, uint64_t n);

#endif
