/* SPDX-License-Identifier: Apache-2.0 */
/* Names that move while a checkpoint is built.
 *
 * Promise 2: a file whose fsync was answered is there after a crash, under one of the names that it
 * had since, however its names change beside the fsyncs of others.  A checkpoint that looked at
 * each name as it is at that moment told of a file twice or not at all: it was at `a` when `b`
 * was looked at, and the other way round.  The same for whole directories, for two names that are
 * exchanged, and for a directory that is emptied by renames and removed.  And the link count of a
 * file is that of its names. */
#include "world.h"

#include <pthread.h>

#include "base/lock.h"
#include "base/log.h"

#define T "db/20260101T000000Z"
#ifdef WITH_SANITIZER /* ten times as slow */
#define ROUNDS 8
#else
#define ROUNDS 40
#endif
#define FILLER 40 /* names in front: the build takes a while */
#define SIZE 5000

static struct world world;

struct mover {
  pthread_t thread;
  struct host *host;
  unsigned way;
  _Atomic bool is_over;
};
enum { FILES, DIRECTORIES, EXCHANGE, EMPTIED, LINKED, WAYS };

static void
swap_names (struct host *h, const char *a, const char *b)
{
  struct node_stat dir;
  MUST (do_lookup (h, T ".partial", &dir));
  MUST (mount_rename (h->m, dir.node, a, dir.node, b, RENAME_FLAG_EXCHANGE));
  mount_forget (h->m, dir.node, 1);
}

static void *
move (void *arg)
{
  struct mover *v = arg;
  struct host *h = v->host;
  while (!v->is_over)
    switch (v->way) {
    case FILES:
      MUST (do_rename (h, T ".partial/a", T ".partial/b"));
      MUST (do_rename (h, T ".partial/b", T ".partial/a"));
      break;
    case DIRECTORIES:
      MUST (do_rename (h, T ".partial/d/a", T ".partial/e/a"));
      MUST (do_rename (h, T ".partial/d", T ".partial/x"));
      MUST (do_rename (h, T ".partial/e", T ".partial/d"));
      MUST (do_rename (h, T ".partial/x", T ".partial/e"));
      break;
    case EXCHANGE: swap_names (h, "a", "b"); break;
    case LINKED:
      MUST (do_link (h, T ".partial/a", T ".partial/b"));
      MUST (do_unlink (h, T ".partial/a"));
      MUST (do_rename (h, T ".partial/b", T ".partial/a"));
      break;
    default:
      MUST (do_mkdir (h, T ".partial/new"));
      MUST (do_rename (h, T ".partial/a", T ".partial/new/a"));
      MUST (do_rename (h, T ".partial/new", T ".partial/old"));
      MUST (do_rename (h, T ".partial/old/a", T ".partial/a"));
      MUST (do_rmdir (h, T ".partial/old"));
    }
  return NULL;
}

/* How many of the names below are the file; each must be all of it. */
struct found {
  struct host *host;
  const uint8_t *want;
  unsigned count, links;
};

static void
look (void *ctx, const char *below)
{
  struct found *f = ctx;
  char path[300];
  const char *last = strrchr (below, '/');
  last = last ? last + 1 : below;
  if (strcmp (last, "a") != 0 && strcmp (last, "b") != 0)
    return;
  AUTO_BUF got;
  buf_init (&got, 1 << 20);
  snprintf (path, sizeof path, T ".partial/%s", below);
  MUST (do_read (f->host, path, &got));
  if (got.len == 1)
    return; /* the other one of an exchange */
  if (got.len != SIZE || memcmp (got.data, f->want, SIZE) != 0)
    DIE ("%s is not what was acknowledged: %zu bytes", below, got.len);
  struct node_stat st;
  MUST (do_lookup (f->host, path, &st));
  mount_forget (f->host->m, st.node, 1);
  f->links = st.attr.nlink;
  f->count++;
}

static void
once (unsigned way, unsigned round)
{
  static char name[80];
  snprintf (name, sizeof name, "way %u round %u", way, round);
  world_now = name;
  struct blob *store = world_store (&world, NULL);
  struct host h;
  host_up (&world, store, NULL, "", &h);
  MUST (do_mkdir (&h, "db"));
  MUST (do_mkdir (&h, T ".partial"));
  MUST (do_mkdir (&h, T ".partial/d"));
  MUST (do_mkdir (&h, T ".partial/e"));
  uint8_t data[SIZE];
  fill (data, SIZE, round);
  const char *at = way == DIRECTORIES ? T ".partial/d/a" : T ".partial/a";
  MUST (do_write (&h, at, 0, data, SIZE));
  if (way == EXCHANGE)
    MUST (do_write (&h, T ".partial/b", 0, "x", 1));
  MUST (do_fsync (&h, at)); /* from here on it must never be lost */
  struct mover v = { .host = &h, .way = way };
  if (pthread_create (&v.thread, NULL, move, &v) != 0)
    DIE ("no thread");
  for (unsigned k = 0; k < FILLER; k++) {
    char path[100];
    snprintf (path, sizeof path, T ".partial/filler%u", k);
    MUST (do_write (&h, path, 0, "y", 1));
  }
  for (unsigned k = 0; k < 1 + round % 3; k++)
    MUST (do_fsync (&h, T ".partial/filler0"));
  v.is_over = true;
  pthread_join (v.thread, NULL);
  struct host killed = h;
  host_kill (&h);
  host_forget (&killed);
  host_up (&world, store, NULL, "", &h);
  MUST (mount_adopt (h.m, "r/" T ".partial", ADOPT_FORCE, NULL));
  struct found f = { .host = &h, .want = data };
  do_walk (&h, T ".partial", look, &f);
  if (f.count != 1 && !(way == LINKED && f.count == 2))
    DIE ("a file that was acknowledged came back under %u names", f.count);
  if (f.links != f.count)
    DIE ("%u links, but %u names", f.links, f.count);
  MUST (do_write (&h, T ".partial/after", 0, "z", 1));
  MUST (do_seal (&h, T ".partial"));
  struct host last = h;
  host_kill (&h);
  host_forget (&last);
  blob_free (store);
}

int
main (int argc, char **argv)
{
  if (!getenv ("COFFER_TEST_VERBOSE"))
    (void) log_init (LOG_TO_FILE, "/dev/null", false);
  world_init (&world);
  unsigned rounds = argc > 1 ? (unsigned) strtoul (argv[1], NULL, 10) : ROUNDS;
  for (unsigned round = 0; round < rounds; round++)
    for (unsigned way = 0; way < WAYS; way++)
      once (way, round);
  world_now = "end";
  world_end (&world);
  return 0;
}
