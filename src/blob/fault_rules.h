/* SPDX-License-Identifier: Apache-2.0 */
/* fault_rules - which call of a blob fails, and how: the pure part of blob/fault.h.
 *
 * A specification is a list of rules separated by ';':
 *
 *     OP[:KEY][@FIRST[+COUNT]]=FAULT[:ARG]
 *
 *   OP      put get head list delete now, or * for any
 *   KEY     a substring of the key (of the prefix, for list); with a leading '^' a prefix of it
 *   FIRST   the number of the first matching call that fails, from 1 (default 1)
 *   COUNT   how many in a row fail (default 1, 0: all from FIRST on)
 *   FAULT   fail:ERR     not forwarded; ERR is again io missing exists denied full throttled format
 *                        cancelled nomem (default again)
 *           lose:ERR     forwarded, then ERR is returned instead of success
 *           stall[:MS]   waits so long, or until blob_fault_release, then goes on
 *           corrupt[:N]  byte N of what a get returned is altered (default 0)
 *           truncate:N   get_all returns N bytes, get beyond byte N is ERR_LIMIT, list stops after
 *                        N
 *           dead         not forwarded; this and every later call returns ERR_AGAIN
 *           dead-after   forwarded, the reply lost; every later call returns ERR_AGAIN
 *           exit         the process ends with status 137, as if killed, before the call
 *           exit-after   the same, after the call
 *
 * For one call the first rule that applies is used; each rule counts its own matches.
 * Deterministic: no random numbers, no time.  Does not lock. */
#ifndef COFFER_BLOB_FAULT_RULES_H
#define COFFER_BLOB_FAULT_RULES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum fault_op {
  FAULT_OP_PUT,
  FAULT_OP_GET,
  FAULT_OP_HEAD,
  FAULT_OP_LIST,
  FAULT_OP_DELETE,
  FAULT_OP_NOW,
  FAULT_OP_ANY,
};

enum fault_kind {
  FAULT_NONE,
  FAULT_FAIL,
  FAULT_LOSE,
  FAULT_STALL,
  FAULT_CORRUPT,
  FAULT_TRUNCATE,
  FAULT_DEAD,
  FAULT_DEAD_AFTER,
  FAULT_EXIT,
  FAULT_EXIT_AFTER,
};

struct fault_rule {
  enum fault_op op;
  char key[128]; /* "": any */
  bool is_prefix;
  unsigned first; /* 0 is read as 1 */
  unsigned count; /* 0: for ever */
  enum fault_kind kind;
  int err;      /* fail, lose */
  uint64_t arg; /* stall: ms (0: until released); corrupt, truncate: N */
  unsigned seen; /* matches so far */
};

#define FAULT_RULES_MAX 32

/* Reads SPEC into OUT (at most CAP rules); the number of rules, or ERR_INVALID. */
int fault_rules_parse (const char *spec, struct fault_rule *out, size_t cap) WARN_UNUSED;
/* Counts the call in every rule and returns the first that applies to it, or NULL. */
const struct fault_rule *fault_rules_match (struct fault_rule *rules, size_t n, enum fault_op op,
                                            const char *key);
const char *fault_op_name (enum fault_op op);

#endif
