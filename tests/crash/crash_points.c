/* SPDX-License-Identifier: Apache-2.0 */
/* The promises of scenario.h, against a store that dies.
 *
 * The scenario runs once to learn how many calls it makes of the store; then, for each k, against a
 * store that is dead before the k-th call, one that is dead after it, and one that fails only that
 * call.  Then everything local is gone, and what was not acknowledged is not in the store.
 *
 *   crash_points [FIRST [LAST]]   only these k, each in all six ways.  Without arguments each k in
 * one way, or in all with COFFER_TEST_ALL. */
#include "base/log.h"
#include "scenario.h"

/* Returns how many calls there were. */
static size_t
run_one (struct world *w, const char *spec, bool goes_on, bool lose_state)
{
  static struct run r;
  memset (&r, 0, sizeof r);
  r.world = w;
  r.goes_on = goes_on;
  struct blob *store = world_store (w, NULL);
  host_up (w, store, NULL, "", &r.host);
  MUST (blob_fault_set (r.host.fault, spec));
  blob_fault_forget_calls (r.host.fault);
  scenario (&r);
  size_t calls = blob_fault_count (r.host.fault);
  char state[320];
  snprintf (state, sizeof state, "%s", r.host.state);
  struct host killed = r.host;
  host_kill (&r.host);
  check_promises (&r, store, lose_state ? NULL : state);
  journal_free (&r.journal);
  host_forget (&killed);
  blob_free (store);
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
  world_now = "no fault";
  size_t n = run_one (&w, "", false, false);
  (void) run_one (&w, "", false, true);
  bool all = argc > 1 || getenv ("COFFER_TEST_ALL");
  size_t from = argc > 1 ? strtoul (argv[1], NULL, 10) : 1;
  size_t last = argc > 2 ? strtoul (argv[2], NULL, 10) : argc > 1 ? from : n + 5;
  printf ("%zu calls of the store\n", n);
  for (size_t k = from; k <= last; k++)
    for (unsigned way = 0; way < 6; way++) {
      if (!all && way != k % 6)
        continue;
      char spec[64], what[100];
      bool lose = way >= 3;
      snprintf (spec, sizeof spec, "*@%zu=%s", k, faults[way % 3]);
      snprintf (what, sizeof what, "%s%s", spec, lose ? ", state lost" : "");
      world_now = what;
      (void) run_one (&w, spec, way % 3 == 2, lose);
    }
  world_now = "end";
  world_end (&w);
  return 0;
}
