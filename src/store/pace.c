/* SPDX-License-Identifier: Apache-2.0 */
/* pace - writers behind a throttle are let in as bytes leave (ruling 11; pipeline.h says how). */
#include "base/clock.h"
#include "store/pipeline_priv.h"

#define LOOK_NS (10 * NS_PER_MS) /* who sends wakes without the lock */
#define STEP_MIN (64u << 10)     /* less does not begin a stream in the midst of a file */

uint64_t
pipe_slow_rate (const struct pipe *v)
{
  uint64_t rate = blob_upload_rate (v->opts.blob);
  return rate < SLOW_RATE ? rate : 0;
}

uint32_t
pipe_pack_target (const struct pipe *v)
{
  uint64_t rate = pipe_slow_rate (v); /* a second's worth */
  return !rate || rate > PACK_TARGET_BYTES ? PACK_TARGET_BYTES
         : rate < SLOW_PACK_MIN ? SLOW_PACK_MIN : (uint32_t) rate;
}

bool
pipe_is_behind (struct pipe *v)
{
  uint64_t rate = pipe_slow_rate (v);
  return rate && v->backlog >= 2 * (uint64_t) pipe_pack_target (v) + SLOW_BACKLOG
         && v->flying >= rate / 2;
}

int
pipe_admit (struct pipe *v, int64_t timeout_ns)
{
  struct pipeline *p = v->line;
  int64_t deadline = clock_now () + timeout_ns;
  int rc = pipeline_admit (p, timeout_ns);
  if (rc)
    return rc;
  LOCK_SCOPE (&p->chunk_lock);
  while (pipe_is_behind (v) && !p->chunk_cancelled) {
    if (clock_now () >= deadline)
      return ERR_AGAIN;
    int64_t look = clock_now () + LOOK_NS;
    (void) lock_wait_until (&p->room, &p->chunk_lock, look < deadline ? look : deadline);
  }
  return p->chunk_cancelled ? ERR_CANCELLED : 0;
}

size_t
pipe_write_step (struct pipe *v, size_t most)
{
  uint64_t rate = pipe_slow_rate (v);
  unsigned writing = v->writing;
  uint64_t step = rate / 2 / (writing ? writing : 1) / STEP_MIN * STEP_MIN;
  step = step < STEP_MIN ? STEP_MIN : step;
  return rate && step < most ? (size_t) step : most;
}

void
pipe_chunk_count (struct pipe *v, struct pipe_chunk *c, uint32_t n)
{
  if (!c->counts)
    v->writing++;
  c->counts = v;
  c->counted += n;
  v->backlog += n;
}
