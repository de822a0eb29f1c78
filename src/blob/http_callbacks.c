/* SPDX-License-Identifier: Apache-2.0 */
/* What libcurl calls during a transfer. */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "blob/http_priv.h"

int
http_pay (struct http_transfer *t, const struct throttle_set *set, uint64_t n)
{
  int64_t before = clock_now ();
  int rc = throttle_set_take (set, n, &t->http->is_cancelled);
  int64_t now = clock_now ();
  t->began += now - before;
  t->moved_at = now;
  return rc;
}

size_t
http_on_send (char *p, size_t size, size_t n, void *ctx)
{
  struct http_transfer *t = ctx;
  const struct http_request *q = t->req;
  size_t len = q->body_len - t->sent;
  if (len > size * n)
    len = size * n;
  if (throttle_set_rate_of (&t->http->up))
    len = throttle_set_step (&t->http->up, len < HTTP_STEP ? len : HTTP_STEP);
  if (!len)
    return 0;
  t->rc = http_pay (t, &t->http->up, len);
  if (t->rc != 0)
    return CURL_READFUNC_ABORT;
  memcpy (p, (const char *) q->body + t->sent, len);
  t->sent += len;
  meter_bytes (t->http->meter, len, 0);
  if (q->progress)
    q->progress (q->progress_ctx, t->sent);
  return len;
}

int
http_on_seek (void *ctx, curl_off_t off, int origin)
{
  struct http_transfer *t = ctx;
  if (origin != SEEK_SET || off < 0 || (size_t) off > t->req->body_len)
    return CURL_SEEKFUNC_FAIL;
  t->sent = (size_t) off;
  t->resp->was_resent = true;
  return CURL_SEEKFUNC_OK;
}

static int
keep (struct http_transfer *t, const char *p, size_t len)
{
  const struct http_request *q = t->req;
  struct http_response *r = t->resp;
  if (r->status < 200 || r->status > 299) {
    size_t room = HTTP_ERROR_MAX - r->error_body.len;
    buf_put (&r->error_body, p, len < room ? len : room);
    return 0;
  }
  if (q->sink) {
    buf_put (q->sink, p, len);
    return buf_error (q->sink);
  }
  if (!q->out)
    return 0;
  if (t->received > q->out_len || len > q->out_len - t->received)
    return ERR_FORMAT; /* more than was asked for */
  memcpy ((char *) q->out + t->received, p, len);
  return 0;
}

size_t
http_on_receive (char *p, size_t size, size_t n, void *ctx)
{
  struct http_transfer *t = ctx;
  size_t len = size * n;
  meter_bytes (t->http->meter, 0, len);
  size_t paid = len < t->prepaid ? len : t->prepaid;
  t->prepaid -= paid;
  while (paid < len && t->rc == 0) {
    size_t step = throttle_set_step (&t->http->down, len - paid < HTTP_STEP ? len - paid
                                     : HTTP_STEP);
    t->rc = http_pay (t, &t->http->down, step);
    paid += step;
  }
  if (t->rc == 0)
    t->rc = keep (t, p, len);
  t->received += len;
  t->resp->body_len = t->received;
  return t->rc == 0 ? len : 0;
}

static bool
is_header (const char *line, size_t len, const char *name, const char **value)
{
  size_t n = strlen (name);
  if (len <= n || strncasecmp (line, name, n) != 0 || line[n] != ':')
    return false;
  for (n++; line[n] == ' ' || line[n] == '\t';)
    n++;
  *value = line + n;
  return true;
}

static int64_t
parse_time (const char *s)
{
  time_t t = curl_getdate (s, NULL);
  return t > 0 ? (int64_t) t * NS_PER_S : 0;
}

/* "bytes 0-9/1000"; an unknown size ('*') is none of our servers'. */
static void
parse_range (struct http_response *r, const char *s)
{
  unsigned long long from, to, size;
  int end = 0;
  if (sscanf (s, "bytes %20llu-%20llu/%20llu%n", &from, &to, &size, &end) == 3 && !s[end]
      && from <= to
      && to < size) {
    r->range_from = from;
    r->range_to = to;
    r->range_size = size;
    r->has_range = true;
  }
}

static int64_t
parse_retry_after (const char *s)
{
  char *end;
  long long seconds = strtoll (s, &end, 10);
  if (end != s && !*end)
    return seconds > 0 && seconds < 86400 ? seconds * NS_PER_S : 0;
  int64_t at = parse_time (s);
  return at > clock_wall () ? at - clock_wall () : 0;
}

static void
take_header (struct http_response *r, const char *line, size_t len)
{
  const char *v;
  if (is_header (line, len, "content-length", &v))
    r->content_length = strtoll (v, NULL, 10);
  else if (is_header (line, len, "content-range", &v))
    parse_range (r, v);
  else if (is_header (line, len, "content-type", &v))
    r->is_xml = strstr (v, "xml") != NULL;
  else if (is_header (line, len, "date", &v))
    r->date_ns = parse_time (v);
  else if (is_header (line, len, "last-modified", &v))
    r->last_modified_ns = parse_time (v);
  else if (is_header (line, len, "retry-after", &v))
    r->retry_after_ns = parse_retry_after (v);
  else if (is_header (line, len, "etag", &v))
    snprintf (r->etag, sizeof r->etag, "%s", v);
  else if (is_header (line, len, "x-amz-bucket-region", &v))
    snprintf (r->region, sizeof r->region, "%s", v);
  else if (is_header (line, len, "x-amz-request-id", &v))
    snprintf (r->request_id, sizeof r->request_id, "%s", v);
  else if (is_header (line, len, "location", &v))
    snprintf (r->location, sizeof r->location, "%s", v);
}

/* A new status line begins a new answer: "100 Continue", or that to a request sent again. */
static void
begin_answer (struct http_response *r, int status)
{
  bool was_resent = r->was_resent;
  struct buf body = r->error_body;
  buf_reset (&body);
  *r = (struct http_response){ .status = status, .content_length = -1, .was_resent = was_resent,
                               .error_body = body };
}

size_t
http_on_header (char *p, size_t size, size_t n, void *ctx)
{
  struct http_transfer *t = ctx;
  size_t len = size * n, used = len;
  char line[1024];
  t->moved_at = clock_now ();
  while (used && (p[used - 1] == '\r' || p[used - 1] == '\n'))
    used--;
  if (used >= sizeof line)
    return len; /* none of those that matter is that long */
  memcpy (line, p, used);
  line[used] = '\0';
  int status;
  if (strncmp (line, "HTTP/", 5) == 0) {
    if (sscanf (line, "HTTP/%*s %3d", &status) == 1)
      begin_answer (t->resp, status);
  } else
    take_header (t->resp, line, used);
  return len;
}

size_t
http_receive_window (const struct http *h)
{
  uint64_t rate = throttle_set_rate_of (&h->down);
  if (!rate)
    return 0;
  /* 5 ms of the rate in all (the kernel doubles what it is told): with 8 connections 40 ms. */
  uint64_t bytes = rate / 200;
  return bytes < (32u << 10) ? 32u << 10 : bytes > (2u << 20) ? 2u << 20 : (size_t) bytes;
}

/* What the kernel holds unsent would go out at once after the other side stood still, and exceed
 * the rate.  What is under way, which a long line needs, is not limited by this.  2 ms of the
 * rate. */
static int
unsent_max (const struct http *h)
{
  uint64_t rate = throttle_set_rate_of (&h->up), bytes = rate / 500;
  if (rate == 0)
    return 0;
  return bytes < (16u << 10) ? 16 << 10 : bytes > (1u << 20) ? 1 << 20 : (int) bytes;
}

int
http_on_socket (void *ctx, curl_socket_t fd, curlsocktype purpose)
{
  /* Both only make it smoother. */
  int size = (int) (http_receive_window (ctx) / 2), unsent = unsent_max (ctx);
  if (unsent)
    (void) setsockopt (fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent, sizeof unsent);
  if (size)
    (void) setsockopt (fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
  return CURL_SOCKOPT_OK;
}

/* libcurl tells of everything it does; only what it sent besides the body is of interest. */
int
http_on_event (CURL *e, curl_infotype type, char *p, size_t len, void *ctx)
{
  (void) e;
  (void) p;
  struct http_transfer *t = ctx;
  if (type == CURLINFO_HEADER_OUT)
    t->head_sent += len;
  return 0;
}
