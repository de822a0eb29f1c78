/* SPDX-License-Identifier: Apache-2.0 */
/* bufpool - page-aligned buffers that are reused, because memory touched for the first time is dear
 * (on a virtual machine up to a CPU second per GiB).
 *
 * Sizes are rounded up to classes (16 KiB x 4^n, and the steps between above 256 KiB); larger than
 * BUFPOOL_MAX is ERR_LIMIT's NULL.  Freed buffers wait in their class; what is lent and what waits
 * are together at most the total, 160 MiB: beyond it nothing waits, whatever its class.  The pool
 * does not refuse: who must stay below a limit looks at bufpool_lent first.
 * Threads: any; the lock is a leaf. */
#ifndef COFFER_BASE_BUFPOOL_H
#define COFFER_BASE_BUFPOOL_H

#include <stddef.h>
#include <stdint.h>

#define BUFPOOL_MAX (32u << 20)

/* At least N bytes; *cap gets the real size.  NULL: no memory or N too large. */
uint8_t *bufpool_get (size_t n, size_t *cap);
void bufpool_put (uint8_t *p, size_t cap);
size_t bufpool_lent (void);
size_t bufpool_kept (void);
void bufpool_set_total (size_t bytes);
/* Gives everything that waits back to the system. */
void bufpool_trim (void);

#endif
