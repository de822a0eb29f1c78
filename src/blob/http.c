/* SPDX-License-Identifier: Apache-2.0 */
#define LOG_MODULE "http"
#include "blob/http.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "blob/http_priv.h"

#define POLL_MS 500                 /* how often a silent transfer looks at its deadlines */
#define GRACE_NS (30 * NS_PER_S)    /* of the total time, for what is not bytes */
/* what may still be on its way when all is handed to the kernel */
#define KERNEL_BUFFER_MAX (4u << 20)

static void
init_curl (void)
{
  curl_global_init (CURL_GLOBAL_DEFAULT);
}

int
http_new (const struct http_opts *opts, struct http **out)
{
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once (&once, init_curl);
  struct http *h = calloc (1, sizeof *h);
  if (!h)
    return ERR_NOMEM;
  lock_init (&h->lock, LOCK_BLOB, "http");
  h->connect_timeout_ms = opts->connect_timeout_ms ? opts->connect_timeout_ms
    : HTTP_CONNECT_TIMEOUT_MS;
  h->stall_timeout_ms = opts->stall_timeout_ms ? opts->stall_timeout_ms : HTTP_STALL_TIMEOUT_MS;
  h->up = opts->up;
  h->down = opts->down;
  h->meter = opts->meter;
  if (opts->ca_file && !(h->ca_file = strdup (opts->ca_file))) {
    http_free (h);
    return ERR_NOMEM;
  }
  *out = h;
  return 0;
}

static void
conn_free (struct http_conn *c)
{
  if (c->easy)
    curl_easy_cleanup (c->easy);
  if (c->multi)
    curl_multi_cleanup (c->multi);
  free (c);
}

void
http_free (struct http *h)
{
  if (!h)
    return;
  while (h->idle) {
    struct http_conn *c = h->idle;
    h->idle = c->next;
    conn_free (c);
  }
  lock_destroy (&h->lock);
  free (h->ca_file);
  free (h);
}

void
http_cancel (struct http *h)
{
  h->is_cancelled = true;
  LOCK_SCOPE (&h->lock);
  for (struct http_conn *c = h->busy; c; c = c->next)
    curl_multi_wakeup (c->multi);
}

bool
http_is_cancelled (struct http *h)
{
  return h->is_cancelled;
}

static void
link_conn (struct http_conn **list, struct http_conn *c)
{
  c->next = *list;
  c->prev = list;
  if (c->next)
    c->next->prev = &c->next;
  *list = c;
}

static void
unlink_conn (struct http_conn *c)
{
  *c->prev = c->next;
  if (c->next)
    c->next->prev = c->prev;
}

/* The connection used last, which is the likeliest to be still open; or a new one. */
static struct http_conn *
borrow_conn (struct http *h)
{
  {
    LOCK_SCOPE (&h->lock);
    struct http_conn *c = h->idle;
    if (c) {
      unlink_conn (c);
      h->idle_count--;
      link_conn (&h->busy, c);
      return c;
    }
  }
  struct http_conn *c = calloc (1, sizeof *c);
  if (!c)
    return NULL;
  c->multi = curl_multi_init ();
  c->easy = curl_easy_init ();
  if (!c->multi || !c->easy) {
    conn_free (c);
    return NULL;
  }
  LOCK_SCOPE (&h->lock);
  link_conn (&h->busy, c);
  return c;
}

static void
return_conn (struct http *h, struct http_conn *c)
{
  bool is_kept = false;
  {
    LOCK_SCOPE (&h->lock);
    unlink_conn (c);
    if (h->idle_count < HTTP_IDLE_MAX) {
      link_conn (&h->idle, c);
      h->idle_count++;
      is_kept = true;
    }
  }
  if (!is_kept)
    conn_free (c);
}

static void
set_method (CURL *e, const struct http_request *q)
{
  if (strcmp (q->method, "HEAD") == 0)
    curl_easy_setopt (e, CURLOPT_NOBODY, 1L);
  else if (q->body && strcmp (q->method, "PUT") == 0) {
    curl_easy_setopt (e, CURLOPT_UPLOAD, 1L);
    curl_easy_setopt (e, CURLOPT_INFILESIZE_LARGE, (curl_off_t) q->body_len);
  } else if (q->body) {
    curl_easy_setopt (e, CURLOPT_POST, 1L);
    curl_easy_setopt (e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t) q->body_len);
    curl_easy_setopt (e, CURLOPT_CUSTOMREQUEST, q->method);
  } else if (strcmp (q->method, "GET") == 0)
    curl_easy_setopt (e, CURLOPT_HTTPGET, 1L);
  else
    curl_easy_setopt (e, CURLOPT_CUSTOMREQUEST, q->method);
}

static void
set_options (struct http_conn *c, struct http_transfer *t, struct curl_slist *headers)
{
  CURL *e = c->easy;
  struct http *h = t->http;
  bool is_tls = strncmp (t->req->url, "https:", 6) == 0;
  bool is_limited = throttle_set_rate_of (&h->up) || throttle_set_rate_of (&h->down);
  curl_easy_reset (e); /* keeps the connections */
  set_method (e, t->req);
  curl_easy_setopt (e, CURLOPT_URL, t->req->url);
  curl_easy_setopt (e, CURLOPT_HTTPHEADER, headers);
  curl_easy_setopt (e, CURLOPT_PATH_AS_IS, 1L);
  curl_easy_setopt (e, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt (e, CURLOPT_NOPROGRESS, 1L);
  curl_easy_setopt (e, CURLOPT_ERRORBUFFER, t->error);
  curl_easy_setopt (e, CURLOPT_HTTP_VERSION, (long) CURL_HTTP_VERSION_1_1);
  curl_easy_setopt (e, CURLOPT_PROTOCOLS_STR, is_tls ? "https" : "http");
  curl_easy_setopt (e, CURLOPT_FOLLOWLOCATION, 0L);
  curl_easy_setopt (e, CURLOPT_SSLVERSION, (long) CURL_SSLVERSION_TLSv1_2);
  if (h->ca_file)
    curl_easy_setopt (e, CURLOPT_CAINFO, h->ca_file);
  curl_easy_setopt (e, CURLOPT_CONNECTTIMEOUT_MS, (long) h->connect_timeout_ms);
  curl_easy_setopt (e, CURLOPT_TCP_KEEPALIVE, 1L);
  curl_easy_setopt (e, CURLOPT_USERAGENT, "coffer/" PACKAGE_VERSION);
  curl_easy_setopt (e, CURLOPT_BUFFERSIZE, is_limited ? (long) HTTP_STEP : 128L << 10);
  curl_easy_setopt (e, CURLOPT_UPLOAD_BUFFERSIZE, is_limited ? (long) HTTP_STEP : 128L << 10);
  if (is_limited && !c->is_limited)
    curl_easy_setopt (e, CURLOPT_FRESH_CONNECT, 1L);
  c->is_limited |= is_limited;
  curl_easy_setopt (e, CURLOPT_SOCKOPTFUNCTION, http_on_socket);
  curl_easy_setopt (e, CURLOPT_SOCKOPTDATA, h);
  curl_easy_setopt (e, CURLOPT_READFUNCTION, http_on_send);
  curl_easy_setopt (e, CURLOPT_READDATA, t);
  curl_easy_setopt (e, CURLOPT_SEEKFUNCTION, http_on_seek);
  curl_easy_setopt (e, CURLOPT_SEEKDATA, t);
  curl_easy_setopt (e, CURLOPT_WRITEFUNCTION, http_on_receive);
  curl_easy_setopt (e, CURLOPT_WRITEDATA, t);
  curl_easy_setopt (e, CURLOPT_HEADERFUNCTION, http_on_header);
  curl_easy_setopt (e, CURLOPT_HEADERDATA, t);
  curl_easy_setopt (e, CURLOPT_DEBUGFUNCTION, http_on_event);
  curl_easy_setopt (e, CURLOPT_DEBUGDATA, t);
  curl_easy_setopt (e, CURLOPT_VERBOSE, 1L); /* http_on_event is called; nothing is printed */
}

static int
make_headers (const struct http_request *q, struct curl_slist **out)
{
  struct curl_slist *l = curl_slist_append (NULL, "Expect:"); /* one round trip less */
  for (size_t i = 0; l && i < q->header_count; i++) {
    struct curl_slist *more = curl_slist_append (l, q->headers[i]);
    if (!more)
      curl_slist_free_all (l);
    l = more;
  }
  *out = l;
  return l ? 0 : ERR_NOMEM;
}

/* Why the transfer may not go on; 0: it may. */
static int
check_time (const struct http_transfer *t)
{
  if (t->http->is_cancelled)
    return ERR_CANCELLED;
  int64_t now = clock_now ();
  uint64_t queued = t->sent < KERNEL_BUFFER_MAX ? t->sent : KERNEL_BUFFER_MAX;
  int64_t stall = t->http->stall_timeout_ms * NS_PER_MS
                  + (t->received ? 0 : (int64_t) queued * NS_PER_S / HTTP_MIN_RATE);
  int64_t bytes = (int64_t) (t->req->body_len + t->received);
  int64_t total = GRACE_NS + t->http->stall_timeout_ms * NS_PER_MS;
  total += bytes / HTTP_MIN_RATE * NS_PER_S;
  if (now - t->moved_at > stall || now - t->began > total)
    return ERR_AGAIN;
  return 0;
}

static int
rc_of_curl (struct http_transfer *t, CURLcode code)
{
  if (t->rc != 0)
    return t->rc;
  switch (code) {
  case CURLE_OK: return 0;
  case CURLE_OUT_OF_MEMORY: return ERR_NOMEM;
  case CURLE_URL_MALFORMAT: return ERR_INVALID;
  case CURLE_PEER_FAILED_VERIFICATION:
  case CURLE_SSL_CACERT_BADFILE:
  case CURLE_SSL_CERTPROBLEM: return ERR_DENIED;
  default: return ERR_AGAIN;
  }
}

/* What the kernel will take in before anybody reads is paid before it is asked for. */
static int
prepay (struct http_transfer *t)
{
  size_t n = http_receive_window (t->http);
  n = n < t->req->out_len ? n : t->req->out_len;
  while (t->prepaid < n) {
    size_t step = throttle_set_step (&t->http->down, n - t->prepaid);
    int rc = http_pay (t, &t->http->down, step);
    if (rc != 0)
      return rc;
    t->prepaid += step;
  }
  return 0;
}

static int
run_transfer (struct http_conn *c, struct http_transfer *t)
{
  int running = 1;
  int rc = prepay (t);
  if (rc != 0)
    return rc;
  if (curl_multi_add_handle (c->multi, c->easy) != CURLM_OK)
    return ERR_NOMEM;
  while (rc == 0) {
    if (curl_multi_perform (c->multi, &running) != CURLM_OK)
      rc = ERR_IO;
    if (rc != 0 || !running)
      break;
    rc = check_time (t);
    if (rc == 0)
      curl_multi_poll (c->multi, NULL, 0, POLL_MS, NULL);
  }
  CURLcode code = CURLE_OK;
  for (CURLMsg *m; (m = curl_multi_info_read (c->multi, &(int){ 0 }));)
    if (m->msg == CURLMSG_DONE)
      code = m->data.result;
  /* CURLINFO_REQUEST_SIZE is of no use: since libcurl 8.7 it counts the body too. */
  long header_bytes = 0;
  curl_easy_getinfo (c->easy, CURLINFO_HEADER_SIZE, &header_bytes);
  curl_multi_remove_handle (c->multi, c->easy);
  meter_bytes (t->http->meter, t->head_sent, (uint64_t) header_bytes);
  if (rc == ERR_AGAIN)
    snprintf (t->resp->failure, sizeof t->resp->failure, "no answer within the time limit");
  else if (rc == 0 && code != CURLE_OK)
    snprintf (t->resp->failure, sizeof t->resp->failure, "%s",
              t->error[0] ? t->error : curl_easy_strerror (code));
  if (rc == 0)
    rc = rc_of_curl (t, code);
  /* Headers pay as well; what is cancelled here has been answered already. */
  if (rc == 0 && http_pay (t, &t->http->up, t->head_sent) == 0)
    (void) !http_pay (t, &t->http->down, (uint64_t) header_bytes);
  return rc;
}

int
http_perform (struct http *h, const struct http_request *req, struct http_response *resp)
{
  *resp = (struct http_response){ .content_length = -1 };
  buf_init (&resp->error_body, HTTP_ERROR_MAX + 1);
  if (h->is_cancelled)
    return ERR_CANCELLED;
  struct curl_slist *headers;
  int rc = make_headers (req, &headers);
  if (rc != 0)
    return rc;
  struct http_conn *c = borrow_conn (h);
  if (!c) {
    curl_slist_free_all (headers);
    return ERR_NOMEM;
  }
  int64_t now = clock_now ();
  struct http_transfer t = { .http = h, .req = req, .resp = resp, .began = now, .moved_at = now };
  set_options (c, &t, headers);
  rc = run_transfer (c, &t);
  if (rc == 0 && resp->status == 0) {
    snprintf (resp->failure, sizeof resp->failure, "an answer without a status");
    rc = ERR_FORMAT;
  }
  curl_slist_free_all (headers);
  return_conn (h, c);
  log_debug ("request method=%s url=%s status=%d rc=%d sent=%zu received=%zu ms=%lld", req->method,
             req->url, resp->status, rc, t.sent, t.received,
             (long long) ((clock_now () - now) / NS_PER_MS));
  return rc;
}

void
http_response_release (struct http_response *resp)
{
  buf_release (&resp->error_body);
}
