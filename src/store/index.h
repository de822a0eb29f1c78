/* SPDX-License-Identifier: Apache-2.0 */
/* index - which chunks this host knows to be in which packs of one vault: the dedup index.
 *
 * Packs have numbers local to this host (they survive restarts).  Entries are hints, never proof:
 * what a snapshot may refer to is proven by pins (ruling 1) and at the seal (ruling 2).
 *
 *   pack: begin -> done (named) | drop (failed)          own packs of this session
 *         intern                                         packs of others, from trees and deltas
 *   find: only entries whose pack is usable now: own packs of this session, and pinned ones.
 *
 * Entries of packs that were never done do not survive a restart.  Damage of the files in DIR means
 * an empty index, logged; never an error and never a wrong answer.
 * Threads: any.  May do local disk I/O, never network. */
#ifndef COFFER_STORE_INDEX_H
#define COFFER_STORE_INDEX_H

#include "base/cleanup.h"
#include "format/format.h"
#include "format/index_delta.h"

struct index;
/* One process at a time may have DIR open (it is made if missing). */
int index_open (const char *dir, struct index **out) WARN_UNUSED;
void index_free (struct index *x);
DEFINE_FREEP (index);
/* Of the pack numbers: what was noted down under another epoch means other packs, or none. */
uint64_t index_epoch (const struct index *x);

int index_pack_begin (struct index *x, int kind, uint32_t *no) WARN_UNUSED;
int index_pack_done (struct index *x, uint32_t no, const uint8_t name[PACK_NAME_LEN],
                     uint64_t size) WARN_UNUSED;
void index_pack_drop (struct index *x, uint32_t no);
int index_pack_intern (struct index *x, const uint8_t name[PACK_NAME_LEN],
                       uint32_t *no) WARN_UNUSED;
/* The name of pack NO; ERR_STATE while it is being filled, ERR_MISSING if dropped or unknown. */
int index_pack_name (struct index *x, uint32_t no, uint8_t name[PACK_NAME_LEN]) WARN_UNUSED;
/* Bytes of a pack that is done; 0 where not known. */
uint64_t index_pack_size (struct index *x, uint32_t no);
/* Begun by this process, in the present session. */
bool index_pack_is_own (struct index *x, uint32_t no);

/* Entries of a pack are added while it is being filled.  Chunks of 16 MiB and more are not indexed.
 * */
int index_add (struct index *x, int type, const struct chunk_ref *ref) WARN_UNUSED;
/* Finds a usable copy of chunk ID of PLAIN_LEN bytes; ref->id is set too. */
bool index_find (struct index *x, int type, const uint8_t id[ID_LEN], uint32_t plain_len,
                 struct chunk_ref *out);
/* Any copy, usable or not: for relocation of chunks whose pack has gone. */
bool index_find_any (struct index *x, int type, const uint8_t id[ID_LEN], struct chunk_ref *out);

void index_pin (struct index *x, uint32_t no);
void index_unpin (struct index *x, uint32_t no);
bool index_is_usable (struct index *x, uint32_t no);
/* A new session: no pack is pinned and none is own any more (all that were done count as packs of
 * others). */
void index_new_session (struct index *x);
/* The collector removed it: no entry of it is found any more. */
void index_forget_pack (struct index *x, const uint8_t name[PACK_NAME_LEN]);

/* Packs done and not exported yet, those of an earlier process too, with their entries as a delta
 * (released by the caller): at most some 65,536 entries, so it is called until pack_count is 0:
 * nothing new.  index_exported confirms that the delta returned last is in the store. */
int index_export (struct index *x, struct index_delta *out) WARN_UNUSED;
void index_exported (struct index *x);
int index_load_delta (struct index *x, const char *object, const struct index_delta *d) WARN_UNUSED;
/* Notes OBJECT as loaded: the delta of this host itself. */
void index_mark_delta (struct index *x, const char *object);
bool index_has_delta (struct index *x, const char *object);
/* Merges runs where it pays; called now and then from a thread that has time. */
void index_maintain (struct index *x);

struct index_stats { /* bytes: of the runs on disk */
  uint64_t packs, entries, runs, bytes;
};
void index_stats_get (struct index *x, struct index_stats *out);

#endif
