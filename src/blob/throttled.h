/* SPDX-License-Identifier: Apache-2.0 */
/* throttled - a wrapper that pays for the bytes of a store without a network of its own (file://).
 *
 * Reads and writes are paid in steps of at most THROTTLED_STEP, each before it happens, so the
 * traffic is as smooth as the buckets promise.  An HTTP backend is not wrapped: it pays for what it
 * puts on the wire itself.  Needs an inner put that calls opts->progress as it goes (blob/file.h
 * does). Heads, lists and deletes are free. */
#ifndef COFFER_BLOB_THROTTLED_H
#define COFFER_BLOB_THROTTLED_H

#include "blob/blob.h"
#include "blob/throttle.h"

#define THROTTLED_STEP (64u << 10)

/* Takes INNER on every path.  The buckets are borrowed and outlive the blob. */
int blob_throttled_new (struct blob **take, const struct throttle_set *up,
                        const struct throttle_set *down, struct blob **out) WARN_UNUSED;

#endif
