/* SPDX-License-Identifier: Apache-2.0 */
/* examples - small objects of every kind, made by the real encoders.
 *
 * They are the seeds of the fuzzers, the blobs that unit tests mutate, and, byte for byte, the
 * golden files in tests/golden/v1/codec/: an encoder that changes its output is noticed. */
#ifndef COFFER_TESTS_FUZZ_EXAMPLES_H
#define COFFER_TESTS_FUZZ_EXAMPLES_H

#include "base/buf.h"
#include "format/format.h"

struct example {
  const char *decoder; /* name of a fuzz target */
  const char *name;
  int (*build) (struct buf *out);
};
extern const struct example examples[]; /* ends with a NULL decoder */

/* N bytes that follow from SEED. */
void example_bytes (uint8_t seed, uint8_t *out, size_t n);
struct chunk_ref example_ref (uint8_t seed, uint32_t pack, uint32_t plain_len);

#endif
