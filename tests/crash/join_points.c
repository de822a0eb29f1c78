/* SPDX-License-Identifier: Apache-2.0 */
/* Ruling 24 against a store that dies: two hosts write one snapshot, b finishes its part, a joins.
 *
 * As in crash_points, for each k, the k-th call of the host under test is the last before the store
 * is dead to it, the first after, or fails alone; for b while it finishes, for a while it joins.
 * Then what was not acknowledged is gone, and perhaps the host's state directory with it:
 *   - a fresh host finds the snapshot sealed with all files of both, or not at all;
 *   - it is sealed if the join had returned 0, and b's part can be joined if finishing had;
 *   - otherwise both parts come back as they were and are joined.
 *
 *   join_points [a|b FIRST [LAST]]   only these, each in all six ways */
#include "world.h"

#include "base/clock.h"
#include "base/log.h"

#define T "db/20260101T000000Z"
#define P T ".partial"
#define FILES 6
#define SYNCED 5 /* the last one is not durable before its part is finished or joined */

struct run {
  struct world *world;
  struct blob *store;
  struct host host[2];
  char part[2][17];
};

/* ---- what each host writes ---- */

static size_t
content (unsigned host, unsigned i, uint8_t *out)
{
  static const size_t sizes[FILES] = { 10, 5000, 300000, 900000, 0, 70000 };
  fill (out, sizes[i], 100 * host + i + 1);
  return sizes[i];
}

static void
name_of (const char *top, unsigned host, unsigned i, char out[200])
{
  snprintf (out, 200, i % 2 ? "%s/shared/%c%u" : "%s/%c/%u", top, "ab"[host], i);
}

static void
write_last (struct host *h, unsigned host)
{
  uint8_t *p = malloc (1 << 20);
  char path[200];
  size_t n = content (host, SYNCED, p);
  name_of (P, host, SYNCED, path);
  int rc = do_write (h, path, 0, p, n);
  if (rc && rc != ERR_ROFS) /* it was finished */
    DIE ("%s: %s", path, err_str (rc));
  free (p);
}

static void
write_part (struct run *r, unsigned host)
{
  struct host *h = &r->host[host];
  uint8_t *p = malloc (1 << 20);
  char path[200], link[200];
  (void) !do_mkdir (h, "db");
  MUST (do_mkdir (h, P));
  snprintf (path, sizeof path, P "/%c", "ab"[host]);
  MUST (do_mkdir (h, path));
  MUST (do_mkdir (h, P "/shared"));
  for (unsigned i = 0; i < SYNCED; i++) {
    size_t n = content (host, i, p);
    name_of (P, host, i, path);
    MUST (do_write (h, path, 0, p, n));
    if (i == 2) { /* a checkpoint between, and a file that grows after it */
      MUST (do_fsync (h, path));
      MUST (do_write (h, path, n, p, 1000));
      MUST (do_truncate (h, path, n));
    }
  }
  name_of (P, host, 2, path);
  snprintf (link, sizeof link, P "/%c/link", "ab"[host]);
  MUST (do_link (h, path, link));
  MUST (do_fsync (h, P));
  struct snapshot_info info;
  if (!do_info (h, P, &info))
    DIE ("the part is not shown");
  memcpy (r->part[host], info.part, 17);
  write_last (&r->host[host], host);
  free (p);
}

static void
compare (struct host *h, const char *path, const uint8_t *want, size_t n)
{
  AUTO_BUF got;
  buf_init (&got, 2 << 20);
  int rc = do_read (h, path, &got);
  if (rc)
    DIE ("%s cannot be read: %s", path, err_str (rc));
  if (got.len != n || (n && memcmp (got.data, want, n) != 0))
    DIE ("%s is not what was written: %zu bytes of %zu", path, got.len, n);
}

static void
count_one (void *ctx, const char *below)
{
  (void) below;
  ++*(unsigned *) ctx;
}

/* The files of hosts FIRST to LAST below TOP, and no others (but perhaps the last one, if N leaves
 * it out). */
static void
check_tree (struct host *h, const char *top, unsigned first, unsigned last, unsigned n_files)
{
  uint8_t *p = malloc (1 << 20);
  char path[200];
  unsigned files = 0;
  for (unsigned host = first; host <= last; host++) {
    for (unsigned i = 0; i < n_files; i++) {
      size_t n = content (host, i, p);
      name_of (top, host, i, path);
      compare (h, path, p, n);
    }
    struct node_stat st, other;
    snprintf (path, sizeof path, "%s/%c/link", top, "ab"[host]);
    compare (h, path, p, content (host, 2, p));
    MUST (do_lookup (h, path, &st));
    name_of (top, host, 2, path);
    MUST (do_lookup (h, path, &other));
    if (st.node != other.node || st.attr.nlink != 2)
      DIE ("%s has lost a link", path);
  }
  do_walk (h, top, count_one, &files);
  if (n_files == FILES && files != (last - first + 1) * (FILES + 1))
    DIE ("%s has %u files", top, files);
  free (p);
}

/* ---- what must hold ---- */

/* Is it sealed?  Then it is whole. */
static bool
check_fresh (struct run *r)
{
  struct host h;
  struct node_stat st;
  host_up (r->world, r->store, NULL, "", &h);
  int rc = do_lookup (&h, T, &st);
  if (rc == 0)
    check_tree (&h, T, 0, 1, FILES);
  else if (rc != ERR_NOENT)
    DIE ("the snapshot cannot be looked at: %s", err_str (rc));
  host_down (&h);
  host_forget (&h);
  return rc == 0;
}

/* HOST dies and comes back, with its state directory or, as another one, by adoption.  True where
 * its part is open there. */
static bool
come_back (struct run *r, unsigned host, bool lose_state)
{
  struct host *h = &r->host[host];
  struct node_stat st;
  char state[320], path[200];
  snprintf (state, sizeof state, "%s", h->state);
  host_kill (h);
  if (lose_state)
    host_forget (h);
  host_up (r->world, r->store, lose_state ? NULL : state, "", h);
  if (do_lookup (h, T, &st) == 0)
    return false;
  snprintf (path, sizeof path, "r/" P "/%s", r->part[host]);
  if (lose_state)
    MUST (mount_adopt (h->m, path, ADOPT_FORCE, NULL));
  check_tree (h, P, host, host, SYNCED);
  write_last (h, host);
  check_tree (h, P, host, host, FILES);
  return true;
}

static void
join_again (struct run *r)
{
  int rc = do_order (&r->host[0], P, 0, NULL);
  if (rc && rc != ERR_STATE)
    DIE ("cannot be joined after all: %s", err_str (rc));
  if (!check_fresh (r))
    DIE ("sealed and not there");
}

static int
try_order (struct host *h, unsigned flags, bool goes_on)
{
  int rc = do_order (h, P, flags, NULL);
  for (int i = 0; rc && rc != ERR_STATE && goes_on && i < 3; i++)
    rc = do_order (h, P, flags, NULL);
  return rc == ERR_STATE ? 0 : rc;
}

/* Returns how many calls of the store the host under test made. */
static size_t
run_one (struct world *w, unsigned victim, const char *spec, bool goes_on, bool lose_state)
{
  static struct run r;
  memset (&r, 0, sizeof r);
  r.world = w;
  r.store = world_store (w, NULL);
  for (unsigned i = 0; i < 2; i++) {
    host_up (w, r.store, NULL, "", &r.host[i]);
    write_part (&r, i);
  }
  struct host *h = &r.host[victim];
  if (victim == 0)
    MUST (do_order (&r.host[1], P, SEAL_PART, NULL));
  MUST (blob_fault_set (h->fault, spec));
  blob_fault_forget_calls (h->fault);
  int rc = try_order (h, victim ? SEAL_PART : 0, goes_on);
  size_t calls = blob_fault_count (h->fault);
  bool is_sealed = check_fresh (&r);
  if (victim == 0 && rc == 0 && !is_sealed)
    DIE ("the join returned 0 and nothing is sealed");
  if (victim == 1) { /* a joins while b is gone, if b's part allows it */
    if (is_sealed)
      DIE ("sealed by nobody");
    int joined = do_order (&r.host[0], P, 0, NULL);
    if (joined && (rc == 0 || joined != ERR_BUSY))
      DIE ("the join failed: %s", err_str (joined));
    is_sealed = check_fresh (&r);
    if (is_sealed != (joined == 0))
      DIE ("the join returned %s, and sealed is %d", err_str (joined), is_sealed);
  }
  bool is_open = come_back (&r, victim, lose_state);
  if (is_open == is_sealed)
    DIE ("the part is %s, and sealed is %d", is_open ? "open" : "gone", is_sealed);
  if (is_open && victim == 1)
    MUST (do_order (&r.host[1], P, SEAL_PART, NULL));
  join_again (&r);
  for (unsigned i = 0; i < 2; i++) {
    host_kill (&r.host[i]);
    host_forget (&r.host[i]);
  }
  blob_free (r.store);
  return calls;
}

int
main (int argc, char **argv)
{
  static const char *const faults[] = { "dead", "dead-after", "fail:again" };
  if (!getenv ("COFFER_TEST_VERBOSE"))
    (void) log_init (LOG_TO_FILE, "/dev/null", false);
  struct world w;
  world_init (&w);
  for (unsigned victim = 0; victim < 2; victim++) {
    if (argc > 1 && argv[1][0] != "ab"[victim])
      continue;
    world_now = "no fault";
    size_t n = run_one (&w, victim, "", false, false);
    (void) run_one (&w, victim, "", false, true);
    bool all = argc > 2 || getenv ("COFFER_TEST_ALL");
    size_t from = argc > 2 ? strtoul (argv[2], NULL, 10) : 1;
    size_t last = argc > 3 ? strtoul (argv[3], NULL, 10) : argc > 2 ? from : n + 2;
    printf ("%c: %zu calls of the store\n", "ab"[victim], n);
    for (size_t k = from; k <= last; k++)
      for (unsigned way = 0; way < 6; way++) {
        if (!all && way != k % 6)
          continue;
        char spec[64], what[100];
        bool lose = way >= 3;
        snprintf (spec, sizeof spec, "*@%zu=%s", k, faults[way % 3]);
        snprintf (what, sizeof what, "%c %s%s", "ab"[victim], spec, lose ? ", state lost" : "");
        world_now = what;
        (void) run_one (&w, victim, spec, way % 3 == 2, lose);
      }
  }
  world_now = "end";
  world_end (&w);
  return 0;
}
