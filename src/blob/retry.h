/* SPDX-License-Identifier: Apache-2.0 */
/* retry - a wrapper that tries again what may succeed later.
 *
 * Transient errors (ERR_AGAIN, ERR_THROTTLED) are tried again with exponential backoff and full
 * jitter until the preset's time is over; a Retry-After of the store is the least wait.  ERR_FORMAT
 * of a read (an answer that cannot be true) is tried twice more: a proxy's mishap heals, damage
 * does not. All else is returned at once.
 *
 * An if_absent put whose reply was lost finds its own object: after a transient error ERR_EXISTS is
 * answered by reading back and comparing, and the same bytes are success.  A listing goes on after
 * the last entry it gave, so the caller sees each entry once.
 *
 * Sits ABOVE throttle and breaker, so that every attempt pays.  Threads: any; no lock is held. */
#ifndef COFFER_BLOB_RETRY_H
#define COFFER_BLOB_RETRY_H

#include "blob/blob.h"

enum retry_preset {
  RETRY_STANDARD,   /* up to a minute */
  RETRY_QUICK,      /* up to 5 seconds: commands that a person waits for */
  RETRY_AGGRESSIVE, /* up to 5 minutes in short steps */
  RETRY_PATIENT,    /* up to an hour, puts up to 7 days: a mount */
  RETRY_NONE,
};

/* "quick", "standard", "aggressive", "patient", "none"; ERR_INVALID. */
int retry_preset_parse (const char *name, enum retry_preset *out) WARN_UNUSED;
const char *retry_preset_name (enum retry_preset preset);

/* Takes INNER on every path. */
int blob_retry_new (struct blob **take, enum retry_preset preset, struct blob **out) WARN_UNUSED;
void blob_retry_set_preset (struct blob *b, enum retry_preset preset);

/* A backend notes here, per thread, how long the store asked to wait (ns; 0: nothing asked). */
void retry_after_note (int64_t ns);
int64_t retry_after_take (void);

#endif
