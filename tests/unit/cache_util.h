/* SPDX-License-Identifier: Apache-2.0 */
/* cache_util - units with known content, and a directory for each test of the block cache. */
#ifndef COFFER_UNIT_CACHE_UTIL_H
#define COFFER_UNIT_CACHE_UTIL_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cache/blockcache.h"

extern const uint8_t unit_store[STORE_ID_LEN];
void unit_pack (uint32_t n, uint8_t out[PACK_NAME_LEN]);
void put_unit (struct blockcache *c, uint32_t pack, uint32_t off, uint32_t len);
/* A hit with other content than was put fails the test (in a child: ends it with status 1). */
bool has_unit (struct blockcache *c, uint32_t pack, uint32_t off, uint32_t len);
struct blockcache *cache_at (const char *dir, uint64_t max);
uint64_t dir_bytes (const char *dir);
int dir_make (void **state);
int dir_remove (void **state);
void remove_tree (const char *path);
#define DIR_TEST(f) cmocka_unit_test_setup_teardown (f, dir_make, dir_remove)

#endif
