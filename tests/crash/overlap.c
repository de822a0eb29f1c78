/* SPDX-License-Identifier: Apache-2.0 */
/* Groups of fsyncs that overlap: while one checkpoint is on its way the next is built.
 *
 * Threads write each a file of their own, piece by piece, and fsync each piece.  The store answers
 * slowly, then dies before or after the k-th put, fails one, or loses one that was under way
 * while later ones arrived.  What comes back then:
 *   - every byte whose fsync returned 0, in the last content that was acknowledged or a later one;
 *   - a prefix: of no file something that was written after what is missing in it.
 * And a chain with a gap ends there, however much stands behind it; and an fsync ends though others
 * write to its file without end. */
#include "world.h"

#include <pthread.h>

#include "base/clock.h"
#include "base/log.h"
#include "snapshot/snapshot_priv.h"

#define T "db/20260101T000000Z"
#define THREADS 6
#define ROUNDS 12
#define PIECE 3000

static struct world world;

/* File t: in round r piece r is appended; each third round the first bytes are written again too.
 * So its length tells its round, and its first bytes which of those rewrites it has. */
struct writer {
  pthread_t thread;
  struct host *host;
  unsigned no;
  unsigned written, acknowledged; /* rounds */
  bool goes_on;
};

static void
path_of (unsigned no, char *out)
{
  snprintf (out, 100, T ".partial/file%u", no);
}

static void *
write_file (void *arg)
{
  struct writer *w = arg;
  char path[100];
  path_of (w->no, path);
  uint8_t piece[PIECE];
  for (unsigned r = 0; r < ROUNDS; r++) {
    fill (piece, PIECE, w->no * 1000 + r);
    if (do_write (w->host, path, r * PIECE, piece, PIECE) != 0)
      break;
    if (r % 3 == 2 && do_write (w->host, path, 100, piece, 500) != 0)
      break;
    w->written = r + 1;
    if (do_fsync (w->host, path) == 0)
      w->acknowledged = r + 1;
    else if (!w->goes_on)
      break;
  }
  return NULL;
}

/* Which rounds' rewrite the first bytes hold: 0 none. */
static unsigned
rewrite_of (const struct writer *w, const struct buf *got)
{
  uint8_t piece[PIECE];
  for (unsigned r = 2; r < ROUNDS; r += 3) {
    fill (piece, PIECE, w->no * 1000 + r);
    if (memcmp (got->data + 100, piece, 500) == 0)
      return r + 1;
  }
  fill (piece, PIECE, w->no * 1000);
  if (memcmp (got->data + 100, piece + 100, 500) != 0)
    DIE ("file%u: bytes at 100 that it never had", w->no);
  return 0;
}

static void
check_file (struct host *h, const struct writer *w)
{
  char path[100];
  path_of (w->no, path);
  AUTO_BUF got;
  buf_init (&got, 1 << 20);
  int rc = do_read (h, path, &got);
  if (rc == ERR_NOENT && w->acknowledged == 0)
    return;
  if (rc)
    DIE ("%s: %u rounds were acknowledged: %s", path, w->acknowledged, err_str (rc));
  if (got.len < w->acknowledged * PIECE || got.len > ROUNDS * PIECE)
    DIE ("%s: %zu bytes, %u rounds were acknowledged", path, got.len, w->acknowledged);
  if (got.len < PIECE)
    return;
  uint8_t piece[PIECE];
  unsigned again = rewrite_of (w, &got);
  if (again < w->acknowledged / 3 * 3)
    DIE ("%s: the rewrite of round %u was acknowledged, that of %u came back", path,
         w->acknowledged / 3 * 3, again);
  for (size_t off = 0; off < got.len; off += PIECE) {
    fill (piece, PIECE, w->no * 1000 + off / PIECE);
    size_t n = got.len - off < PIECE ? got.len - off : PIECE;
    size_t skip = off ? 0 : 600;
    if (n > skip && memcmp (got.data + off + skip, piece + skip, n - skip) != 0)
      DIE ("%s: wrong bytes in piece %zu of %zu bytes", path, off / PIECE, got.len);
  }
}

static void
check_all (struct blob *store, struct writer *w, bool is_begun)
{
  struct host h;
  host_up (&world, store, NULL, "", &h);
  int rc = mount_adopt (h.m, "r/" T ".partial", ADOPT_FORCE, NULL);
  bool any = false;
  for (unsigned i = 0; i < THREADS; i++)
    any |= w[i].acknowledged != 0;
  if (rc && (any || (rc != ERR_NOENT && is_begun)))
    DIE ("what was fsynced does not come back: %s", err_str (rc));
  for (unsigned i = 0; rc == 0 && i < THREADS; i++)
    check_file (&h, &w[i]);
  if (rc == 0) { /* and goes on, and can be sealed */
    MUST (do_write (&h, T ".partial/after", 0, "after", 5));
    MUST (do_fsync (&h, T ".partial/after"));
    MUST (do_seal (&h, T ".partial"));
  }
  host_kill (&h);
  host_forget (&h);
}

/* Returns how many checkpoints were on their way at once. */
static unsigned
run (const char *spec, bool goes_on)
{
  world_now = spec;
  struct host h;
  struct blob *store = world_store (&world, NULL);
  host_up (&world, store, NULL, "", &h);
  MUST (do_mkdir (&h, "db"));
  MUST (do_mkdir (&h, T ".partial"));
  /* The first checkpoint stands: from here on the puts are those of the groups. */
  MUST (do_fsync (&h, T ".partial"));
  MUST (blob_fault_set (h.fault, spec));
  struct writer w[THREADS];
  for (unsigned i = 0; i < THREADS; i++) {
    w[i] = (struct writer){ .host = &h, .no = i, .goes_on = goes_on };
    if (pthread_create (&w[i].thread, NULL, write_file, &w[i]) != 0)
      DIE ("no thread");
  }
  for (unsigned i = 0; i < THREADS; i++)
    pthread_join (w[i].thread, NULL);
  unsigned most = h.m->snaps[0]->turns_most;
  if (goes_on) { /* whatever failed, the next one brings it */
    if (do_fsync (&h, T ".partial") != 0) /* this very one may be the one that fails */
      MUST (do_fsync (&h, T ".partial"));
    for (unsigned i = 0; i < THREADS; i++)
      w[i].acknowledged = w[i].written;
  }
  struct host killed = h;
  host_kill (&h);
  check_all (store, w, true);
  host_forget (&killed);
  blob_free (store);
  return most;
}

/* A chain of five, of which one is not there. */
static void
gap (unsigned missing)
{
  char what[100];
  snprintf (what, sizeof what, "checkpoint %u is missing", missing);
  world_now = what;
  struct host h;
  struct blob *store = world_store (&world, NULL);
  host_up (&world, store, NULL, "", &h);
  MUST (do_mkdir (&h, "db"));
  MUST (do_mkdir (&h, T ".partial"));
  MUST (do_fsync (&h, T ".partial")); /* the first is made by mkdir, at its own time */
  for (unsigned k = 3; k <= 5; k++) {
    char path[100];
    snprintf (path, sizeof path, T ".partial/n%u", k);
    MUST (do_write (&h, path, 0, path, strlen (path)));
    MUST (do_fsync (&h, path));
  }
  char key[200];
  snprintf (key, sizeof key, "vaults/db/open/20260101T000000Z/%s/%010u", h.m->snaps[0]->part,
            missing);
  struct host killed = h;
  host_kill (&h);
  const char *keys[] = { key };
  struct blob_info info;
  MUST (blob_head (store, key, &info));
  MUST (blob_delete (store, keys, 1));
  host_up (&world, store, NULL, "", &h);
  int rc = mount_adopt (h.m, "r/" T ".partial", ADOPT_FORCE, NULL);
  if (rc != (missing == 1 ? ERR_NOENT : 0))
    DIE ("recovered: %s", err_str (rc));
  for (unsigned k = 3; k <= 5 && missing > 1; k++) {
    char path[100];
    struct node_stat st;
    snprintf (path, sizeof path, T ".partial/n%u", k);
    rc = do_lookup (&h, path, &st);
    if (rc != (k < missing ? 0 : ERR_NOENT))
      DIE ("%s: %s", path, err_str (rc));
  }
  host_kill (&h);
  host_forget (&h);
  host_forget (&killed);
  blob_free (store);
}

/* ---- an fsync beside one who writes without end to the same file ---- */

#define BLOCKS 40u
#define BLOCK 65536u

struct scribbler {
  pthread_t thread;
  struct host *host;
  uint8_t *model; /* what the file must hold */
  _Atomic bool is_over;
};

static void
scribble_once (struct scribbler *w, unsigned block, unsigned round)
{
  size_t off = (size_t) block * BLOCK + 1000 + round * 131 % 50000;
  fill (w->model + off, 100, round * 1000 + block);
  MUST (do_write (w->host, T ".partial/t.ibd", off, w->model + off, 100));
}

static void *
scribble (void *arg)
{
  struct scribbler *w = arg;
  for (unsigned k = 0; !w->is_over; k++)
    scribble_once (w, k * 7 % BLOCKS, k + 1);
  return NULL;
}

static void
beside_a_writer (void)
{
  world_now = "fsync beside a writer";
  struct host h;
  struct blob *store = world_store (&world, NULL);
  host_up (&world, store, NULL, "", &h);
  struct scribbler w = { .host = &h, .model = malloc (BLOCKS * BLOCK) };
  fill (w.model, BLOCKS * BLOCK, 5);
  MUST (do_mkdir (&h, "db"));
  MUST (do_mkdir (&h, "db/20251231T000000Z.partial"));
  MUST (do_write (&h, "db/20251231T000000Z.partial/t.ibd", 0, w.model, BLOCKS * BLOCK));
  MUST (do_seal (&h, "db/20251231T000000Z.partial"));
  struct host first = h;
  host_kill (&h);
  host_forget (&first);
  host_up (&world, store, NULL, "", &h); /* nothing of it is in memory */
  MUST (do_mkdir (&h, T ".partial"));
  MUST (do_link (&h, "db/20251231T000000Z/t.ibd", T ".partial/t.ibd"));
  for (unsigned b = 0; b < BLOCKS; b++)
    scribble_once (&w, b, 0);
  MUST (blob_fault_set (h.fault, "get@1+0=stall:20"));
  MUST (pthread_create (&w.thread, NULL, scribble, &w));
  for (unsigned k = 0; k < 3; k++) {
    int64_t begun = clock_now ();
    MUST (do_fsync (&h, T ".partial/t.ibd"));
    if (clock_now () - begun > 60 * NS_PER_S)
      DIE ("an fsync took more than a minute");
  }
  w.is_over = true;
  pthread_join (w.thread, NULL);
  MUST (do_fsync (&h, T ".partial/t.ibd"));
  struct host killed = h;
  host_kill (&h);
  host_forget (&killed);
  host_up (&world, store, NULL, "", &h);
  MUST (mount_adopt (h.m, "r/" T ".partial", ADOPT_FORCE, NULL));
  AUTO_BUF got;
  buf_init (&got, 2 * BLOCKS * BLOCK);
  MUST (do_read (&h, T ".partial/t.ibd", &got));
  if (got.len != BLOCKS * BLOCK || memcmp (got.data, w.model, got.len) != 0)
    DIE ("%zu bytes came back, not what was written", got.len);
  struct host last = h;
  host_kill (&h);
  host_forget (&last);
  blob_free (store);
  free (w.model);
}

int
main (int argc, char **argv)
{
  if (!getenv ("COFFER_TEST_VERBOSE"))
    (void) log_init (LOG_TO_FILE, "/dev/null", false);
  world_init (&world);
  for (unsigned k = 1; k <= 5; k++)
    gap (k);
  beside_a_writer ();
  unsigned step = argc > 1 ? (unsigned) strtoul (argv[1], NULL, 10) : 3;
  unsigned most = 0;
  static const char *const faults[] = { "dead", "dead-after", "fail:io", "lose:io" };
  for (unsigned k = 1; k < 40; k += step)
    for (unsigned way = 0; way < 4; way++) {
      char spec[200];
      /* Its own put waits while those behind it arrive; then it fails, or all ends. */
      snprintf (spec, sizeof spec, "put:/open/@%u=%s;put@1+0=stall:3", k, faults[way]);
      unsigned n = run (spec, way >= 2);
      most = n > most ? n : most;
      /* The same of a pack: its checkpoint may stand without it. */
      snprintf (spec, sizeof spec, "put:/packs/@%u=%s;put:/open/@1+0=stall:1;"
                "put:/packs/@1+0=stall:6", k, way & 1 ? "dead-after" : "dead");
      if (way < 2)
        (void) run (spec, false);
    }
  if (most < 2)
    DIE ("no two checkpoints were on their way at once");
  printf ("%u checkpoints on their way at once\n", most);
  world_now = "end";
  world_end (&world);
  return 0;
}
