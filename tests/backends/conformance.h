/* SPDX-License-Identifier: Apache-2.0 */
/* conformance - shared by its two files. */
#ifndef COFFER_TESTS_CONFORMANCE_H
#define COFFER_TESTS_CONFORMANCE_H

#include <stdbool.h>
#include <stdint.h>

#include "blob/blob.h"

extern struct blob *store;
extern char base[64];
extern int failures;

void fail (int line, const char *fmt, ...) __attribute__ ((format (printf, 2, 3)));
const char *key_of (char *out, const char *fmt, ...) __attribute__ ((format (printf, 2, 3)));
void fill (uint8_t *p, size_t n, uint64_t seed);
void run (const char *name, void (*fn) (void));
int count_entry (void *ctx, const struct blob_entry *e);
void conformance_all (const char *url, bool is_big);

#define CHECK(cond, ...)                                                      \
  do {                                                                        \
    if (!(cond))                                                              \
      fail (__LINE__, #cond ": " __VA_ARGS__);                                \
  } while (0)
#define CHECK_RC(call, want)                                                  \
  do {                                                                        \
    int got_rc = (call);                                                      \
    if (got_rc != (want))                                                     \
      fail (__LINE__, "%s: got %d (%s), expected %d", #call, got_rc, err_str (got_rc), (want)); \
  } while (0)

#endif
