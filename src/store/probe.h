/* SPDX-License-Identifier: Apache-2.0 */
/* probe - whether a chunk is worth a pass of zstd (private to store).
 *
 * Three steps, each dearer and taken by fewer chunks: short chunks always go on; a skewed histogram
 * of a thirtieth of the bytes says yes; else an eighth of the bytes, gathered from every 32 KiB, is
 * compressed, and the chunk goes on if that gains 1 %.  Random data costs 0.05 s/GiB, other data
 * next to nothing.  Repetitions at a distance of bytes that are random among themselves are missed
 * unless a sample holds both ends. */
#ifndef COFFER_STORE_PROBE_H
#define COFFER_STORE_PROBE_H

#include <stdbool.h>
#include <stddef.h>
#include <zstd.h>

/* CCTX has its level set; it is used for the sample.  No allocation but its own. */
bool probe_is_worth_it (ZSTD_CCtx *cctx, const void *plain, size_t n);

#endif
