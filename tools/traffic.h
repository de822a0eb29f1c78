/* SPDX-License-Identifier: Apache-2.0 */
/* traffic - the throttles of a mount and what sets them: the configuration, the control files
 * .coffer/throttle/REGION, and the hour of the day.
 *
 * One pair (up, down) for each region and one for the host, in which all pay.
 * Threads: any; traffic_tick from one. */
#ifndef COFFER_TOOLS_TRAFFIC_H
#define COFFER_TOOLS_TRAFFIC_H

#include "base/config.h"
#include "blob/throttle.h"

struct traffic;
int traffic_new (const struct config *c, struct traffic **out) WARN_UNUSED;
/* After the blobs that borrow the throttles. */
void traffic_free (struct traffic *r);
DEFINE_FREEP (traffic);

/* What the traffic of region I pays into. */
void traffic_sets (const struct traffic *r, size_t region, struct throttle_set *up,
                 struct throttle_set *down);

/* No region uploads faster than this at any time, as it is set now; 0: one may. */
uint64_t traffic_upload_most (struct traffic *r);

/* REGION is a region's name or "host".  The text of set: "20MB", "off" or a schedule for both
 * directions, or "up=..." and "down=..." separated by blanks; get gives the latter form. */
int traffic_get (struct traffic *r, const char *region, struct buf *out) WARN_UNUSED;
int traffic_set (struct traffic *r, const char *region, const char *text,
               struct buf *reply) WARN_UNUSED;
/* Applies the rates of this minute. */
void traffic_tick (struct traffic *r);
/* Prometheus text. */
void traffic_metrics (struct traffic *r, struct buf *out);

#endif
