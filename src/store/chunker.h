/* SPDX-License-Identifier: Apache-2.0 */
/* chunker - where a stream is cut.  Integer arithmetic only; doc/format/chunking.md.
 *
 * Content-defined: FastCDC with normalised chunking (two masks around the average; no byte before
 * the minimum is hashed), gear table keyed per vault.  Fixed: every N bytes of the file's offset.
 *
 * A chunker is a few words of state; it never sees more than it is given:
 *   while (n) { size_t k = chunker_scan (&c, p, n, &is_cut); take p[0..k); if (is_cut) end of
 *   chunk; }
 * Cutting depends only on the bytes since the last cut (and, for fixed, the offset): not on how the
 * stream was split into calls. */
#ifndef COFFER_STORE_CHUNKER_H
#define COFFER_STORE_CHUNKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* Classes of files (DESIGN 5). */
enum chunk_class {
  CLASS_GENERIC,   /* FastCDC 128 / 512 / 2048 KiB */
  CLASS_TEXT,      /* FastCDC 16 / 64 / 256 KiB: dumps */
  CLASS_PAGES,     /* fixed 64 KiB: page files of databases */
  CLASS_IMMUTABLE, /* fixed 512 KiB: SSTables, closed logs */
};
#define CHUNK_MAX_BYTES (2u << 20)

struct gear { uint64_t table[256]; };
/* Derives the table by HKDF-SHA-256 expansion of KEY (32 bytes); ERR_NOMEM. */
int gear_init (struct gear *g, const uint8_t key[32]) WARN_UNUSED;

struct chunker {
  const struct gear *gear;
  uint32_t min, avg, max;
  uint64_t mask_small, mask_large; /* before and after the average; min 0: fixed, none is used */
  uint64_t hash;
  uint32_t len; /* bytes since the last cut; fixed: since the last multiple of the size */
};
/* OFF: the file offset where the stream starts (fixed classes cut at multiples of their size). */
void chunker_init (struct chunker *c, const struct gear *g, enum chunk_class class, uint64_t off);
/* How many of P[0..N) belong to the present chunk (all of them if there is no cut among them). */
size_t chunker_scan (struct chunker *c, const uint8_t *p, size_t n, bool *is_cut);
/* The stream was cut from outside (end of file, a hole, memory): start a new chunk at OFF. */
void chunker_reset (struct chunker *c, uint64_t off);

/* The class of a file (ruling 18): from its first bytes (HEAD, up to 64 KiB, at offset 0) before
 * its name; temporary spellings of rsync and others (.NAME.XXXXXX, NAME.part, NAME.tmp) count as
 * NAME. InnoDB pages by header and checksum-independent fields,
 * MyISAM/Aria/SQLite/bbolt/SSTable/binlog by magic or name, text by a probe.  NAME may be "" and
 * HEAD_LEN 0. */
enum chunk_class class_of_file (const char *name, const uint8_t *head, size_t head_len);
/* NAME without such a temporary spelling; writes at most CAP bytes with NUL. */
void class_normal_name (const char *name, char *out, size_t cap);
const char *class_name (enum chunk_class class);

#endif
