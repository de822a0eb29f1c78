/* SPDX-License-Identifier: Apache-2.0 */
/* extmap and overlay against plain arrays: whatever the order of operations, spilled segments
 * included, a byte is where it was put, and what is told of changed segments rebuilds the map. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "snapshot/extmap.h"
#include "snapshot/overlay.h"

static uint64_t seed;

static uint32_t
below (uint32_t n)
{
  seed ^= seed << 13;
  seed ^= seed >> 7;
  seed ^= seed << 17;
  return (uint32_t) (seed >> 16) % n;
}

/* ---- a seg_store in memory ---- */

struct row {
  uint64_t start;
  uint8_t *data;
  size_t n;
};
struct rows {
  struct row *at;
  size_t count;
};

static struct row *
row_of (struct rows *r, uint64_t start)
{
  for (size_t i = 0; i < r->count; i++)
    if (r->at[i].start == start)
      return &r->at[i];
  return NULL;
}

static unsigned loads;

static int
row_load (void *ctx, uint64_t start, struct buf *out)
{
  struct row *r = row_of (ctx, start);
  assert_non_null (r);
  loads++;
  buf_put (out, r->data, r->n);
  return buf_error (out);
}

static int
row_save (void *ctx, uint64_t start, const void *data, size_t n)
{
  struct rows *rows = ctx;
  struct row *r = row_of (rows, start);
  if (!r) {
    rows->at = realloc (rows->at, (rows->count + 1) * sizeof *rows->at);
    r = &rows->at[rows->count++];
    *r = (struct row){ .start = start };
  }
  r->data = realloc (r->data, n ? n : 1);
  memcpy (r->data, data, n);
  r->n = n;
  return 0;
}

static int
row_erase (void *ctx, uint64_t start)
{
  struct rows *rows = ctx;
  struct row *r = row_of (rows, start);
  assert_non_null (r);
  free (r->data);
  *r = rows->at[--rows->count];
  return 0;
}

static void
rows_free (struct rows *r)
{
  for (size_t i = 0; i < r->count; i++)
    free (r->at[i].data);
  free (r->at);
}

/* ---- the model: a kind and a value for each cell ---- */

#define CELLS 60000u

struct cell {
  uint8_t kind;     /* EXTENT_HOLE where nothing is */
  uint32_t no, off; /* pack or serial; offset in the chunk */
};
static struct cell model[CELLS];

static void
model_set (uint32_t off, uint32_t len, uint8_t kind, uint32_t no)
{
  for (uint32_t i = 0; i < len; i++)
    model[off + i] = (struct cell){ kind, no, i };
}

static void
must_equal (struct extmap *m)
{
  struct mapped x;
  for (uint64_t off = 0; off < CELLS; off += x.e.len) {
    assert_int_equal (extmap_get (m, off, &x), 0);
    assert_int_equal (x.off, off);
    assert_true (x.e.len > 0);
    for (uint64_t i = 0; i < x.e.len && off + i < CELLS; i++) {
      const struct cell *c = &model[off + i];
      assert_int_equal (x.e.kind, c->kind);
      if (x.e.kind == EXTENT_DATA || x.e.kind == EXTENT_FLYING) {
        assert_int_equal (x.e.kind == EXTENT_DATA ? x.e.ref.pack : x.e.ref.off, c->no);
        assert_int_equal (x.e.chunk_off + i, c->off);
      }
    }
  }
}

#define FLYING 16
struct flight {
  uint32_t off, len, serial;
};

static void
land (struct extmap *m, struct flight *f)
{
  struct chunk_ref ref = { .pack = f->serial, .off = 4096, .plain_len = f->len,
                           .sealed_len = f->len + UNIT_OVERHEAD };
  assert_int_equal (extmap_land (m, f->off, f->len, f->serial, &ref), 0);
  for (uint32_t i = 0; i < f->len; i++)
    if (model[f->off + i].kind == EXTENT_FLYING && model[f->off + i].no == f->serial)
      model[f->off + i].kind = EXTENT_DATA;
  f->len = 0;
}

static void
step (struct extmap *m, struct flight *flights, uint32_t serial)
{
  uint32_t what = below (20), off = below (CELLS), len = 1 + below (what < 18 ? 5 : 100);
  if (len > CELLS - off)
    len = CELLS - off;
  struct flight *f = &flights[below (FLYING)];
  if (what == 19 && below (200) == 0) {
    assert_int_equal (extmap_truncate (m, off), 0);
    model_set (off, CELLS - off, EXTENT_HOLE, 0);
  } else if (what == 18)
    assert_int_equal (extmap_flush (m, below (2) == 0), 0);
  else if (what == 17 && f->len)
    land (m, f);
  else if (what >= 14 && !f->len) {
    struct extent e = { .kind = EXTENT_FLYING, .len = len,
                        .ref = { .off = serial, .plain_len = len } };
    *f = (struct flight){ off, len, serial };
    assert_int_equal (extmap_set (m, off, &e), 0);
    model_set (off, len, EXTENT_FLYING, serial);
  } else {
    static const uint8_t kinds[] = { EXTENT_DATA, EXTENT_DATA, EXTENT_ZERO, EXTENT_HOLE };
    uint8_t kind = kinds[below (4)];
    struct extent e = { .kind = kind, .len = len,
                        .ref = { .pack = serial, .off = 4096, .plain_len = len,
                                 .sealed_len = len + UNIT_OVERHEAD } };
    assert_int_equal (extmap_set (m, off, &e), 0);
    model_set (off, len, kind, serial);
  }
}

static void
test_random (void **state)
{
  (void) state;
  for (int round = 0; round < 4; round++) {
    seed = 77u + (unsigned) round;
    struct rows rows = { 0 };
    struct seg_store store = { .ctx = &rows, .load = row_load, .save = row_save,
                               .erase = row_erase };
    struct extmap m;
    struct flight flights[FLYING] = { 0 };
    extmap_init (&m, &store);
    model_set (0, CELLS, EXTENT_HOLE, 0);
    for (uint32_t n = 1; n <= 30000; n++) {
      step (&m, flights, n);
      if (n % 3000 == 0)
        must_equal (&m);
    }
    assert_true (loads > 100); /* the spill was used */
    extmap_release (&m);
    rows_free (&rows);
  }
}

/* Guards: memory does not grow with a file that only grows (each extent lands a moment later), and
 * what was put away meanwhile is there. */
static void
test_growing (void **state)
{
  (void) state;
  struct rows rows = { 0 };
  struct seg_store store = { .ctx = &rows, .load = row_load, .save = row_save,
                             .erase = row_erase };
  struct extmap m;
  extmap_init (&m, &store);
  const uint64_t extents = 100 * SEG_MAX, late = 3 * SEG_MAX;
  struct extent e = { .kind = EXTENT_FLYING, .len = 4, .ref = { .plain_len = 4 } };
  for (uint64_t n = 0; n < extents + late; n++) {
    e.ref.off = (uint32_t) n;
    if (n < extents)
      assert_int_equal (extmap_set (&m, n * 8, &e), 0);
    struct chunk_ref ref = { .pack = (uint32_t) (n - late), .off = 4096, .plain_len = 4,
                             .sealed_len = 4 + UNIT_OVERHEAD };
    if (n >= late)
      assert_int_equal (extmap_land (&m, (n - late) * 8, 4, (uint32_t) (n - late), &ref), 0);
    unsigned held = 0;
    for (uint32_t i = 0; i < m.count; i++)
      held += m.segs[i].at != NULL;
    assert_true (held <= 26);
  }
  assert_true (m.count >= 100);
  for (uint64_t n = 0; n < extents; n++) {
    struct mapped x;
    assert_int_equal (extmap_get (&m, n * 8, &x), 0);
    assert_int_equal (x.e.kind, EXTENT_DATA);
    assert_int_equal (x.e.ref.pack, n);
  }
  extmap_release (&m);
  rows_free (&rows);
}

/* ---- what changed rebuilds the map ---- */

struct told {
  struct extmap *copy;
  int left; /* so many segments are put off */
};

static int
tell (void *ctx, const struct segment *s, uint64_t end)
{
  struct told *t = ctx;
  if (t->left-- == 0)
    return 1;
  struct extent hole = { .kind = EXTENT_HOLE, .len = end - s->start };
  assert_int_equal (extmap_set (t->copy, s->start, &hole), 0);
  for (uint32_t i = 0; i < s->count; i++)
    assert_int_equal (extmap_set (t->copy, s->at[i].off, &s->at[i].e), 0);
  return 0;
}

static void
test_changes (void **state)
{
  (void) state;
  seed = 4711;
  struct rows rows = { 0 }, copy_rows = { 0 };
  struct seg_store store = { .ctx = &rows, .load = row_load, .save = row_save,
                             .erase = row_erase };
  struct seg_store copy_store = store;
  copy_store.ctx = &copy_rows;
  struct extmap m, copy;
  struct flight flights[FLYING] = { 0 };
  extmap_init (&m, &store);
  extmap_init (&copy, &copy_store);
  model_set (0, CELLS, EXTENT_HOLE, 0);
  for (uint32_t n = 1; n <= 20000; n++) {
    step (&m, flights, n);
    if (n % 500)
      continue;
    struct told t = { .copy = &copy, .left = n % 1000 ? 3 : -1 };
    assert_int_equal (extmap_changed (&m, tell, &t), 0);
    if (n % 1000 == 0) {
      must_equal (&copy);
      assert_false (extmap_is_changed (&m));
    } else if (t.left < 0)
      assert_true (extmap_is_changed (&m)); /* the one put off is told next time */
  }
  extmap_release (&m);
  extmap_release (&copy);
  rows_free (&rows);
  rows_free (&copy_rows);
}

/* ---- the overlay ---- */

#define BYTES 200000u
static uint8_t bytes[BYTES];
static bool dirty[BYTES];

static void
overlay_must_equal (struct overlay *o)
{
  static uint8_t got[BYTES];
  uint64_t at = 0, start, end, sum = 0;
  while (overlay_next (o, at, &start, &end)) {
    assert_true (start >= at && end > start && end <= BYTES);
    for (uint64_t i = at; i < start; i++)
      assert_false (dirty[i]);
    assert_int_equal (overlay_read (o, start, got, end - start), 0);
    for (uint64_t i = start; i < end; i++)
      assert_true (dirty[i]);
    assert_memory_equal (got, bytes + start, end - start);
    sum += end - start;
    at = end;
  }
  for (uint64_t i = at; i < BYTES; i++)
    assert_false (dirty[i]);
  assert_int_equal (overlay_bytes (o), sum);
  assert_int_equal (overlay_is_empty (o), sum == 0);
}

static void
test_overlay (void **state)
{
  (void) state;
  seed = 9;
  struct overlay_budget b = { .dir = "/tmp", .max = BYTES / 2 };
  struct overlay *o;
  unsigned refused = 0;
  assert_int_equal (overlay_new (&b, &o), 0);
  for (unsigned n = 0; n < 4000; n++) {
    uint32_t off = below (BYTES), len = 1 + below (3000);
    uint8_t data[3000];
    if (len > BYTES - off)
      len = BYTES - off;
    for (uint32_t i = 0; i < len; i++)
      data[i] = (uint8_t) below (256);
    if (below (5) == 0) {
      overlay_clear (o, off, off + len);
      memset (dirty + off, 0, len * sizeof *dirty);
    } else {
      int rc = overlay_write (o, off, data, len);
      if (rc == 0) {
        memcpy (bytes + off, data, len);
        memset (dirty + off, 1, len * sizeof *dirty);
      } else {
        assert_int_equal (rc, ERR_FULL); /* the budget; nothing was taken */
        refused++;
        overlay_clear (o, 0, BYTES / 2);
        memset (dirty, 0, BYTES / 2 * sizeof *dirty);
      }
    }
    if (n % 100 == 0)
      overlay_must_equal (o);
    assert_true (b.used <= b.max);
  }
  assert_true (refused > 0);
  overlay_must_equal (o);
  overlay_free (o);
  assert_int_equal (b.used, 0);
}

int
main (void)
{
  log_set_level (LOG_LVL_ERR);
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_random), cmocka_unit_test (test_growing),
    cmocka_unit_test (test_changes),
    cmocka_unit_test (test_overlay),
  };
  return cmocka_run_group_tests (tests, NULL, NULL);
}
