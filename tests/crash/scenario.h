/* SPDX-License-Identifier: Apache-2.0 */
/* scenario - three snapshots with writes, fsyncs, references, two seals; and what must hold after a
 * crash in it (promises 1 and 2 of DESIGN 1, the contract of DESIGN 4):
 *   - a fresh host finds every snapshot whose seal returned 0, and each one it lists is whole;
 *   - the same host, and with lost state one that adopts the snapshot, has what was fsynced;
 *   - what came back can be sealed, and is then what was shown. */
#ifndef COFFER_TESTS_CRASH_SCENARIO_H
#define COFFER_TESTS_CRASH_SCENARIO_H

#include "world.h"

struct run {
  struct world *world;
  struct host host;
  struct journal journal;
  bool goes_on; /* one call fails, the store lives */
  bool is_over;
  bool (*is_dead) (void); /* the machine is off: nothing returns any more; may be NULL */
};

/* Runs on r->host until the end or the first failure; r->journal has what was promised. */
void scenario (struct run *r);
/* STORE: what is left after the crash, a memory store.  STATE: the host's state directory; NULL:
 * lost, the snapshots are adopted.  Aborts at the first broken promise. */
void check_promises (struct run *r, struct blob *store, const char *state);

#endif
