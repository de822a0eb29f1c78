/* SPDX-License-Identifier: Apache-2.0 */
/* delayproxy - a TCP relay that makes a server seem further away.
 *
 *   delayproxy LISTEN_PORT SERVER_PORT DELAY_MS
 *
 * Both ports are on 127.0.0.1.  Every byte that the server sends reaches the client DELAY_MS later;
 * what the client sends goes through at once; so a request and its reply take one DELAY_MS more,
 * and many connections or long replies lose no throughput.  Setting up a connection costs DELAY_MS
 * as well.
 *
 * One thread, epoll and splice: a reply waits in a pipe, not in this process.  Prints "ready" when
 * it listens; ends on SIGTERM. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

/* the most a reply may be ahead of the client; the rest waits in the server */
#define PIPE_BYTES (1 << 20)
#define MARKS 4096           /* pieces of a reply whose time has not come */

struct mark {
  int64_t due;
  size_t n;
};

/* One direction of a connection. */
struct flow {
  int from, to;
  int pipe[2];
  int64_t delay_ns;
  size_t held;        /* bytes in the pipe */
  struct mark *marks; /* a ring, oldest first */
  unsigned head, count;
  bool has_ended, is_shut;
};

struct conn {
  struct conn *next, **prev;
  struct flow up, down;
  int client, server;
  int64_t open_at; /* nothing moves before */
};

static int poller = -1, timer = -1;
static int64_t delay_ns, timer_at;
static uint16_t server_port;
static struct conn *conns;

static void
die (const char *what)
{
  perror (what);
  exit (1);
}

static int64_t
now_ns (void)
{
  struct timespec ts;
  clock_gettime (CLOCK_MONOTONIC, &ts);
  return (int64_t) ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/* One timer for all: it rings at the earliest time that anybody waits for. */
static void
ring_at (int64_t when)
{
  if (timer_at && timer_at <= when)
    return;
  timer_at = when;
  struct itimerspec t = { .it_value = { when / 1000000000, when % 1000000000 } };
  timerfd_settime (timer, TFD_TIMER_ABSTIME, &t, NULL);
}

static void
flow_init (struct flow *f, int from, int to, int64_t delay)
{
  *f = (struct flow){ .from = from, .to = to, .delay_ns = delay };
  f->marks = calloc (MARKS, sizeof *f->marks);
  if (!f->marks || pipe2 (f->pipe, O_NONBLOCK | O_CLOEXEC) != 0)
    die ("pipe");
  (void) fcntl (f->pipe[1], F_SETPIPE_SZ, PIPE_BYTES); /* smaller is only slower */
}

static void
flow_release (struct flow *f)
{
  close (f->pipe[0]);
  close (f->pipe[1]);
  free (f->marks);
}

static void
conn_free (struct conn *c)
{
  *c->prev = c->next;
  if (c->next)
    c->next->prev = c->prev;
  close (c->client);
  close (c->server);
  flow_release (&c->up);
  flow_release (&c->down);
  free (c);
}

/* Takes in what there is; false on an error of the connection. */
static bool
take_in (struct flow *f, int64_t now)
{
  while (!f->has_ended && f->count < MARKS) {
    ssize_t n = splice (f->from, NULL, f->pipe[1], NULL, PIPE_BYTES,
                        SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
    if (n < 0)
      return errno == EAGAIN || errno == EINTR;
    if (n == 0) {
      f->has_ended = true;
      break;
    }
    f->marks[(f->head + f->count++) % MARKS] = (struct mark){ .due = now + f->delay_ns,
                                                              .n = (size_t) n };
    f->held += (size_t) n;
  }
  return true;
}

/* Gives out what is due; false on an error. */
static bool
give_out (struct flow *f, int64_t now)
{
  while (f->count) {
    struct mark *m = &f->marks[f->head];
    if (m->due > now) {
      ring_at (m->due);
      return true;
    }
    ssize_t n = splice (f->pipe[0], NULL, f->to, NULL, m->n, SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
    if (n < 0)
      return errno == EAGAIN || errno == EINTR;
    m->n -= (size_t) n;
    f->held -= (size_t) n;
    if (m->n == 0) {
      f->head = (f->head + 1) % MARKS;
      f->count--;
    }
  }
  if (f->has_ended && !f->is_shut) {
    f->is_shut = true;
    shutdown (f->to, SHUT_WR);
  }
  return true;
}

/* Moves what can be moved; frees the connection at its end. */
static void
serve (struct conn *c)
{
  int64_t now = now_ns ();
  if (now < c->open_at) {
    ring_at (c->open_at);
    return;
  }
  bool ok = true;
  struct flow *flows[] = { &c->up, &c->down };
  for (int i = 0; ok && i < 2; i++) {
    size_t before;
    do { /* giving out makes room to take in */
      ok = take_in (flows[i], now);
      before = flows[i]->held;
      ok = ok && give_out (flows[i], now);
    } while (ok && flows[i]->held < before);
  }
  if (!ok || (c->up.is_shut && c->down.is_shut))
    conn_free (c);
}

static int
dial (void)
{
  int fd = socket (AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons (server_port),
                           .sin_addr.s_addr = htonl (INADDR_LOOPBACK) };
  if (fd < 0 || connect (fd, (struct sockaddr *) &a, sizeof a) != 0) {
    if (fd >= 0)
      close (fd);
    return -1;
  }
  return fd;
}

static void
watch (int fd, void *ptr)
{
  struct epoll_event e = { .events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = ptr };
  if (epoll_ctl (poller, EPOLL_CTL_ADD, fd, &e) != 0)
    die ("epoll_ctl");
}

static void
accept_one (int listener)
{
  int client = accept4 (listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (client < 0)
    return;
  int server = dial ();
  if (server < 0) {
    close (client);
    return;
  }
  fcntl (server, F_SETFL, O_NONBLOCK);
  setsockopt (client, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof (int));
  setsockopt (server, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof (int));
  struct conn *c = calloc (1, sizeof *c);
  if (!c)
    die ("calloc");
  c->client = client;
  c->server = server;
  flow_init (&c->up, client, server, 0);
  flow_init (&c->down, server, client, delay_ns);
  c->open_at = now_ns () + delay_ns;
  c->next = conns;
  c->prev = &conns;
  if (c->next)
    c->next->prev = &c->next;
  conns = c;
  watch (client, c);
  watch (server, c);
  ring_at (c->open_at);
}

static int
listen_on (uint16_t port)
{
  int fd = socket (AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons (port),
                           .sin_addr.s_addr = htonl (INADDR_LOOPBACK) };
  if (fd < 0)
    die ("socket");
  setsockopt (fd, SOL_SOCKET, SO_REUSEADDR, &(int){ 1 }, sizeof (int));
  if (bind (fd, (struct sockaddr *) &a, sizeof a) != 0 || listen (fd, 128) != 0)
    die ("listen");
  return fd;
}

static void
ring (void)
{
  uint64_t times;
  if (read (timer, &times, sizeof times) != sizeof times)
    return;
  timer_at = 0;
  for (struct conn *c = conns, *next; c; c = next) {
    next = c->next;
    serve (c);
  }
}

/* Is C still open?  Both of its sockets may be in one batch of events. */
static bool
is_open (const struct conn *c)
{
  for (const struct conn *x = conns; x; x = x->next)
    if (x == c)
      return true;
  return false;
}

int
main (int argc, char **argv)
{
  if (argc != 4) {
    fprintf (stderr, "usage: delayproxy LISTEN_PORT SERVER_PORT DELAY_MS\n");
    return 2;
  }
  int listener = listen_on ((uint16_t) strtoul (argv[1], NULL, 10));
  server_port = (uint16_t) strtoul (argv[2], NULL, 10);
  delay_ns = strtol (argv[3], NULL, 10) * 1000000L;
  poller = epoll_create1 (EPOLL_CLOEXEC);
  timer = timerfd_create (CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
  if (poller < 0 || timer < 0)
    die ("epoll");
  struct epoll_event e = { .events = EPOLLIN, .data.ptr = &listener };
  epoll_ctl (poller, EPOLL_CTL_ADD, listener, &e);
  e.data.ptr = &timer;
  epoll_ctl (poller, EPOLL_CTL_ADD, timer, &e);
  puts ("ready");
  fflush (stdout);
  for (;;) {
    struct epoll_event events[64];
    int n = epoll_wait (poller, events, 64, -1);
    for (int i = 0; i < n; i++)
      if (events[i].data.ptr == &listener)
        accept_one (listener);
      else if (events[i].data.ptr == &timer)
        ring ();
      else if (is_open (events[i].data.ptr))
        serve (events[i].data.ptr);
  }
}
