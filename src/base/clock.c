/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <time.h>

static _Atomic bool is_fake;
static _Atomic int64_t fake_ns;

static int64_t
read_clock (clockid_t id)
{
  struct timespec ts;
  clock_gettime (id, &ts);
  return (int64_t) ts.tv_sec * NS_PER_S + ts.tv_nsec;
}

int64_t
clock_now (void)
{
  return is_fake ? fake_ns : read_clock (CLOCK_MONOTONIC);
}

int64_t
clock_wall (void)
{
  return is_fake ? fake_ns : read_clock (CLOCK_REALTIME);
}

void
clock_sleep (int64_t ns)
{
  if (ns <= 0)
    return;
  if (is_fake) {
    fake_ns += ns;
    return;
  }
  struct timespec ts = { .tv_sec = ns / NS_PER_S, .tv_nsec = ns % NS_PER_S };
  while (clock_nanosleep (CLOCK_MONOTONIC, 0, &ts, &ts) != 0)
    ;
}

void
clock_fake (int64_t ns)
{
  fake_ns = ns;
  is_fake = true;
}

void
clock_fake_advance (int64_t ns)
{
  fake_ns += ns;
}

void
clock_real (void)
{
  is_fake = false;
}
