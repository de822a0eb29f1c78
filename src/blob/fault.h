/* SPDX-License-Identifier: Apache-2.0 */
/* fault - a wrapper around a blob that fails on purpose, for tests.
 *
 * Rules (blob/fault_rules.h) say which call fails and how; every call is counted and recorded, so a
 * test can run a scenario once, learn how many calls it makes, and then run it again for each of
 * them. With drop_unacked, a put that is under way in another thread when the store dies and that
 * made a new object is taken back: it is as if it had never arrived.
 *
 * A multi-key delete is one call; its key is the first.  Threads: any. */
#ifndef COFFER_BLOB_FAULT_H
#define COFFER_BLOB_FAULT_H

#include "blob/blob.h"
#include "blob/fault_rules.h"

struct fault_call {
  enum fault_op op;
  char key[BLOB_KEY_MAX + 1];
  uint64_t len; /* put, get: bytes; delete: keys */
  int rc;       /* what the caller got; 1 while the call is under way */
  bool is_forwarded;
};

/* Takes INNER on every path.  SPEC may be NULL or "" (record only); ERR_INVALID where it is
 * wrong. */
int blob_fault_new (struct blob **take, const char *spec, struct blob **out) WARN_UNUSED;
/* Replaces the rules; counts begin anew. */
int blob_fault_set (struct blob *b, const char *spec) WARN_UNUSED;
void blob_fault_set_drop_unacked (struct blob *b, bool on);
/* Lets every stalled call go on, and those that would stall from now on. */
void blob_fault_release (struct blob *b);
/* Number of calls so far, and a copy of the I-th (from 0; false past the end). */
size_t blob_fault_count (struct blob *b);
bool blob_fault_call (struct blob *b, size_t i, struct fault_call *out);
/* How many calls of OP whose key contains KEY. */
size_t blob_fault_count_of (struct blob *b, enum fault_op op, const char *key);
void blob_fault_forget_calls (struct blob *b);

#endif
