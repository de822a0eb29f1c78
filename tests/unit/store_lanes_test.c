/* SPDX-License-Identifier: Apache-2.0 */
/* The lanes of the pipeline (ruling 4): who writes beside others lies in runs, small files lie in
 * the order in which they came, and nobody waits for ever. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "blob/memory.h"
#include "store/pipeline.h"
#include "store_keys_helper.h"

#define CHUNK (128u << 10)
#define PLACES_MAX 20000

/* Where a chunk came to lie. */
struct place {
  uint64_t stream;
  uint32_t seq, pack, off, len, count; /* count: chunks of the stream in all */
};

static struct {
  char dir[64];
  struct blob *blob;
  struct vault_keys *keys;
  struct index *index;
  struct pipeline *line;
  struct pipe *pipe;
  struct pipe_dep dep;
  pthread_mutex_t mutex;
  struct place places[PLACES_MAX];
  size_t count;
  int failed;
} w;

static void
placed (struct pipe_chunk *c, int rc)
{
  pthread_mutex_lock (&w.mutex);
  if (rc || c->is_dup || w.count == PLACES_MAX)
    w.failed++;
  else
    w.places[w.count++] = (struct place){
      .stream = c->stream, .seq = (uint32_t) c->ctx_a, .pack = c->ref.pack, .off = c->ref.off,
      .len = c->ref.sealed_len, .count = (uint32_t) c->ctx_b,
    };
  pthread_mutex_unlock (&w.mutex);
  pipe_chunk_free (w.line, c);
}

/* A store behind a throttle of 1 MB/s, whose line is the test's: bytes leave when it says so. */
#define WIRE_STEP (64u << 10)
static struct {
  struct blob blob; /* first */
  struct blob *inner;
  pthread_mutex_t mutex;
  pthread_cond_t moved;
  uint64_t allowed, sent;
} wire = { .mutex = PTHREAD_MUTEX_INITIALIZER, .moved = PTHREAD_COND_INITIALIZER };

static void
let_all_leave (void)
{
  pthread_mutex_lock (&wire.mutex);
  wire.allowed = UINT64_MAX / 2;
  pthread_cond_broadcast (&wire.moved);
  pthread_mutex_unlock (&wire.mutex);
}

static int
set_up (void **state)
{
  (void) state;
  memset (&w, 0, sizeof w);
  pthread_mutex_init (&w.mutex, NULL);
  const char *tmp = getenv ("TMPDIR");
  snprintf (w.dir, sizeof w.dir, "%.40s/lanes.XXXXXX", tmp ? tmp : "/tmp");
  assert_non_null (mkdtemp (w.dir));
  w.keys = fixed_vault_keys ("v");
  assert_int_equal (blob_memory_new (&w.blob), 0);
  assert_int_equal (index_open (w.dir, &w.index), 0);
  struct pipeline_opts opts = { .sealers = 2, .chunk_bytes = 48u << 20 };
  assert_int_equal (pipeline_new (&opts, &w.line), 0);
  struct pipe_opts po = { .blob = w.blob, .keys = w.keys, .index = w.index, .vault = "v" };
  assert_int_equal (pipe_new (w.line, &po, &w.pipe), 0);
  return 0;
}

static int
tear_down (void **state)
{
  (void) state;
  char command[100];
  let_all_leave ();
  pipe_drain (w.pipe);
  pipe_free (w.pipe);
  pipeline_free (w.line);
  index_free (w.index);
  blob_free (w.blob);
  vault_keys_free (w.keys);
  snprintf (command, sizeof command, "rm -rf '%s'", w.dir);
  return system (command);
}

/* A chunk that no other is equal to. */
static struct pipe_chunk *
chunk (uint64_t stream, uint32_t seq, uint32_t count, uint32_t len)
{
  struct pipe_chunk *c = pipe_chunk_new (w.line, len);
  assert_non_null (c);
  memset (c->data, (int) (stream + seq), len);
  memcpy (c->data, &stream, sizeof stream);
  memcpy (c->data + sizeof stream, &seq, sizeof seq);
  c->len = len;
  c->crc = crc32c (0, c->data, len);
  c->dep = &w.dep;
  c->type = UNIT_DATA;
  c->stream = stream;
  c->done = placed;
  c->ctx_a = seq;
  c->ctx_b = count;
  return c;
}

struct writer {
  uint64_t stream;
  uint32_t count;
  unsigned pause_ms; /* in the midst of each MiB */
};

/* As a writer of the file system does: let in when there is room, or when it is favoured. */
static void *
write_stream (void *arg)
{
  struct writer *a = arg;
  for (uint32_t i = 0; i < a->count; i++) {
    while (pipeline_is_full (w.line) && !pipe_favours (w.pipe, a->stream))
      (void) !pipeline_admit (w.line, NS_PER_MS);
    if (a->pause_ms && i % 8 == 3)
      clock_sleep (a->pause_ms * NS_PER_MS);
    struct pipe_chunk *c = chunk (a->stream, i, a->count, CHUNK);
    c->is_last = i + 1 == a->count;
    pipe_push (w.pipe, c);
  }
  return NULL;
}

static int
by_place (const void *a, const void *b)
{
  const struct place *x = a, *y = b;
  if (x->pack != y->pack)
    return x->pack < y->pack ? -1 : 1;
  return x->off < y->off ? -1 : x->off > y->off;
}

static void
write_all (struct writer *writers, int n)
{
  pthread_t threads[64];
  for (int i = 0; i < n; i++)
    assert_int_equal (pthread_create (&threads[i], NULL, write_stream, &writers[i]), 0);
  for (int i = 0; i < n; i++)
    pthread_join (threads[i], NULL);
  assert_int_equal (pipe_wait_placed (w.pipe, &w.dep), 0);
  (void) pipe_close_packs (w.pipe, false);
  assert_int_equal (pipe_wait_durable (w.pipe, &w.dep, PIPE_ALL), 0);
  assert_int_equal (w.failed, 0);
  qsort (w.places, w.count, sizeof *w.places, by_place);
}

/* Runs in all, and how many of them are shorter than they may be: not at an end of their pack, not
 * the end of the stream, below LANE_RUN_BYTES. */
static void
count_runs (size_t *runs, size_t *too_short)
{
  *runs = *too_short = 0;
  for (size_t i = 0, next; i < w.count; i = next) {
    const struct place *p = &w.places[i];
    uint64_t bytes = 0;
    bool has_end = false;
    for (next = i; next < w.count && w.places[next].stream == p->stream
                   && w.places[next].pack == p->pack; next++) {
      bytes += w.places[next].len;
      has_end |= w.places[next].seq + 1 == w.places[next].count;
    }
    bool at_edge = i == 0 || w.places[i - 1].pack != p->pack || next == w.count
                   || w.places[next].pack != p->pack;
    (*runs)++;
    *too_short += !at_edge && !has_end && bytes < LANE_RUN_BYTES;
  }
}

/* Guards: sixteen writers at once (and sixty-four) lie in runs of at least 4 MiB. */
static void
streams_lie_in_runs (int n, uint32_t chunks)
{
  struct writer writers[64] = { { 0 } };
  for (int i = 0; i < n; i++)
    writers[i] = (struct writer){ .stream = 100 + (uint64_t) i, .count = chunks };
  write_all (writers, n);
  size_t runs, too_short;
  count_runs (&runs, &too_short);
  assert_int_equal (w.count, (size_t) n * chunks);
  assert_int_equal (too_short, 0);
  size_t mib = w.count * CHUNK >> 20;
  assert_true (runs <= mib / 4 + mib / 16 * 2 + (size_t) n);
}

static void
sixteen_streams_lie_in_runs (void **state)
{
  (void) state;
  streams_lie_in_runs (16, 128);
}

static void
sixty_four_streams_lie_in_runs (void **state)
{
  (void) state;
  streams_lie_in_runs (64, 64);
}

/* Guards: owners that pause in the midst of a run hold up nobody for good, even where the others
 * fill all buffers. */
static void
slow_owners_yield (void **state)
{
  (void) state;
  struct writer writers[18] = { { 0 } };
  for (int i = 0; i < 18; i++)
    writers[i] = (struct writer){ .stream = 100 + (uint64_t) i, .count = i < 2 ? 32 : 64,
                                  .pause_ms = i < 2 ? 300 : 0 };
  int64_t begin = clock_now ();
  write_all (writers, 18);
  assert_int_equal (w.count, 2 * 32 + 16 * 64);
  assert_true (clock_now () - begin < 60 * NS_PER_S);
}

/* Guards: all buffers may lie in chunks of streams that have no lane, while the owners never write
 * again. */
static void
silent_owners_are_passed (void **state)
{
  (void) state;
  for (uint64_t s = 1; s <= 2; s++)
    for (uint32_t i = 0; i < 4; i++)
      pipe_push (w.pipe, chunk (s, i, 1000, CHUNK));
  struct writer writers[16] = { { 0 } };
  for (int i = 0; i < 16; i++)
    writers[i] = (struct writer){ .stream = 100 + (uint64_t) i, .count = 40 };
  write_all (writers, 16);
  assert_int_equal (w.count, 8 + 16 * 40);
}

/* Guards ruling 28: small files lie side by side, in the order in which they were closed, in one
 * lane, with a large file beside them. */
static void
small_files_lie_in_order (void **state)
{
  (void) state;
  struct writer large = { .stream = 100, .count = 200 };
  pthread_t thread;
  assert_int_equal (pthread_create (&thread, NULL, write_stream, &large), 0);
  for (uint32_t i = 0; i < 3000; i++)
    pipe_push (w.pipe, chunk (PIPE_SMALL_FILES, i, 3000, 3000));
  pthread_join (thread, NULL);
  write_all (NULL, 0);
  size_t packs = 0;
  const struct place *last = NULL;
  for (size_t i = 0; i < w.count; i++) {
    const struct place *p = &w.places[i];
    if (p->stream != PIPE_SMALL_FILES)
      continue;
    if (!last || last->pack != p->pack)
      packs++;
    else
      assert_int_equal (p->seq, last->seq + 1);
    last = p;
  }
  assert_in_range (packs, 1, 3);
}

static int
wire_put (struct blob *b, const char *key, const void *data, size_t len,
          const struct blob_put_opts *opts)
{
  (void) b;
  for (size_t done = 0; done < len;) {
    size_t n = len - done < WIRE_STEP ? len - done : WIRE_STEP;
    pthread_mutex_lock (&wire.mutex);
    while (wire.allowed < wire.sent + n)
      pthread_cond_wait (&wire.moved, &wire.mutex);
    wire.sent += n;
    pthread_cond_broadcast (&wire.moved);
    pthread_mutex_unlock (&wire.mutex);
    done += n;
    if (opts->progress)
      opts->progress (opts->ctx, done);
  }
  return blob_put (wire.inner, key, data, len, NULL);
}

static const struct blob_ops wire_ops = { .name = "wire", .put = wire_put };

/* Lets N bytes leave and waits until they have, or until nobody sends any more. */
static void
let_leave (uint64_t n)
{
  struct timespec end;
  clock_gettime (CLOCK_REALTIME, &end);
  end.tv_sec += 20;
  pthread_mutex_lock (&wire.mutex);
  wire.allowed = wire.sent + n;
  pthread_cond_broadcast (&wire.moved);
  int rc = 0;
  while (rc == 0 && wire.sent + WIRE_STEP <= wire.allowed)
    rc = pthread_cond_timedwait (&wire.moved, &wire.mutex, &end);
  pthread_mutex_unlock (&wire.mutex);
  assert_int_equal (rc, 0);
}

enum { SLOW_STREAMS = 64, SLOW_PIECE = 8 << 10, SETTLING = 12 };
struct slow_writer {
  struct pipe_chunk *cur;
  uint32_t seq, end; /* end: where the present chunk is cut */
};

/* Each of the 64 writes a piece in its turn for as long as it is let; returns the bytes of all. */
static uint64_t
write_until_behind (struct slow_writer *s, unsigned *turn)
{
  uint64_t bytes = 0;
  for (int quiet = 0; quiet < 50;) { /* packing is not done at once */
    if (pipe_is_behind (w.pipe)) {
      clock_sleep (NS_PER_MS);
      quiet++;
      continue;
    }
    quiet = 0;
    struct slow_writer *a = &s[*turn % SLOW_STREAMS];
    if (!a->cur) {
      a->end = (256 + (*turn * 37 + a->seq * 101) % 64 * 8) << 10;
      a->cur = chunk (1000 + *turn % SLOW_STREAMS, a->seq++, UINT32_MAX, a->end);
      random_bytes (a->cur->data, a->end);
      a->cur->crc = crc32c (0, a->cur->data, a->end);
      a->cur->len = 0;
    }
    a->cur->len += SLOW_PIECE;
    pipe_chunk_count (w.pipe, a->cur, SLOW_PIECE);
    bytes += SLOW_PIECE;
    if (a->cur->len == a->end)
      pipe_push (w.pipe, STEAL (a->cur));
    (*turn)++;
  }
  return bytes;
}

/* Guards ruling 11 at 1 MB/s with 64 writers: they are let in as bytes leave, a second's worth each
 * second, though a pack and the buffers that become free with it take many; and what they wrote
 * ahead of the line is bounded. */
static void
slow_line_lets_in_what_leaves (void **state)
{
  (void) state;
  pipe_free (w.pipe);
  assert_int_equal (throttle_new (1000 * 1000, 0, &wire.blob.up.t[0]), 0);
  wire.blob.ops = &wire_ops;
  wire.allowed = wire.sent = 0;
  wire.inner = w.blob;
  struct pipe_opts po = { .blob = &wire.blob, .keys = w.keys, .index = w.index, .vault = "v" };
  assert_int_equal (pipe_new (w.line, &po, &w.pipe), 0);
  struct slow_writer s[SLOW_STREAMS] = { { 0 } };
  unsigned turn = 0;
  uint64_t ahead = write_until_behind (s, &turn);
  assert_in_range (ahead, 32u << 20, 64u << 20);
  for (int second = 0; second < 40; second++) {
    let_leave (1 << 20);
    uint64_t got = write_until_behind (s, &turn);
    if (second >= SETTLING) /* what was too much at the start has left */
      assert_in_range (got, 3u << 18, 5u << 18);
  }
  for (int i = 0; i < SLOW_STREAMS; i++)
    pipe_chunk_free (w.line, s[i].cur);
  let_all_leave ();
  pipe_drain (w.pipe);
  assert_int_equal (w.dep.error, 0);
  assert_int_equal (w.failed, 0);
  assert_false (pipe_is_behind (w.pipe));
  throttle_free (wire.blob.up.t[0]);
  wire.blob.up.t[0] = NULL;
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup_teardown (sixteen_streams_lie_in_runs, set_up, tear_down),
    cmocka_unit_test_setup_teardown (sixty_four_streams_lie_in_runs, set_up, tear_down),
    cmocka_unit_test_setup_teardown (slow_owners_yield, set_up, tear_down),
    cmocka_unit_test_setup_teardown (silent_owners_are_passed, set_up, tear_down),
    cmocka_unit_test_setup_teardown (small_files_lie_in_order, set_up, tear_down),
    cmocka_unit_test_setup_teardown (slow_line_lets_in_what_leaves, set_up, tear_down),
  };
  return cmocka_run_group_tests (tests, NULL, NULL);
}
