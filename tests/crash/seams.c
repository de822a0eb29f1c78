/* SPDX-License-Identifier: Apache-2.0 */
/* Where an fsync meets other writers of its files: what returned 0 is there after a crash, whatever
 * they did between the push of a file and the checkpoint that tells of it.
 *
 *   reopened    a range is fetched for the push; meanwhile it is written, pushed, closed, and
 *               written again through a new handle
 *   late packs  a pack that the group does not wait for has its name before the checkpoint is
 *               built
 *   rewritten   what was pushed is written again before the checkpoint is built */
#include "world.h"

#include <pthread.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "snapshot/snapshot_priv.h"

#define OLD "db/20251231T000000Z"
#define T "db/20260101T000000Z"
#define MANY 1500 /* files whose nodes are told before the one that matters */

static struct world world;

struct fsyncing {
  pthread_t thread;
  struct host *host;
  const char *path;
  int rc;
  _Atomic bool is_over;
};

static void *
fsync_run (void *arg)
{
  struct fsyncing *f = arg;
  f->rc = do_fsync (f->host, f->path);
  f->is_over = true;
  return NULL;
}

static void
fsync_start (struct fsyncing *f, struct host *h, const char *path)
{
  *f = (struct fsyncing){ .host = h, .path = path };
  MUST (pthread_create (&f->thread, NULL, fsync_run, f));
}

static void
wait_for_building (const struct host *h, const struct fsyncing *f)
{
  struct snap *s = h->m->snaps[0];
  for (bool is_building = false; !is_building && !f->is_over;) {
    usleep (50);
    lock_take (&s->lock);
    is_building = s->is_building;
    lock_release (&s->lock);
  }
}

static void
die_and_come_back (struct host *h, struct blob *store)
{
  struct host killed = *h;
  host_kill (h);
  host_forget (&killed);
  host_up (&world, store, NULL, "", h);
  MUST (mount_adopt (h->m, "r/" T ".partial", ADOPT_FORCE, NULL));
}

static void
end (struct host *h, struct blob *store)
{
  struct host last = *h;
  host_kill (h);
  host_forget (&last);
  blob_free (store);
}

static void
begin (struct host *h, struct blob **store)
{
  *store = world_store (&world, NULL);
  host_up (&world, *store, NULL, "", h);
  MUST (do_mkdir (h, "db"));
}

/* ---- reopened ---- */

#define FILE_LEN (8u << 20)

static void
reopened (void)
{
  world_now = "reopened";
  struct host h;
  struct blob *store;
  AUTO_MEM uint8_t *model = malloc (FILE_LEN);
  begin (&h, &store);
  fill (model, FILE_LEN, 1);
  MUST (do_mkdir (&h, OLD ".partial"));
  MUST (do_write (&h, OLD ".partial/t.ibd", 0, model, FILE_LEN));
  MUST (do_seal (&h, OLD ".partial"));
  struct host first = h;
  host_kill (&h);
  host_forget (&first);
  host_up (&world, store, NULL, "", &h); /* nothing of it is in memory */
  MUST (do_mkdir (&h, T ".partial"));
  MUST (do_fsync (&h, T ".partial"));
  MUST (do_link (&h, OLD "/t.ibd", T ".partial/t.ibd"));
  MUST (do_write (&h, T ".partial/t.ibd", 1000, "first", 5));
  MUST (blob_fault_set (h.fault, "get:/packs/@1+0=stall:1500"));
  struct fsyncing f;
  fsync_start (&f, &h, T ".partial/t.ibd");
  wait_for_building (&h, &f);
  usleep (200000); /* its neighbours are being fetched */
  fill (model, FILE_LEN, 2);
  MUST (do_write (&h, T ".partial/t.ibd", 0, model, FILE_LEN));
  pipe_kick (h.m->snaps[0]->vault->pipe);
  usleep (600000); /* all of it lies in packs */
  memcpy (model + 2000, "second", 6);
  MUST (do_write (&h, T ".partial/t.ibd", 2000, "second", 6));
  pthread_join (f.thread, NULL);
  MUST (f.rc);
  MUST (do_fsync (&h, T ".partial/t.ibd"));
  die_and_come_back (&h, store);
  AUTO_BUF got;
  buf_init (&got, 2 * FILE_LEN);
  MUST (do_read (&h, T ".partial/t.ibd", &got));
  if (got.len != FILE_LEN || memcmp (got.data, model, FILE_LEN) != 0)
    DIE ("%zu bytes came back, not what was written last", got.len);
  end (&h, store);
}

/* ---- late packs ---- */

static void
write_many (struct host *h)
{
  for (unsigned i = 0; i < MANY; i++) {
    char path[100];
    snprintf (path, sizeof path, T ".partial/f%04u", i);
    MUST (do_write (h, path, 0, path, strlen (path)));
  }
}

static void
check_many (struct host *h)
{
  for (unsigned i = 0; i < MANY; i++) {
    char path[100];
    AUTO_BUF got;
    buf_init (&got, 1000);
    snprintf (path, sizeof path, T ".partial/f%04u", i);
    int rc = do_read (h, path, &got);
    if (rc || got.len != strlen (path) || memcmp (got.data, path, got.len) != 0)
      DIE ("%s was acknowledged and is not there: %s", path, err_str (rc));
  }
}

/* Writes PATH and closes the packs, as a group of another snapshot of the vault does. */
static void
write_and_close (struct host *h, const char *path, uint64_t off)
{
  static unsigned no;
  struct snap *s = h->m->snaps[0];
  uint8_t piece[3000];
  fill (piece, sizeof piece, ++no); /* never the same */
  MUST (do_write (h, path, off, piece, sizeof piece));
  MUST (pipe_wait_placed (s->vault->pipe, &s->dep));
  (void) pipe_close_packs (s->vault->pipe, false);
}

static void
wait_for_flying (const struct host *h, const struct fsyncing *f, unsigned packs)
{
  struct pipeline_stats s = { 0 };
  for (; s.flying < packs && !f->is_over; usleep (50))
    pipeline_stats_get (h->m->line, &s);
}

static void
late_packs (void)
{
  world_now = "late packs";
  struct host h;
  struct blob *store;
  begin (&h, &store);
  MUST (do_mkdir (&h, T ".partial"));
  MUST (do_fsync (&h, T ".partial"));
  /* Three keep all uploaders, so that the group's pack and later ones get their names at once. */
  MUST (blob_fault_set (h.fault, "put:/packs/@1+3=stall:500;put:/packs/@5+0=stall:5000"));
  for (unsigned k = 0; k < 3; k++)
    write_and_close (&h, T ".partial/before", k * 3000);
  write_many (&h);
  MUST (do_write (&h, T ".partial/late", 0, "late", 4)); /* told of last */
  struct fsyncing f;
  fsync_start (&f, &h, T ".partial");
  wait_for_flying (&h, &f, 4);
  for (unsigned k = 0; k < 2 && !f.is_over; k++)
    write_and_close (&h, T ".partial/late", 4 + k * 3000);
  pthread_join (f.thread, NULL);
  MUST (f.rc);
  die_and_come_back (&h, store);
  check_many (&h);
  end (&h, store);
}

/* ---- rewritten ---- */

#define PIECE (128u << 10)
#define PIECES 8u

static void
write_version (struct host *h, unsigned version)
{
  AUTO_MEM uint8_t *p = malloc (PIECES * PIECE);
  fill (p, PIECES * PIECE, version);
  for (unsigned k = 0; k < PIECES; k++)
    MUST (do_write (h, T ".partial/rewritten", k * PIECE, p + k * PIECE, PIECE));
}

static bool
has_version (const struct buf *got, unsigned piece, unsigned version)
{
  AUTO_MEM uint8_t *p = malloc (PIECES * PIECE);
  fill (p, PIECES * PIECE, version);
  return memcmp (got->data + piece * PIECE, p + piece * PIECE, PIECE) == 0;
}

/* Whether an earlier checkpoint tells of the file; whether the overlay takes the rewrites. */
static void
rewritten (bool is_told, bool has_overlay)
{
  world_now = is_told ? "rewritten, told before" : "rewritten, new";
  world_now = has_overlay ? world_now : "rewritten, without an overlay";
  struct host h;
  struct blob *store;
  begin (&h, &store);
  MUST (do_mkdir (&h, T ".partial"));
  if (!has_overlay)
    h.m->overlay.max = 0;
  if (is_told)
    write_version (&h, 1);
  MUST (do_fsync (&h, T ".partial"));
  write_many (&h);
  write_version (&h, 2);
  struct fsyncing f;
  fsync_start (&f, &h, T ".partial");
  wait_for_building (&h, &f);
  unsigned last = 2;
  while (!f.is_over && (has_overlay || last < 30))
    write_version (&h, ++last);
  pthread_join (f.thread, NULL);
  MUST (f.rc);
  die_and_come_back (&h, store);
  check_many (&h);
  AUTO_BUF got;
  buf_init (&got, 2 * PIECES * PIECE);
  MUST (do_read (&h, T ".partial/rewritten", &got));
  if (got.len != PIECES * PIECE)
    DIE ("%zu bytes of %u came back", got.len, PIECES * PIECE);
  for (unsigned k = 0; k < PIECES; k++) {
    unsigned v = 2;
    while (v <= last && !has_version (&got, k, v))
      v++;
    if (v > last)
      DIE ("piece %u: what was acknowledged did not come back%s", k,
           has_version (&got, k, 1) ? ", but what was there before" : "");
  }
  end (&h, store);
}

int
main (void)
{
  if (!getenv ("COFFER_TEST_VERBOSE"))
    (void) log_init (LOG_TO_FILE, "/dev/null", false);
  world_init (&world);
  reopened ();
  late_packs ();
  rewritten (true, true);
  rewritten (false, true);
  rewritten (true, false);
  rewritten (false, false);
  world_end (&world);
  printf ("seams: ok\n");
  return 0;
}
