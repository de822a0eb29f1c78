/* SPDX-License-Identifier: Apache-2.0 */
#include "blob/meter.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/lock.h"
#include "blob/blob.h"

struct meter {
  _Atomic uint64_t requests[BLOB_OP_COUNT];
  _Atomic uint64_t up, down, retries, errors;
  _Atomic int breaker;
  struct lock lock; /* guards what follows */
  int last_error;
  int64_t last_error_at;
  char text[sizeof ((struct blob_stats *) 0)->last_error_text];
};

int
meter_new (struct meter **out)
{
  struct meter *m = calloc (1, sizeof *m);
  if (!m)
    return ERR_NOMEM;
  lock_init (&m->lock, LOCK_STATS, "meter");
  *out = m;
  return 0;
}

void
meter_free (struct meter *m)
{
  if (!m)
    return;
  lock_destroy (&m->lock);
  free (m);
}

void
meter_request (struct meter *m, enum blob_op op)
{
  if (m)
    atomic_fetch_add_explicit (&m->requests[op], 1, memory_order_relaxed);
}

void
meter_bytes (struct meter *m, uint64_t up, uint64_t down)
{
  if (!m)
    return;
  atomic_fetch_add_explicit (&m->up, up, memory_order_relaxed);
  atomic_fetch_add_explicit (&m->down, down, memory_order_relaxed);
}

void
meter_retry (struct meter *m)
{
  if (m)
    atomic_fetch_add_explicit (&m->retries, 1, memory_order_relaxed);
}

void
meter_breaker (struct meter *m, enum breaker_state state)
{
  if (m)
    m->breaker = (int) state;
}

void
meter_error (struct meter *m, int rc, const char *fmt, ...)
{
  if (!m)
    return;
  char text[sizeof m->text];
  va_list ap;
  va_start (ap, fmt);
  vsnprintf (text, sizeof text, fmt, ap);
  va_end (ap);
  m->errors++;
  LOCK_SCOPE (&m->lock);
  m->last_error = rc;
  m->last_error_at = clock_wall ();
  memcpy (m->text, text, sizeof m->text);
}

void
blob_stats_get (struct blob *b, struct blob_stats *out)
{
  memset (out, 0, sizeof *out);
  struct meter *m = b->meter;
  if (!m)
    return;
  for (int i = 0; i < BLOB_OP_COUNT; i++)
    out->requests[i] = m->requests[i];
  out->bytes_up = m->up;
  out->bytes_down = m->down;
  out->retries = m->retries;
  out->errors = m->errors;
  out->breaker = (enum breaker_state) m->breaker;
  LOCK_SCOPE (&m->lock);
  out->last_error = m->last_error;
  out->last_error_at = m->last_error_at;
  memcpy (out->last_error_text, m->text, sizeof m->text);
}

const char *
blob_op_name (enum blob_op op)
{
  static const char *const names[BLOB_OP_COUNT] = { "put", "get", "head", "list", "delete" };
  return names[op];
}
