/* SPDX-License-Identifier: Apache-2.0 */
/* flowmeter - a TCP relay that writes down how many bytes went through it when.
 *
 *   flowmeter -l PORT -t HOST:PORT -o FILE
 *
 * Listens on 127.0.0.1:PORT and connects each client to HOST:PORT.  While bytes flow, FILE gets a
 * line for each 10 ms: microseconds of CLOCK_MONOTONIC at the end of the interval, bytes up (from
 * the clients) and bytes down in it.  windows.py reads that.  Bytes count in the interval in which
 * they were received here, so what is measured is what the client sent, not what the server took;
 * the relay reads as soon as it can and its own buffers are small (64 KiB a direction).
 *
 * Two threads a connection count, one writes an interval down when it is 200 ms old, so that it
 * does not matter if it comes late.  Ends on SIGTERM or SIGINT. */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define SAMPLE_NS 10000000
#define SETTLED 20 /* intervals after which nobody counts into one any more */
#define BLOCK (64 << 10)

/* A ring of intervals: 10 s, far more than SETTLED. */
#define INTERVALS 1024
struct interval {
  atomic_uint_fast64_t up, down;
};
static struct interval ring[INTERVALS];
static struct addrinfo *target;

static int64_t
now_interval (void)
{
  struct timespec t;
  clock_gettime (CLOCK_MONOTONIC, &t);
  return (t.tv_sec * 1000000000LL + t.tv_nsec) / SAMPLE_NS;
}

/* Half of a connection. */
struct pump {
  int from, to;
  bool is_up;
  atomic_int *users; /* of the pair of sockets; shared by both halves */
};

static void
die (const char *what)
{
  fprintf (stderr, "flowmeter: %s: %s\n", what, strerror (errno));
  exit (1);
}

static int
send_all (int fd, const char *p, size_t n)
{
  while (n > 0) {
    ssize_t done = send (fd, p, n, MSG_NOSIGNAL);
    if (done < 0)
      return -1;
    p += done;
    n -= (size_t) done;
  }
  return 0;
}

/* Ends at the end of the stream or an error; the peer is told by a half close.  The last of the two
 * halves closes the sockets. */
static void *
run_pump (void *arg)
{
  struct pump *p = arg;
  char *block = malloc (BLOCK);
  ssize_t n;
  while (block != NULL && (n = recv (p->from, block, BLOCK, 0)) > 0) {
    struct interval *at = &ring[now_interval () % INTERVALS];
    atomic_fetch_add (p->is_up ? &at->up : &at->down, (uint64_t) n);
    if (send_all (p->to, block, (size_t) n) != 0)
      break;
  }
  shutdown (p->to, SHUT_WR);
  shutdown (p->from, SHUT_RD);
  if (atomic_fetch_sub (p->users, 1) == 1) {
    close (p->from);
    close (p->to);
    free (p->users);
  }
  free (block);
  free (p);
  return NULL;
}

static int
start_pump (int from, int to, bool is_up, atomic_int *users)
{
  pthread_t t;
  struct pump *p = malloc (sizeof *p);
  if (p == NULL)
    return -1;
  *p = (struct pump){ .from = from, .to = to, .is_up = is_up, .users = users };
  if (pthread_create (&t, NULL, run_pump, p) != 0) {
    free (p);
    return -1;
  }
  pthread_detach (t);
  return 0;
}

static void
relay (int client)
{
  const int one = 1;
  int server = socket (target->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  atomic_int *users = malloc (sizeof *users);
  if (server < 0 || users == NULL || connect (server, target->ai_addr, target->ai_addrlen) != 0) {
    close (client);
    if (server >= 0)
      close (server);
    free (users);
    return;
  }
  setsockopt (client, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  setsockopt (server, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  atomic_init (users, 2);
  if (start_pump (client, server, true, users) != 0
      || start_pump (server, client, false, users) != 0)
    die ("cannot start a thread");
}

static void *
write_down (void *arg)
{
  FILE *f = arg;
  for (int64_t next = now_interval ();;) {
    nanosleep (&(struct timespec){ .tv_nsec = SAMPLE_NS }, NULL);
    bool wrote = false;
    for (int64_t end = now_interval () - SETTLED; next < end; next++) {
      struct interval *at = &ring[next % INTERVALS];
      uint64_t u = atomic_exchange (&at->up, 0), d = atomic_exchange (&at->down, 0);
      if (u + d == 0)
        continue;
      fprintf (f, "%lld %llu %llu\n", (long long) (next + 1) * SAMPLE_NS / 1000,
               (unsigned long long) u, (unsigned long long) d);
      wrote = true;
    }
    if (wrote)
      fflush (f);
  }
  return NULL;
}

static int
listen_on (const char *port)
{
  struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl (INADDR_LOOPBACK) };
  at.sin_port = htons ((uint16_t) strtoul (port, NULL, 10));
  const int one = 1, buffer = BLOCK;
  int fd = socket (AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0 || setsockopt (fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) != 0
      || setsockopt (fd, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer) != 0
      || bind (fd, (struct sockaddr *) &at, sizeof at) != 0 || listen (fd, 256) != 0)
    die ("cannot listen");
  return fd;
}

int
main (int argc, char **argv)
{
  const char *port = NULL, *to = NULL, *out = NULL;
  int c;
  while ((c = getopt (argc, argv, "l:t:o:")) != -1)
    switch (c) {
    case 'l': port = optarg; break;
    case 't': to = optarg; break;
    case 'o': out = optarg; break;
    default: return 2;
    }
  char *colon = to != NULL ? strrchr (to, ':') : NULL;
  if (port == NULL || colon == NULL || out == NULL) {
    fprintf (stderr, "usage: flowmeter -l PORT -t HOST:PORT -o FILE\n");
    return 2;
  }
  *colon = 0;
  const struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM };
  if (getaddrinfo (to, colon + 1, &hints, &target) != 0) {
    fprintf (stderr, "flowmeter: no such address: %s\n", to);
    return 1;
  }
  FILE *f = fopen (out, "w");
  pthread_t t;
  if (f == NULL)
    die (out);
  int fd = listen_on (port);
  if (pthread_create (&t, NULL, write_down, f) != 0)
    die ("cannot start a thread");
  for (;;) {
    int client = accept4 (fd, NULL, NULL, SOCK_CLOEXEC);
    if (client >= 0)
      relay (client);
    else if (errno != EINTR && errno != ECONNABORTED)
      die ("accept");
  }
}
