/* SPDX-License-Identifier: Apache-2.0 */
/* canned - an HTTP server of a few canned answers, for tests of clients.
 *
 * Each request that arrives gets the next answer, byte for byte; the requests are kept for the test
 * to look at.  Answers are written raw: a test can send a wrong length, half an answer, or none at
 * all. After an answer whose `closes` is set the connection is closed.  One request at a time,
 * on any number of connections one after the other. */
#ifndef COFFER_TESTS_CANNED_H
#define COFFER_TESTS_CANNED_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

#define CANNED_MAX 32
#define CANNED_REQUEST_MAX 65536

struct canned_answer {
  const char *bytes; /* NULL: no answer, the connection is closed */
  size_t len;        /* 0: strlen */
  int delay_ms;      /* before the answer */
  bool closes;
};

struct canned {
  pthread_t thread;
  int listener, port;
  struct canned_answer answers[CANNED_MAX];
  size_t answer_count;
  char *requests[CANNED_MAX]; /* head and body, NUL-terminated */
  size_t request_count;
};

/* ANSWERS are copied, the bytes they point at are not. */
void canned_start (struct canned *c, const struct canned_answer *answers, size_t n);
/* Waits for the server's end; afterwards the requests can be read. */
void canned_stop (struct canned *c);
void canned_release (struct canned *c);

#endif
