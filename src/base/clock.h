/* SPDX-License-Identifier: Apache-2.0 */
/* clock - monotonic and wall time through one place, so that tests can drive it.
 *
 * clock_now() is CLOCK_MONOTONIC in nanoseconds; clock_wall() is CLOCK_REALTIME in nanoseconds
 * since the epoch (UTC).  clock_fake(ns) freezes both at NS (wall = NS too) until
 * clock_fake_advance or clock_real; sleeping under a fake clock advances it instead of waiting.
 * Threads: any. */
#ifndef COFFER_BASE_CLOCK_H
#define COFFER_BASE_CLOCK_H

#include <stdint.h>

#define NS_PER_S 1000000000LL
#define NS_PER_MS 1000000LL

int64_t clock_now (void);
int64_t clock_wall (void);
void clock_sleep (int64_t ns);
void clock_fake (int64_t ns);
void clock_fake_advance (int64_t ns);
void clock_real (void);

#endif
