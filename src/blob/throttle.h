/* SPDX-License-Identifier: Apache-2.0 */
/* throttle - token bucket in front of a blob backend.
 *
 * One throttle limits one resource (bytes up, bytes down) for the whole process.  Tokens drip in at
 * `rate` per second up to `burst`; a caller takes N and sleeps until it has them.  Time is
 * CLOCK_MONOTONIC read through clock_now(), so tests drive it with clock_fake().
 *
 * Invariants (throttle_check, always compiled in):
 *   I1  0 <= level <= burst, 0 <= reserve <= reserve_max.
 *   I2  tokens granted in any window of T seconds are at most burst + reserve_max + rate * T, and
 *       at most burst + 13/12 * rate * T.  (The promise to the user.)
 *   I3  waiters are served in arrival order; a large N cannot starve.  (A queue, not a broadcast.)
 *   I4  rate == 0 means unlimited: take returns at once, level is unused.
 *
 * The default burst is what drips in during 12 ms.  What drips in while the bucket is full (because
 * somebody woke late on a busy machine) goes into a reserve of at most 100 ms, from which a twelfth
 * of the rate is added: so the mean is kept, and no window of 100 ms exceeds 12 + 108.3 = 120.3 %
 * of the rate.  The rest up to 125 % is for what happens to the bytes after they were granted.
 * With a burst that the caller sets there is no reserve.
 *
 * Arithmetic is 64-bit token-nanoseconds, never floating point: a limit must not drift after a
 * month.  burst <= 2^33, so burst * 10^9 fits an int64_t; larger is ERR_LIMIT at throttle_new.
 * N > burst is legal and is granted as several bursts.
 *
 * Threads: any.  `lock` is a leaf (LOCK_THROTTLE): nothing is called and nothing logged under it.
 * Does NOT: retry, reorder, or know what a request is.  Blocking is its only side effect. */
#ifndef COFFER_BLOB_THROTTLE_H
#define COFFER_BLOB_THROTTLE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/err.h"

#define THROTTLE_BURST_MAX (1ull << 33)
#define THROTTLE_RATE_MAX (1ull << 38) /* 12 ms of it are below THROTTLE_BURST_MAX */

struct throttle;

/* RATE in tokens per second (0: unlimited).  BURST 0: the default, which follows the rate. */
int throttle_new (uint64_t rate, uint64_t burst, struct throttle **out) WARN_UNUSED;
void throttle_free (struct throttle *t); /* nobody may be waiting */
DEFINE_FREEP (throttle);

/* Take N tokens, sleeping as needed.  Returns 0, or ERR_CANCELLED soon after throttle_cancel was
 * called or *CANCELLED (may be NULL) became true; tokens taken so far are given back.  Signals do
 * not end the wait. */
int throttle_take (struct throttle *t, uint64_t n, const _Atomic bool *cancelled) WARN_UNUSED;

/* All waits, and all takes to come, end in ERR_CANCELLED. */
void throttle_cancel (struct throttle *t);
/* A new rate, for those who wait as well (within 50 ms).  Above THROTTLE_RATE_MAX it is cut to
 * that. */
void throttle_set_rate (struct throttle *t, uint64_t rate);
uint64_t throttle_rate (struct throttle *t);
uint64_t throttle_granted (struct throttle *t);   /* tokens in all, for metrics */
uint64_t throttle_waited_ns (struct throttle *t); /* sum over all takes, for metrics */

/* The buckets that one transfer pays into: the region's and the host's.  Either may be NULL. */
#define THROTTLE_SET_MAX 2
struct throttle_set {
  struct throttle *t[THROTTLE_SET_MAX];
};
/* Takes N from each bucket in order. */
int throttle_set_take (const struct throttle_set *set, uint64_t n,
                       const _Atomic bool *cancelled) WARN_UNUSED;
/* The largest step, at most MAX, that keeps traffic smooth: the smallest burst of a limited
 * bucket. */
size_t throttle_set_step (const struct throttle_set *set, size_t max);
/* The smallest rate in force; 0 where none is. */
uint64_t throttle_set_rate_of (const struct throttle_set *set);

#endif
