/* SPDX-License-Identifier: Apache-2.0 */
#include "canned.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

/* Reads one request into P; its length, 0 at the end of the connection. */
static size_t
read_request (int fd, char *p)
{
  size_t n = 0, want = 0;
  while (n < CANNED_REQUEST_MAX - 1) {
    ssize_t got = recv (fd, p + n, CANNED_REQUEST_MAX - 1 - n, 0);
    if (got <= 0)
      return 0;
    n += (size_t) got;
    p[n] = '\0';
    char *end = strstr (p, "\r\n\r\n");
    if (!end)
      continue;
    char *length = strcasestr (p, "\r\nContent-Length:");
    want = (size_t) (end + 4 - p) + (length && length < end ? strtoul (length + 17, NULL, 10) : 0);
    if (n >= want)
      return n;
  }
  return n;
}

static void
send_all (int fd, const char *p, size_t n)
{
  while (n) {
    ssize_t sent = send (fd, p, n, MSG_NOSIGNAL);
    if (sent <= 0)
      return;
    p += sent;
    n -= (size_t) sent;
  }
}

static void
serve_connection (struct canned *c, int fd)
{
  char *request = malloc (CANNED_REQUEST_MAX);
  while (read_request (fd, request)) {
    size_t i = c->request_count;
    if (i == c->answer_count || i == CANNED_MAX)
      break;
    c->requests[c->request_count++] = strdup (request);
    const struct canned_answer *a = &c->answers[i];
    usleep ((useconds_t) a->delay_ms * 1000);
    if (a->bytes)
      send_all (fd, a->bytes, a->len ? a->len : strlen (a->bytes));
    if (!a->bytes || a->closes)
      break;
  }
  free (request);
  close (fd);
}

static void *
serve (void *arg)
{
  struct canned *c = arg;
  for (int fd; (fd = accept (c->listener, NULL, NULL)) >= 0;)
    serve_connection (c, fd);
  return NULL;
}

void
canned_start (struct canned *c, const struct canned_answer *answers, size_t n)
{
  struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl (INADDR_LOOPBACK) };
  socklen_t len = sizeof a;
  memset (c, 0, sizeof *c);
  memcpy (c->answers, answers, n * sizeof *answers);
  c->answer_count = n;
  c->listener = socket (AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (c->listener < 0 || bind (c->listener, (struct sockaddr *) &a, sizeof a) != 0
      || listen (c->listener, 16) != 0
      || getsockname (c->listener, (struct sockaddr *) &a, &len) != 0) {
    perror ("canned");
    abort ();
  }
  c->port = ntohs (a.sin_port);
  pthread_create (&c->thread, NULL, serve, c);
}

void
canned_stop (struct canned *c)
{
  shutdown (c->listener, SHUT_RDWR);
  pthread_join (c->thread, NULL);
  close (c->listener);
}

void
canned_release (struct canned *c)
{
  for (size_t i = 0; i < c->request_count; i++)
    free (c->requests[i]);
}
