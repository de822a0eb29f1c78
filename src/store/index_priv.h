/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the dedup index share.  The parts, and what they keep in DIR:
 *
 *   index_packs.c   pack numbers and names            packs
 *   index_mem.c     entries not yet on disk, hashed   -
 *   index_run.c     sorted runs of entries            run-LO-HI
 *   index_merge.c   writing and merging of runs
 *   index_delta.c   export, import                    own, deltas
 *   index_find.c    finding
 *   index.c         the rest of index.h
 *
 * Memory, at 10 TiB in chunks of 64 KiB (160 M entries, 655,000 packs): tables of entries 2 * 2 MiB
 * and 1.5 MiB while one is sorted, entries of packs being filled at most 2 MiB, pages 4 MiB, pack
 * names 4 MiB + 0.3 MiB, pack flags 0.7 MiB, names of deltas up to 2 MiB: 19 MiB in all. */
#ifndef COFFER_STORE_INDEX_PRIV_H
#define COFFER_STORE_INDEX_PRIV_H

#include "base/lock.h"
#include "store/index.h"

/* --- an entry --- */

#define RECORD_LEN 32
#define PLAIN_BITS 24 /* longer chunks (large tree indexes) are not indexed */

struct record {
  uint8_t prefix[PREFIX_LEN];
  uint32_t pack, off, sealed_len;
  uint32_t type_plain; /* type << 24 | plain length; 0: an empty slot */
};
static inline int
record_type (const struct record *r)
{
  return (int) (r->type_plain >> PLAIN_BITS);
}
/* Ascending by prefix, type, pack, offset. */
int record_compare (const void *a, const void *b);
void record_put (const struct record *r, uint8_t out[RECORD_LEN]);
void record_get (const uint8_t in[RECORD_LEN], struct record *out);
static inline uint64_t
prefix_key (const uint8_t prefix[PREFIX_LEN]) /* orders as the first eight bytes do */
{
  return (uint64_t) prefix[0] << 56 | (uint64_t) prefix[1] << 48 | (uint64_t) prefix[2] << 40
         | (uint64_t) prefix[3] << 32 | (uint64_t) prefix[4] << 24 | (uint64_t) prefix[5] << 16
         | (uint64_t) prefix[6] << 8 | prefix[7];
}

/* --- pack numbers (index_packs.c); guarded by index->lock --- */

enum pack_life { PACK_UNKNOWN, PACK_BEGUN, PACK_DONE, PACK_FOREIGN, PACK_GONE };
#define PACK_LIFE_MASK 7
#define PACK_OWN 8     /* begun by this process */
#define PACK_PINNED 16

#define NAME_CACHE 8192

struct packs {
  int fd;
  uint64_t epoch; /* random, new whenever numbering begins anew: runs of another one are dropped */
  uint32_t next, reserved;
  uint8_t *flags; /* by number */
  uint32_t flags_cap;
  uint32_t *by_name; /* open addressing, number + 1 */
  uint32_t by_name_cap, named;
  struct name_slot {
    uint32_t no_plus_1;
    uint8_t name[PACK_NAME_LEN];
  } *cache;
};
int packs_open (struct packs *p, int dir) WARN_UNUSED;
void packs_close (struct packs *p);
int packs_new (struct packs *p, enum pack_life life, uint32_t *no) WARN_UNUSED;
/* Gives NO its name. */
int packs_set (struct packs *p, uint32_t no, enum pack_life life, const uint8_t name[PACK_NAME_LEN],
               int kind, uint64_t size) WARN_UNUSED;
void packs_set_life (struct packs *p, uint32_t no, enum pack_life life);
bool packs_get (const struct packs *p, uint32_t no, struct index_pack *out);
bool packs_name (struct packs *p, uint32_t no, uint8_t name[PACK_NAME_LEN]);
bool packs_find (struct packs *p, const uint8_t name[PACK_NAME_LEN], uint32_t *no);
static inline unsigned
packs_flags (const struct packs *p, uint32_t no)
{
  return no < p->next ? p->flags[no] : 0;
}
static inline enum pack_life
packs_life (const struct packs *p, uint32_t no)
{
  return (enum pack_life) (packs_flags (p, no) & PACK_LIFE_MASK);
}
static inline bool
packs_is_usable (const struct packs *p, uint32_t no)
{
  unsigned f = packs_flags (p, no), life = f & PACK_LIFE_MASK;
  return life != PACK_UNKNOWN && life != PACK_GONE && (f & (PACK_OWN | PACK_PINNED));
}

/* --- entries in memory (index_mem.c); guarded by index->lock --- */

#define MEM_SLOTS 65536
#define MEM_FLUSH (MEM_SLOTS / 4 * 3)
#define MEM_FULL (MEM_SLOTS / 16 * 15)

struct mem {
  struct record *slots; /* MEM_SLOTS */
  uint32_t count;
};
int mem_init (struct mem *m) WARN_UNUSED;
struct record *mem_find (const struct mem *m, const uint8_t prefix[PREFIX_LEN], int type);
/* Replaces an entry of the same prefix and type.  False: full. */
bool mem_put (struct mem *m, const struct record *r);
void mem_clear (struct mem *m);

/* --- runs (index_run.c) --- */

#define PAGE_LEN 4096
#define PAGE_TRAILER 32
#define PAGE_RECORDS ((PAGE_LEN - PAGE_TRAILER) / RECORD_LEN) /* 127 */
#define FENCE_KEYS ((PAGE_LEN - PAGE_TRAILER) / 8)            /* 508 */
#define RUNS_MAX 64
#define RUNS_CROWDED 12 /* a flush merges if nobody else does: each run costs a miss 1.3 us */
#define PAGE_CACHE 1024

struct run {
  unsigned refs;   /* guarded by index->lock */
  bool is_dead;    /* likewise: the file goes with the last reference */
  int fd, dir;
  uint64_t lo, hi; /* flushes it holds */
  uint64_t count;
  uint32_t pages, fences, serial;
  uint64_t *top;   /* first key of each fence page */
  _Atomic (bool) is_damaged;
};
struct page_slot {
  uint64_t key; /* serial << 32 | page; 0: empty */
  uint8_t bytes[PAGE_LEN];
};
void run_name (uint64_t lo, uint64_t hi, char out[64]);
bool run_parse (const char *name, uint64_t *lo, uint64_t *hi);
int run_open (int dir, uint64_t lo, uint64_t hi, uint64_t epoch, struct run **out) WARN_UNUSED;
void run_free (struct run *r); /* removes the file if is_dead */
DEFINE_FREEP (run);
/* Page NO of the file, checked. */
bool run_read_page (struct run *r, uint32_t no, uint8_t out[PAGE_LEN]);
/* Entries of PREFIX and TYPE in R; at most CAP, returns how many. */
size_t run_find (struct index *x, struct run *r, const uint8_t prefix[PREFIX_LEN], int type,
                 struct record *out, size_t cap);

/* Sorted entries one after the other into a file; exact repetitions are left out. */
struct run_writer;
int run_writer_new (int dir, uint64_t lo, uint64_t hi, uint64_t epoch,
                    struct run_writer **out) WARN_UNUSED;
int run_writer_put (struct run_writer *w, const struct record *r) WARN_UNUSED;
/* Durable under its name, and opened; ERR_NODATA if there was nothing to write. */
int run_writer_finish (struct run_writer *w, struct run **out) WARN_UNUSED;
void run_writer_free (struct run_writer *w); /* removes what was not finished */
DEFINE_FREEP (run_writer);

/* --- the whole --- */

#define BEGUN_RECORDS_MAX 65536
struct begun { /* a pack being filled, with its entries for the delta */
  struct begun *next;
  uint32_t no, count, cap;
  int kind;
  struct record *records;
};

struct hashes { /* of names of deltas */
  uint64_t *h;
  uint32_t count, cap;
};

struct index {
  struct lock lock; /* LOCK_INDEX: everything below; no I/O on runs is done under it */
  int dir;
  struct packs packs;
  struct mem mem;
  struct mem flushing; /* being written; slots NULL otherwise */
  pthread_cond_t flushed;
  struct begun *begun;
  uint32_t begun_records;
  struct run *runs[RUNS_MAX]; /* oldest first */
  unsigned run_count;
  uint64_t next_seq;
  uint32_t next_serial;
  unsigned writers;        /* runs being written that have a number but are not in `runs` yet */
  bool is_merging;
  struct page_slot *pages; /* PAGE_CACHE */
  uint32_t flush_at;       /* entries in memory that start a flush */
  /* index_delta.c */
  int own_fd, deltas_fd;
  uint64_t own_len;        /* good bytes in `own` */
  uint64_t exported, export_end;
  struct hashes deltas;    /* a set: open addressing, 0: empty */
  struct hashes pending;   /* a list: deltas whose entries are in memory only */
};

/* Writes what is in memory of packs that are done; entries of packs being filled stay. */
void index_flush (struct index *x);
/* Adds R to the list; false where there is no room for it. */
bool index_add_run_locked (struct index *x, struct run *r);
void index_unref_runs (struct index *x, struct run **runs, unsigned n);
/* One entry into memory, flushing if needed; an entry of a usable pack gives way only if
 * IS_REPLACING. Called without the lock. */
void index_put (struct index *x, const struct record *r, bool is_replacing);

int deltas_open (struct index *x) WARN_UNUSED;
void deltas_close (struct index *x);
/* The entries of these are on disk now. */
void deltas_persist (struct index *x, const struct hashes *done);
/* Pack B is done: its entries go to `own`. */
int own_append_locked (struct index *x, const struct begun *b) WARN_UNUSED;

#endif
