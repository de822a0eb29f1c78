/* SPDX-License-Identifier: Apache-2.0 */
/* The page format shared by index_run.c (reading) and index_merge.c (writing). */
#ifndef COFFER_STORE_INDEX_RUN_H
#define COFFER_STORE_INDEX_RUN_H

#include "store/index_priv.h"

#define RUN_MAGIC "COFRRUN1"

void page_finish (uint8_t page[PAGE_LEN], uint32_t used, uint32_t no, uint64_t lo);
uint32_t page_used (const uint8_t page[PAGE_LEN]);
bool page_is_good (const uint8_t page[PAGE_LEN], uint32_t no, uint64_t lo, uint32_t most);

#endif
