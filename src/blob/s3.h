/* SPDX-License-Identifier: Apache-2.0 */
/* s3 - Amazon S3 and what speaks its protocol (Ceph RADOS Gateway, MinIO, versitygw, ...).
 *
 * put        one PUT up to S3_SINGLE_MAX, above it in parts.  The payload's SHA-256 is signed, so
 *            the store
 *            refuses what was altered on the way.  if_absent is "If-None-Match: *"; in parts it is
 *            asked before the first and again when they are joined (stores that ignore the second
 *            are not atomic there).
 * get        a range; status, Content-Range and length must be exactly what was asked.
 * delete     batches of 1000, single where the store has no batches.
 * now        the Date header of the last answer, at most a minute old, carried on by the local
 *            clock.
 *
 * Answers are mapped to errors by S3's code first, then by status.  Expired credentials are renewed
 * and a clock that is too far off for the store is corrected, each once within a call.  All else is
 * left to blob/retry.h above.  Uploads in parts that were begun under this prefix more than a day
 * ago are aborted by the first put.
 *
 * Every failure that a person must mend is logged once (and then at most every 10 s) with what was
 * tried, on what, what happened and what to do; transient ones only at debug. */
#ifndef COFFER_BLOB_S3_H
#define COFFER_BLOB_S3_H

#include "blob/url.h"

#define S3_SINGLE_MAX (64u << 20)
#define S3_PART_BYTES (16u << 20)

int blob_s3_open (const struct url *u, const struct blob_open_opts *opts,
                  struct blob **out) WARN_UNUSED;

#endif
