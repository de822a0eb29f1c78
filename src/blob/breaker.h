/* SPDX-License-Identifier: Apache-2.0 */
/* breaker - stops hammering an endpoint that does not answer.
 *
 *   state      event                                  next
 *   closed     BREAKER_TRIP failures in a row         open
 *   closed     success                                closed (the row starts again)
 *   open       `cooldown` has passed, a call comes    half-open: that call is the probe
 *   open       any other call                         refused: ERR_AGAIN, nothing is sent
 *   half-open  the probe succeeds                     closed
 *   half-open  the probe fails                        open, cooldown doubled up to the maximum
 *   half-open  any other call                         refused
 *
 * Only failures that speak of the endpoint count: ERR_AGAIN.  A store that asks for fewer requests
 * (ERR_THROTTLED) or refuses a key is alive.  Between blob_retry and the backend, so that a retry
 * against an open breaker costs nothing.
 *
 * Threads: any.  `lock` (LOCK_BREAKER) is not held during a call. */
#ifndef COFFER_BLOB_BREAKER_H
#define COFFER_BLOB_BREAKER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/lock.h"

struct blob;

enum breaker_state { BREAKER_CLOSED, BREAKER_OPEN, BREAKER_HALF_OPEN };

#define BREAKER_TRIP 8          /* six uploads and two reads failing once each is one bad moment */
#define BREAKER_COOLDOWN_MS 500 /* a restart of a gateway takes seconds: found soon after */
#define BREAKER_COOLDOWN_MAX_MS 15000

struct breaker {
  struct lock lock;
  enum breaker_state state;
  unsigned failures; /* in a row while closed */
  int64_t cooldown_ns, reopen_at;
};

void breaker_init (struct breaker *k);
void breaker_release (struct breaker *k);
/* May a call go out now?  If it returns true the caller reports the outcome with breaker_report. */
bool breaker_admit (struct breaker *k);
void breaker_report (struct breaker *k, int rc);
enum breaker_state breaker_state_of (struct breaker *k);
const char *breaker_state_name (enum breaker_state state);

/* A wrapper that asks the breaker before each call of INNER.  Takes INNER on every path. */
int blob_breaker_new (struct blob **take, struct blob **out) WARN_UNUSED;

#endif
