/* SPDX-License-Identifier: Apache-2.0 */
/* schedule - a rate limit by hours of the day.
 *
 *   20MB                            always
 *   08:00-18:00=20MB,*=100MB        by day, and the rest of the time
 *   22:00-06:00=off,*=8Mbit         a span may pass midnight
 *
 * Hours are local time; the end of a span is not in it.  The first entry that holds wins; where
 * none does, there is no limit.
 *
 * A rate is digits (with at most three decimals) and a unit per second: B kB MB GB TB (powers of
 * 1000), KiB MiB GiB TiB, bit kbit Mbit Gbit, upper or lower case where that is not ambiguous; no
 * unit: bytes; "0", "off" or "unlimited": no limit.  "/s" may follow.
 * Pure: no clock, no lock, no log. */
#ifndef COFFER_BLOB_SCHEDULE_H
#define COFFER_BLOB_SCHEDULE_H

#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "base/err.h"

#define SCHEDULE_MAX 16

struct schedule_entry {
  int from, to; /* minutes of the day; from == to: always */
  uint64_t rate; /* bytes per second, 0: unlimited */
};

struct schedule {
  struct schedule_entry v[SCHEDULE_MAX];
  size_t n;
};

/* ERR_INVALID where TEXT is no rate, ERR_LIMIT above THROTTLE_RATE_MAX. */
int rate_parse (const char *text, uint64_t *out) WARN_UNUSED;
/* "20 MB/s", "1.5 MiB/s" never: decimal units, at most one decimal; "off" for 0.  OUT has 24
 * bytes. */
void rate_format (uint64_t rate, char *out, size_t cap);

int schedule_parse (const char *text, struct schedule *out) WARN_UNUSED;
/* The rate at T (local time); 0: unlimited. */
uint64_t schedule_rate_at (const struct schedule *s, time_t t);
/* The most there is at any time; 0: no limit at some. */
uint64_t schedule_rate_most (const struct schedule *s);
uint64_t schedule_rate_at_minute (const struct schedule *s, int minute);

#endif
