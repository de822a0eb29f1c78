/* SPDX-License-Identifier: Apache-2.0 */
/* targets - each decoder driven the way its callers do it, with an oracle.
 *
 * A target decodes the bytes, walks all that the decoder hands out, encodes it again and aborts
 * if the outcome is another object: so a decoder that reads past the end, keeps no bound, or
 * gives one object two meanings is found by mutation alone.  Returns 0 if the bytes were taken,
 * negative if refused. Used by the fuzzers, by the replay of corpora in `make check`, and by the
 * unit tests' mutations. */
#ifndef COFFER_TESTS_FUZZ_TARGETS_H
#define COFFER_TESTS_FUZZ_TARGETS_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

int target_object (const uint8_t *p, size_t n); /* header, frame, sealed wrapper */
int target_pack (const uint8_t *p, size_t n);   /* header, opened table, trailer */
int target_tree_page (const uint8_t *p, size_t n);
int target_extent_page (const uint8_t *p, size_t n);
int target_tree_index (const uint8_t *p, size_t n);
int target_pack_list (const uint8_t *p, size_t n);
int target_gc_record (const uint8_t *p, size_t n);
int target_checkpoint (const uint8_t *p, size_t n);
int target_index_delta (const uint8_t *p, size_t n);
int target_manifest (const uint8_t *p, size_t n);
int target_superblock (const uint8_t *p, size_t n);
int target_key_slot (const uint8_t *p, size_t n);
int target_key_file (const uint8_t *p, size_t n);

struct fuzz_target {
  const char *name;
  int (*run) (const uint8_t *p, size_t n);
};
extern const struct fuzz_target fuzz_targets[]; /* ends with a NULL name */
const struct fuzz_target *fuzz_target_find (const char *name);

/* In the programs of this folder. */
extern const char fuzz_name[];
int LLVMFuzzerTestOneInput (const uint8_t *p, size_t n);

#endif
