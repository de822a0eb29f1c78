/* SPDX-License-Identifier: Apache-2.0 */
/* The dedup index: what it finds is true, what it should find it does; its files may be damaged.
 * Longer than 600 lines: every test works on the same small index and its helpers. */
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/log.h"
#include "store/index_priv.h"

static uint64_t rng = 88172645463325252ull;
static uint64_t
next_random (void)
{
  rng ^= rng << 13;
  rng ^= rng >> 7;
  rng ^= rng << 17;
  return rng;
}

struct fixture {
  char dir[64];
  struct index *x;
};

static void
each_file (const char *dir, void (*fn) (const char *path))
{
  DIR *d = opendir (dir);
  assert_non_null (d);
  for (struct dirent *e; (e = readdir (d));) {
    char path[400];
    snprintf (path, sizeof path, "%s/%s", dir, e->d_name);
    if (e->d_name[0] != '.')
      fn (path);
  }
  closedir (d);
}

static void
remove_path (const char *path)
{
  unlink (path);
}

static int
setup (void **state)
{
  struct fixture *f = calloc (1, sizeof *f);
  snprintf (f->dir, sizeof f->dir, "/tmp/coffer-index.XXXXXX");
  if (!mkdtemp (f->dir) || index_open (f->dir, &f->x) < 0)
    return -1;
  *state = f;
  return 0;
}

static int
teardown (void **state)
{
  struct fixture *f = *state;
  index_free (f->x);
  each_file (f->dir, remove_path);
  rmdir (f->dir);
  free (f);
  return 0;
}

static void
reopen (struct fixture *f)
{
  index_free (f->x);
  f->x = NULL;
  assert_int_equal (index_open (f->dir, &f->x), 0);
}

/* The id, the name and the place of chunk or pack number I: anybody can compute them again. */
static void
id_of (uint64_t i, uint8_t id[32])
{
  for (int k = 0; k < 4; k++) {
    uint64_t h = (i * 4 + (uint64_t) k + 1) * 0x9e3779b97f4a7c15ull;
    h ^= h >> 29;
    h *= 0xbf58476d1ce4e5b9ull;
    h ^= h >> 32;
    put_le64 (id + 8 * k, h);
  }
}

static struct chunk_ref
ref_of (uint64_t i, uint32_t pack)
{
  struct chunk_ref r = { .pack = pack,
                         .off = (uint32_t) (64 + i % 1000),
                         .sealed_len = (uint32_t) (41 + i % 5000),
                         .plain_len = (uint32_t) (1 + i % 70000) };
  id_of (i, r.id);
  return r;
}

static void
add (struct index *x, uint64_t i, uint32_t pack)
{
  struct chunk_ref r = ref_of (i, pack);
  assert_int_equal (index_add (x, UNIT_DATA, &r), 0);
}

/* Whether chunk I is found; what is found must be right. */
static bool
has (struct index *x, uint64_t i, uint32_t pack)
{
  struct chunk_ref want = ref_of (i, pack), got = { 0 };
  if (!index_find (x, UNIT_DATA, want.id, want.plain_len, &got))
    return false;
  assert_memory_equal (&got, &want, sizeof got);
  return true;
}

static uint32_t
begin (struct index *x)
{
  uint32_t no = 0;
  assert_int_equal (index_pack_begin (x, 1, &no), 0);
  return no;
}

static void
done (struct index *x, uint32_t no, uint64_t i)
{
  uint8_t name[32];
  id_of (1000000000 + i, name);
  assert_int_equal (index_pack_done (x, no, name, 16777216), 0);
}

/* Guards: the life of an own pack: in flight its chunks are found, dropped they are not, and after
 * a restart what was never done is gone while the rest needs a pin. */
static void
packs_live_as_told (void **state)
{
  struct fixture *f = *state;
  uint32_t a = begin (f->x), b = begin (f->x), c = begin (f->x);
  uint8_t name[32], want[32];
  add (f->x, 1, a);
  add (f->x, 2, b);
  add (f->x, 3, c);
  assert_true (has (f->x, 1, a));
  assert_true (index_pack_is_own (f->x, a) && index_is_usable (f->x, a));
  assert_int_equal (index_pack_name (f->x, a, name), ERR_STATE);
  done (f->x, a, 1);
  id_of (1000000001, want);
  assert_int_equal (index_pack_name (f->x, a, name), 0);
  assert_memory_equal (name, want, 32);
  assert_int_equal (index_pack_done (f->x, a, name, 1), ERR_STATE);
  index_pack_drop (f->x, b);
  assert_false (has (f->x, 2, b));
  assert_int_equal (index_pack_name (f->x, b, name), ERR_MISSING);
  assert_true (has (f->x, 1, a) && has (f->x, 3, c));
  uint64_t epoch = index_epoch (f->x);
  reopen (f);
  assert_int_equal (index_epoch (f->x), epoch);
  assert_false (index_pack_is_own (f->x, a));
  assert_false (has (f->x, 1, a));
  struct chunk_ref r = ref_of (1, a), got;
  assert_true (index_find_any (f->x, UNIT_DATA, r.id, &got));
  assert_memory_equal (&got, &r, sizeof r);
  index_pin (f->x, a);
  assert_true (has (f->x, 1, a));
  assert_false (index_find (f->x, UNIT_TREE_PAGE, r.id, r.plain_len, &got));
  assert_false (index_find (f->x, UNIT_DATA, r.id, r.plain_len + 1, &got));
  index_unpin (f->x, a);
  assert_false (has (f->x, 1, a));
  index_pin (f->x, c);
  assert_false (has (f->x, 3, c));
  assert_int_equal (index_pack_name (f->x, c, name), ERR_MISSING);
  assert_true (begin (f->x) > c); /* no number comes back */
}

/* Guards: names of others' packs get one number each, for ever; a pack that the collector removed
 * is found no more, even if it is named again. */
static void
packs_are_interned_and_forgotten (void **state)
{
  struct fixture *f = *state;
  uint32_t no[6000], again;
  uint8_t name[32], other[32];
  for (uint64_t i = 0; i < 6000; i++) {
    id_of (i, name);
    assert_int_equal (index_pack_intern (f->x, name, &no[i]), 0);
  }
  reopen (f);
  for (uint64_t i = 0; i < 6000; i++) {
    id_of (i, name);
    assert_int_equal (index_pack_intern (f->x, name, &again), 0);
    assert_int_equal (again, no[i]);
    assert_int_equal (index_pack_name (f->x, again, other), 0);
    assert_memory_equal (name, other, 32);
  }
  add (f->x, 77, no[5]);
  index_pin (f->x, no[5]);
  assert_true (has (f->x, 77, no[5]));
  id_of (5, name);
  index_forget_pack (f->x, name);
  assert_false (has (f->x, 77, no[5]));
  reopen (f);
  index_pin (f->x, no[5]);
  assert_false (index_is_usable (f->x, no[5]));
  id_of (99999, name); /* forgotten before it was known */
  index_forget_pack (f->x, name);
  assert_int_equal (index_pack_intern (f->x, name, &again), 0);
  index_pin (f->x, again);
  assert_false (index_is_usable (f->x, again));
}

/* Guards: the multiset of live entries is preserved by flushes, merges and restarts: every entry of
 * a pack that is there is found, no other is.  PACK_OF[i] is the pack of chunk i. */
static void
entries_survive_merges (void **state)
{
  struct fixture *f = *state;
  enum { N = 30000, PER_PACK = 300 };
  AUTO_MEM uint32_t *pack_of = calloc (N, sizeof *pack_of);
  AUTO_MEM bool *is_dropped = calloc (N, sizeof *is_dropped);
  uint32_t flushes = 0;
  for (uint64_t i = 0; i < N;) {
    uint32_t no = begin (f->x);
    bool is_drop = next_random () % 8 == 0;
    for (uint64_t end = i + PER_PACK; i < end; i++) {
      add (f->x, i, no);
      pack_of[i] = no;
      is_dropped[i] = is_drop;
    }
    if (is_drop)
      index_pack_drop (f->x, no);
    else
      done (f->x, no, i);
    if (next_random () % 4 == 0) {
      index_flush (f->x);
      flushes++;
    }
    if (next_random () % 8 == 0)
      index_maintain (f->x);
    if (next_random () % 50 == 0)
      reopen (f);
  }
  assert_true (flushes > 10);
  for (int round = 0; round < 2; round++) {
    reopen (f);
    for (uint64_t i = 0; i < N; i++) {
      index_pin (f->x, pack_of[i]);
      assert_int_equal (has (f->x, i, pack_of[i]), !is_dropped[i]);
    }
    for (uint64_t i = N; i < N + 1000; i++)
      assert_false (has (f->x, i, 0));
    for (int i = 0; i < 10; i++)
      index_maintain (f->x);
  }
  struct index_stats s;
  index_stats_get (f->x, &s);
  assert_true (s.runs < 10);
}

/* Guards: copies of one chunk in many packs are all kept by a merge, over the bounds of pages too:
 * whichever pack is pinned, its copy is found. */
static void
copies_are_all_kept (void **state)
{
  struct fixture *f = *state;
  uint32_t no[10];
  for (uint64_t p = 0; p < 10; p++) {
    no[p] = begin (f->x);
    for (uint64_t i = 0; i < 400; i++)
      add (f->x, i, no[p]);
    done (f->x, no[p], p);
    index_flush (f->x);
  }
  for (int i = 0; i < 5; i++)
    index_maintain (f->x);
  reopen (f);
  struct index_stats s;
  index_stats_get (f->x, &s);
  assert_int_equal (s.entries, 4000);
  assert_true (s.runs < 4);
  for (int p = 0; p < 10; p++) {
    index_pin (f->x, no[p]);
    for (uint64_t i = 0; i < 400; i++)
      assert_true (has (f->x, i, no[p]));
    index_unpin (f->x, no[p]);
  }
}

/* Guards: a merge leaves out what packs that have gone held, and an index of nothing else is empty.
 * */
static void
merges_drop_what_has_gone (void **state)
{
  struct fixture *f = *state;
  uint8_t name[32];
  for (uint64_t p = 0; p < 6; p++) {
    uint32_t no = begin (f->x);
    for (uint64_t i = 0; i < 500; i++)
      add (f->x, p * 500 + i, no);
    done (f->x, no, p);
    index_flush (f->x);
  }
  for (uint64_t p = 0; p < 6; p++) {
    id_of (1000000000 + p, name);
    index_forget_pack (f->x, name);
  }
  index_maintain (f->x);
  struct index_stats s;
  index_stats_get (f->x, &s);
  assert_int_equal (s.entries, 0);
  assert_int_equal (s.runs, 0);
}

/* Guards: what one host exports another can use, in deltas small and large, once each, also after
 * the exporting one was restarted; unfinished and dropped packs are not in it. */
static void
deltas_carry_entries_to_others (void **state)
{
  struct fixture *f = *state;
  void *other_state;
  setup (&other_state);
  struct fixture *g = other_state;
  enum { N = 100000, PER_PACK = 1000 };
  uint32_t lost = begin (f->x), failed = begin (f->x);
  add (f->x, N + 1, lost);
  add (f->x, N + 2, failed);
  for (uint64_t i = 0; i < N; i += PER_PACK) {
    uint32_t no = begin (f->x);
    for (uint64_t k = i; k < i + PER_PACK; k++)
      add (f->x, k, no);
    done (f->x, no, i);
    if (i == N / 2)
      reopen (f);
  }
  index_pack_drop (f->x, failed);
  int deltas = 0;
  size_t packs = 0;
  for (;; deltas++) {
    struct index_delta d;
    char object[64];
    assert_int_equal (index_export (f->x, &d), 0);
    if (d.pack_count == 0) {
      index_delta_release (&d);
      break;
    }
    if (deltas == 1) { /* the first attempt failed: it comes again */
      size_t count = d.entry_count;
      index_delta_release (&d);
      assert_int_equal (index_export (f->x, &d), 0);
      assert_int_equal (d.entry_count, count);
    }
    assert_in_range (d.entry_count, 1, 65536);
    AUTO_BUF plain; /* the codec checks order and bounds */
    buf_init (&plain, 64u << 20);
    assert_int_equal (index_delta_encode (&d, &plain), 0);
    packs += d.pack_count;
    snprintf (object, sizeof object, "0011223344556677-%010d", deltas);
    assert_false (index_has_delta (g->x, object));
    assert_int_equal (index_load_delta (g->x, object, &d), 0);
    assert_true (index_has_delta (g->x, object));
    index_exported (f->x);
    index_delta_release (&d);
  }
  assert_int_equal (packs, N / PER_PACK);
  assert_true (deltas >= 2);
  reopen (g);
  assert_true (index_has_delta (g->x, "0011223344556677-0000000000"));
  assert_true (index_has_delta (g->x, "0011223344556677-0000000001"));
  assert_false (index_has_delta (g->x, "0011223344556677-0000000777"));
  index_mark_delta (g->x, "mine");
  reopen (g);
  assert_true (index_has_delta (g->x, "mine"));
  for (uint64_t i = 0; i < N; i += PER_PACK) {
    uint8_t name[32];
    uint32_t no;
    id_of (1000000000 + i, name);
    assert_int_equal (index_pack_intern (g->x, name, &no), 0);
    assert_false (has (g->x, i, no));
    index_pin (g->x, no);
    for (uint64_t k = i; k < i + PER_PACK; k++)
      assert_true (has (g->x, k, no));
  }
  teardown (&other_state);
}

/* Guards: a small delta that was loaded into memory only is loaded again after a crash. */
static void
unwritten_deltas_are_not_noted (void **state)
{
  struct fixture *f = *state;
  struct index_pack pack = { .kind = 1, .size = 1000 };
  struct index_entry entry = { .off = 64, .sealed_len = 100, .plain_len = 60, .type = UNIT_DATA };
  struct index_delta d = { .packs = &pack, .pack_count = 1, .entries = &entry, .entry_count = 1 };
  id_of (5, pack.name);
  assert_int_equal (index_load_delta (f->x, "a", &d), 0);
  struct index *crashed = f->x; /* never freed: a second one opens what is on disk */
  f->x = NULL;
  assert_int_equal (index_open (f->dir, &f->x), 0);
  assert_false (index_has_delta (f->x, "a"));
  index_free (crashed);
}

/* The model of the next test: chunk i is in pack_of[i]. */
static void
check_sound (struct index *x, const uint32_t *pack_of, uint64_t n, uint64_t *found)
{
  for (uint64_t i = 0; i < n; i++) {
    index_pin (x, pack_of[i]);
    *found += has (x, i, pack_of[i]); /* asserts that what is found is right */
  }
}

static int damage_kind;
static void
damage (const char *path)
{
  struct stat st;
  int fd = open (path, O_RDWR);
  assert_true (fd >= 0 && fstat (fd, &st) == 0);
  if (next_random () % 3 == 0 && st.st_size > 0) {
    off_t at = (off_t) (next_random () % (uint64_t) st.st_size);
    uint64_t bytes[8];
    for (int i = 0; i < 8; i++)
      bytes[i] = next_random ();
    if (damage_kind == 0)
      assert_true (pwrite (fd, bytes, 1 + next_random () % 64, at) > 0);
    else if (damage_kind == 1)
      assert_int_equal (ftruncate (fd, at), 0);
    else
      assert_int_equal (unlink (path), 0);
  }
  close (fd);
}

/* Guards: files altered, cut or removed at random: it opens, and never gives a wrong answer. */
static void
damage_never_gives_a_wrong_answer (void **state)
{
  struct fixture *f = *state;
  enum { N = 6000 };
  AUTO_MEM uint32_t *pack_of = calloc (N, sizeof *pack_of);
  uint64_t found = 0;
  log_set_level (LOG_LVL_ERR);
  for (int round = 0; round < 45; round++) {
    uint64_t epoch = index_epoch (f->x);
    for (uint64_t i = 0; i < N;) {
      uint32_t no = begin (f->x);
      for (uint64_t end = i + 500; i < end; i++) {
        add (f->x, i, no);
        pack_of[i] = no;
      }
      done (f->x, no, i + (uint64_t) round * N);
      if (i % 2000 == 0)
        index_flush (f->x);
    }
    index_free (f->x);
    f->x = NULL;
    damage_kind = round % 3;
    each_file (f->dir, damage);
    assert_int_equal (index_open (f->dir, &f->x), 0);
    if (index_epoch (f->x) == epoch)
      check_sound (f->x, pack_of, N, &found);
    for (uint64_t i = 0; i < N; i += 500) { /* a name is right or missing */
      uint8_t name[32], want[32];
      id_of (1000000000 + i + 500 + (uint64_t) round * N, want);
      if (index_epoch (f->x) == epoch && index_pack_name (f->x, pack_of[i], name) == 0)
        assert_memory_equal (name, want, 32);
    }
    index_maintain (f->x);
  }
  log_set_level (LOG_LVL_INFO);
  assert_true (found > N); /* and much of it is still there */
}

/* Guards: a full disk costs hints, or is told where a number is not safe; all goes on after. */
static void
a_full_disk_is_survived (void **state)
{
  struct fixture *f = *state;
  struct rlimit old, tight;
  assert_int_equal (getrlimit (RLIMIT_FSIZE, &old), 0);
  tight = (struct rlimit){ 100000, old.rlim_max }; /* 2,000 packs, some pages of a run */
  uint32_t no = begin (f->x), last = no;
  int rc = 0;
  log_set_level (LOG_LVL_ERR);
  signal (SIGXFSZ, SIG_IGN);
  assert_int_equal (setrlimit (RLIMIT_FSIZE, &tight), 0);
  for (uint64_t i = 0; i < 20000; i++)
    add (f->x, i, no);
  done (f->x, no, 1);
  assert_true (has (f->x, 19999, no));
  index_flush (f->x);
  index_maintain (f->x);
  for (int i = 0; i < 3000 && rc == 0; i++) {
    rc = index_pack_begin (f->x, 1, &last);
    if (rc == 0)
      done (f->x, last, 2000000 + (uint64_t) i);
  }
  assert_int_not_equal (rc, 0);
  assert_int_equal (setrlimit (RLIMIT_FSIZE, &old), 0);
  signal (SIGXFSZ, SIG_DFL);
  log_set_level (LOG_LVL_INFO);
  uint32_t next = begin (f->x);
  assert_true (next > last);
  add (f->x, 500000, next);
  done (f->x, next, 3);
  reopen (f);
  index_pin (f->x, next);
  assert_true (has (f->x, 500000, next));
}

struct worker {
  struct index *x;
  uint64_t from;
  bool is_keen; /* looks at what it added */
};

static void *
work (void *arg)
{
  struct worker *w = arg;
  for (uint64_t round = 0; round < 40; round++) {
    uint64_t from = w->from + round * 2000;
    uint32_t no = begin (w->x);
    for (uint64_t i = from; i < from + 2000; i++) {
      add (w->x, i, no);
      if (w->is_keen && i % 7 == 0 && !has (w->x, i, no))
        abort ();
    }
    done (w->x, no, from);
    if (round % 8 == 0)
      index_flush (w->x);
    index_maintain (w->x);
  }
  return NULL;
}

static void
work_in_threads (struct index *x, unsigned threads, bool is_keen)
{
  struct worker w[32];
  pthread_t t[32];
  for (unsigned i = 0; i < threads; i++) {
    w[i] = (struct worker){ x, i * UINT64_C (1000000), is_keen };
    assert_int_equal (pthread_create (&t[i], NULL, work, &w[i]), 0);
  }
  for (unsigned i = 0; i < threads; i++)
    pthread_join (t[i], NULL);
  index_flush (x);
  struct index_stats s;
  index_stats_get (x, &s);
  assert_int_equal (s.entries, threads * UINT64_C (80000));
}

/* Guards: several threads add, find, flush and merge at once; nothing of what they add is lost. */
static void
threads_do_not_disturb_each_other (void **state)
{
  work_in_threads (((struct fixture *) *state)->x, 3, true);
}

/* Guards: many wait for room in a table that their own packs nearly fill, and each gets it, however
 * often others are faster. */
static void
who_waits_for_room_gets_it (void **state)
{
#ifdef WITH_SANITIZER
  unsigned threads = 8; /* it is so slow that entries wait which no flush can take */
#else
  unsigned threads = 28; /* 56,000 entries of packs being filled; MEM_FULL: 61,440 */
#endif
  work_in_threads (((struct fixture *) *state)->x, threads, false);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup_teardown (packs_live_as_told, setup, teardown),
    cmocka_unit_test_setup_teardown (packs_are_interned_and_forgotten, setup, teardown),
    cmocka_unit_test_setup_teardown (entries_survive_merges, setup, teardown),
    cmocka_unit_test_setup_teardown (copies_are_all_kept, setup, teardown),
    cmocka_unit_test_setup_teardown (merges_drop_what_has_gone, setup, teardown),
    cmocka_unit_test_setup_teardown (deltas_carry_entries_to_others, setup, teardown),
    cmocka_unit_test_setup_teardown (unwritten_deltas_are_not_noted, setup, teardown),
    cmocka_unit_test_setup_teardown (damage_never_gives_a_wrong_answer, setup, teardown),
    cmocka_unit_test_setup_teardown (a_full_disk_is_survived, setup, teardown),
    cmocka_unit_test_setup_teardown (threads_do_not_disturb_each_other, setup, teardown),
    cmocka_unit_test_setup_teardown (who_waits_for_room_gets_it, setup, teardown),
  };
  return cmocka_run_group_tests (tests, NULL, NULL);
}
