/* SPDX-License-Identifier: Apache-2.0 */
/* The promises of scenario.h over the directory backend, against power cuts.
 *
 * The scenario runs once to learn how many calls it makes that change the store's directory; then,
 * for each k, the power is cut before the k-th of them, or that one fails and all goes on to the
 * end and a power cut there.  What was not synced by then - contents of files, entries of
 * directories, the directories above the store too - is gone (disk.h), and what is left is judged.
 * Each case comes with entries lost or written before the data, with the host's state or without,
 * with and without a rename that does not replace.
 *
 * That the test would notice is tried first: with a disk that ignores fsync of directories, and one
 * that ignores that of files, it must fail.
 *
 *   file_points [FIRST [LAST]]   only these k, each in all sixteen ways.  Without arguments each k
 * in one way, or in all with COFFER_TEST_ALL. */
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "blob/file.h"
#include "disk.h"
#include "scenario.h"

enum way {
  WAY_EAGER = 1,
  WAY_LOSE_STATE = 2,
  WAY_NO_FLAGS = 4,
  WAY_PASSING = 8,
  WAYS = 16,
};

static char live[400]; /* the store of the host that is to die */

static int
open_live (struct blob *store, struct blob **out)
{
  (void) store;
  return blob_file_open (live, false, out);
}

/* A new store in directories that are all new. */
static void
make_store (struct world *w)
{
  struct blob *b;
  struct keyring *k;
  struct unlock u = { .key_file = w->key };
  MUST (blob_file_open (live, true, &b));
  MUST (store_init (b, &u, "test", &k));
  keyring_free (k);
  blob_free (b);
}

struct copying {
  struct blob *from, *to;
};

static int
copy_one (void *ctx, const struct blob_entry *e)
{
  struct copying *c = ctx;
  AUTO_BUF data;
  buf_init (&data, 64u << 20);
  MUST (blob_get_all (c->from, e->key, &data));
  MUST (blob_put (c->to, e->key, data.data, data.len, NULL));
  return 0;
}

/* What the directory backend shows in DIR, as a store in memory. */
static struct blob *
load (const char *dir)
{
  struct copying c;
  MUST (blob_file_open (dir, false, &c.from));
  MUST (blob_memory_new (&c.to));
  MUST (blob_list (c.from, "", "", false, copy_one, &c));
  blob_free (c.from);
  return c.to;
}

/* Returns how many calls there were. */
static size_t
run_one (struct world *w, size_t k, unsigned way, enum disk_lie lie)
{
  static unsigned number;
  static struct run r;
  char base[300], left[300], state[320];
  memset (&r, 0, sizeof r);
  r.world = w;
  r.goes_on = way & WAY_PASSING;
  r.is_dead = disk_is_cut;
  snprintf (base, sizeof base, "%s/disk%u", w->dir, number);
  snprintf (left, sizeof left, "%s/left%u", w->dir, number++);
  snprintf (live, sizeof live, "%s/new/and/deep", base);
  if (mkdir (base, 0700) != 0)
    DIE ("cannot make %s", base);
  disk_begin (base);
  make_store (w);
  w->share = open_live;
  host_up (w, NULL, NULL, "", &r.host);
  struct disk_fault fault = { .at = k, .is_passing = way & WAY_PASSING,
                              .no_rename_flags = way & WAY_NO_FLAGS, .lie = lie };
  disk_arm (&fault);
  scenario (&r);
  size_t calls = disk_count ();
  disk_cut ();
  snprintf (state, sizeof state, "%s", r.host.state);
  struct host killed = r.host;
  host_kill (&r.host);
  w->share = blob_memory_share;
  disk_restore (left, way & WAY_EAGER);
  disk_end ();
  snprintf (live, sizeof live, "%s/new/and/deep", left);
  struct blob *store = load (live);
  check_promises (&r, store, way & WAY_LOSE_STATE ? NULL : state);
  journal_free (&r.journal);
  host_forget (&killed);
  blob_free (store);
  world_remove (base);
  world_remove (left);
  return calls;
}

/* Runs FN on an empty store whose disk does what F says, cuts the power, and wants KEY to be there
 * and no other object.  Returns how many calls there were. */
static size_t
left_by (struct world *w, const struct disk_fault *f, void (*fn) (struct blob *b), const char *key)
{
  static unsigned number;
  char base[300], left[300];
  snprintf (base, sizeof base, "%s/small%u", w->dir, number);
  snprintf (left, sizeof left, "%s/small-left%u", w->dir, number++);
  if (mkdir (base, 0700) != 0)
    DIE ("cannot make %s", base);
  disk_begin (base);
  struct blob *b;
  MUST (blob_file_open (base, false, &b));
  disk_arm (f);
  fn (b);
  size_t calls = disk_count ();
  disk_cut ();
  blob_free (b);
  disk_restore (left, false);
  disk_end ();
  struct blob *store = load (left);
  struct blob_info info;
  MUST (blob_head (store, key, &info));
  if (blob_memory_count (store) != 1)
    DIE ("%zu objects", blob_memory_count (store));
  blob_free (store);
  world_remove (base);
  world_remove (left);
  return calls;
}

/* A directory that a delete left empty goes; made again, it is a new one. */
static void
make_again (struct blob *b)
{
  const char *first = "db/packs/first";
  MUST (blob_put (b, first, "one", 3, NULL));
  MUST (blob_delete (b, &first, 1));
  MUST (blob_put (b, "db/packs/second", "two", 3, NULL));
}

/* "It is there already" is as good as 0 (blob/retry.c takes it for that): it must be durable. */
static void
put_twice (struct blob *b)
{
  struct blob_put_opts once = { .if_absent = true };
  int rc = blob_put (b, "db/packs/one", "one", 3, &once);
  if (rc != 0)
    rc = blob_put (b, "db/packs/one", "one", 3, &once);
  if (rc != ERR_EXISTS)
    MUST (rc);
}

static void
small_cases (struct world *w)
{
  struct disk_fault f = { 0 };
  world_now = "a directory made again";
  (void) left_by (w, &f, make_again, "db/packs/second");
  size_t n = left_by (w, &f, put_twice, "db/packs/one");
  for (f.is_passing = true, f.at = 1; f.at <= n; f.at++)
    for (int i = 0; i < 2; i++) {
      char what[100];
      f.no_rename_flags = i;
      snprintf (what, sizeof what, "put again after EIO of call %zu%s", f.at,
                i ? ", no flags" : "");
      world_now = what;
      (void) left_by (w, &f, put_twice, "db/packs/one");
    }
}

/* A child that must abort. */
static void
must_notice (const char *what, enum disk_lie lie)
{
  world_now = what;
  fflush (NULL);
  struct world w; /* the parent's: the child leaves it as it is */
  world_init (&w);
  pid_t pid = fork ();
  if (pid < 0)
    DIE ("fork");
  if (pid == 0) {
    struct rlimit none = { 0, 0 };
    setrlimit (RLIMIT_CORE, &none);
    if (!getenv ("COFFER_TEST_VERBOSE") && !freopen ("/dev/null", "w", stderr))
      _exit (0);
    (void) run_one (&w, 0, WAY_LOSE_STATE, lie);
    _exit (0);
  }
  int status;
  if (waitpid (pid, &status, 0) != pid || !WIFSIGNALED (status))
    DIE ("nothing was lost, or it was not noticed");
  world_end (&w);
}

int
main (int argc, char **argv)
{
  if (!getenv ("COFFER_TEST_VERBOSE"))
    (void) log_init (LOG_TO_FILE, "/dev/null", false);
  must_notice ("directories are not synced", DISK_NO_DIR_SYNC);
  must_notice ("files are not synced", DISK_NO_FILE_SYNC);
  struct world w;
  world_init (&w);
  small_cases (&w);
  world_now = "no cut";
  size_t n = run_one (&w, 0, 0, DISK_HONEST);
  (void) run_one (&w, 0, WAY_LOSE_STATE, DISK_HONEST);
  bool all = argc > 1 || getenv ("COFFER_TEST_ALL");
  size_t from = argc > 1 ? strtoul (argv[1], NULL, 10) : 1;
  size_t last = argc > 2 ? strtoul (argv[2], NULL, 10) : argc > 1 ? from : n + 5;
  printf ("%zu calls that change the directory\n", n);
  if (n < 50)
    DIE ("the calls do not come through here");
  for (size_t k = from; k <= last; k++)
    for (unsigned way = 0; way < WAYS; way++) {
      if (!all && way != k * 3 % WAYS)
        continue;
      char what[100];
      snprintf (what, sizeof what, "%s call %zu%s%s%s",
                way & WAY_PASSING ? "EIO of" : "cut before", k,
                way & WAY_EAGER ? ", entries written" : "",
                way & WAY_LOSE_STATE ? ", state lost" : "",
                way & WAY_NO_FLAGS ? ", no flags" : "");
      world_now = what;
      (void) run_one (&w, k, way, DISK_HONEST);
    }
  world_now = "end";
  world_end (&w);
  return 0;
}
