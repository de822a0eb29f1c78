/* SPDX-License-Identifier: Apache-2.0 */
/* Ruling 15: the reordering window.  Writes that overtake each other make the chunks that they
 * would have made in order; what waits for a gap is not lost, whatever else happens to the file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "world.h"

#include "base/log.h"

static struct world world;
#define T "db/20260101T000000Z"
#define U "db/20260102T000000Z"
#define is(call, want) assert_int_equal ((call), (want))

#define STEP (128u << 10)
#define STEPS 96

/* Writes the first STEPS pieces of DATA in an order in which each is at most 16 places off. */
static void
write_shuffled (struct host *h, const char *path, const uint8_t *data, unsigned seed)
{
  unsigned order[STEPS];
  for (unsigned k = 0; k < STEPS; k++)
    order[k] = k;
  srand (seed);
  for (unsigned k = 0; k < STEPS; k++) {
    unsigned base = k / 16 * 16, other = base + (unsigned) rand () % 16, was = order[k];
    order[k] = order[other];
    order[other] = was;
  }
  for (unsigned k = 0; k < STEPS; k++)
    is (do_write (h, path, (uint64_t) order[k] * STEP, data + (size_t) order[k] * STEP, STEP), 0);
}

/* A handle that stays open: do_write opens and closes, which ends the window. */
static struct file *
hold_open (struct host *h, const char *path)
{
  struct node_stat st;
  struct file *f;
  is (do_write (h, path, 0, "", 0), 0);
  is (do_lookup (h, path, &st), 0);
  is (mount_open (h->m, st.node, OPEN_WRITE | OPEN_READ, 0, &f), 0);
  mount_forget (h->m, st.node, 1);
  return f;
}

static struct snapshot_info
info_of (struct host *h)
{
  struct snapshot_info *list, one;
  size_t n;
  is (mount_snapshots (h->m, &list, &n), 0);
  is (n, 1);
  one = *list;
  free (list);
  return one;
}

/* Ruling 15: writes that overtake each other within 16 MiB make the chunks that they would have
 * made in order, and nothing of them goes to the overlay. */
static void
test_reordered (void **state)
{
  (void) state;
  struct host h;
  struct blob *store = world_begin (&world, &h);
  const size_t len = (size_t) STEPS * STEP;
  uint8_t *data = malloc (len);
  fill (data, len, 9);
  is (do_mkdir (&h, T ".partial"), 0);
  struct file *f = hold_open (&h, T ".partial/in-order");
  for (unsigned k = 0; k < STEPS; k++)
    is (do_write (&h, T ".partial/in-order", (uint64_t) k * STEP, data + (size_t) k * STEP, STEP),
        0);
  mount_release (h.m, f);
  is (do_fsync (&h, T ".partial/in-order"), 0);
  is (do_seal (&h, T ".partial"), 0);
  uint64_t fresh = info_of (&h).fresh;
  is (fresh, len);
  host_down (&h);
  host_forget (&h);
  host_up (&world, store, NULL, "", &h);
  is (do_mkdir (&h, U ".partial"), 0);
  for (unsigned seed = 1; seed <= 3; seed++) {
    char path[100];
    AUTO_BUF got;
    buf_init (&got, len + 1);
    snprintf (path, sizeof path, U ".partial/%u", seed);
    f = hold_open (&h, path);
    write_shuffled (&h, path, data, seed);
    if (seed == 2) /* what waits in the window can be read */
      is (do_read (&h, path, &got), 0);
    is (info_of (&h).overlay, 0);
    mount_release (h.m, f);
    if (seed != 2)
      is (do_read (&h, path, &got), 0);
    is (got.len, len);
    assert_memory_equal (got.data, data, len);
  }
  is (do_seal (&h, U ".partial"), 0);
  struct snapshot_info after = info_of (&h);
  is (after.fresh, 0);
  is (after.dedup, 3 * len);
  free (data);
  world_over (&h, store);
}

/* What is ahead is not lost whatever happens before the gap is filled. */
static void
test_window_ends (void **state)
{
  (void) state;
  struct host h;
  struct blob *store = world_begin (&world, &h);
  uint8_t *data = malloc (8 * STEP);
  fill (data, 8 * STEP, 11);
  is (do_mkdir (&h, T ".partial"), 0);
  enum { FSYNC, CUT, GROW, PUNCH, OVER, SKIP, SMALL, SEAL, ENDS };
  static struct journal j;
  struct jsnap *s = journal_snap (&j, T);
  struct file *files[ENDS];
  for (int how = 0; how < ENDS; how++) {
    char path[100], name[8];
    snprintf (name, sizeof name, "%d", how);
    snprintf (path, sizeof path, T ".partial/%s", name);
    struct buf *want = journal_next (journal_file (s, name));
    files[how] = hold_open (&h, path);
    /* pieces 0, 2, 4: 1 and 3 are missing */
    for (unsigned k = 0; k < 6; k += 2)
      is (do_write (&h, path, k * STEP, data + k * STEP, STEP), 0);
    uint8_t *all = calloc (8, STEP);
    size_t len = 5 * STEP;
    for (unsigned k = 0; k < 6; k += 2)
      memcpy (all + k * STEP, data + k * STEP, STEP);
    switch (how) {
    case FSYNC:
      is (do_fsync (&h, path), 0);
      break;
    case CUT:
      len = 2 * STEP + 1000;
      is (do_truncate (&h, path, len), 0);
      break;
    case GROW:
      len = 8 * STEP;
      is (do_truncate (&h, path, len), 0);
      break;
    case PUNCH:
      is (do_punch (&h, path, 2 * STEP + 500, 2 * STEP, false), 0);
      memset (all + 2 * STEP + 500, 0, 2 * STEP);
      break;
    case OVER: /* over the end of one piece and the beginning of the next */
      is (do_write (&h, path, 2 * STEP + 700, data + 5 * STEP, 2 * STEP), 0);
      memcpy (all + 2 * STEP + 700, data + 5 * STEP, 2 * STEP);
      break;
    case SKIP: /* the stream itself over what is ahead */
      is (do_write (&h, path, STEP, data + 3 * STEP, STEP + 99), 0);
      memcpy (all + STEP, data + 3 * STEP, STEP + 99);
      break;
    case SMALL:
      is (do_write (&h, path, 2 * STEP + 50, "small", 5), 0);
      memcpy (all + 2 * STEP + 50, "small", 5);
      is (do_write (&h, path, STEP, data + 3 * STEP, STEP + 99), 0);
      memcpy (all + STEP, data + 3 * STEP, STEP + 99);
      break;
    }
    buf_put (want, all, len < 8 * STEP ? len : 8 * STEP);
    free (all);
  }
  for (int how = 0; how < ENDS; how++)
    mount_release (h.m, files[how]);
  is (do_seal (&h, T ".partial"), 0);
  host_down (&h);
  host_forget (&h);
  host_up (&world, store, NULL, "", &h);
  s->is_sealed = true;
  journal_check_sealed (&h, s);
  journal_free (&j);
  free (data);
  world_over (&h, store);
}

int
main (void)
{
  if (!getenv ("COFFER_TEST_VERBOSE"))
    (void) log_init (LOG_TO_FILE, "/dev/null", false);
  world_init (&world);
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_reordered),
    cmocka_unit_test (test_window_ends),
  };
  int rc = cmocka_run_group_tests (tests, NULL, NULL);
  world_end (&world);
  return rc;
}
