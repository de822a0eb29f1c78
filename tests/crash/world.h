/* SPDX-License-Identifier: Apache-2.0 */
/* world - a store, hosts that mount it without FUSE, and what they were promised.
 *
 * A journal holds, for each snapshot and file, every content the file has had since it was last
 * made durable.  What a recovery or a sealed snapshot shows is judged against it:
 *   sealed    exactly the last content of every file, and no other file;
 *   recovered every file whose fsync returned 0 is there, not shorter than it ever was since; each
 *             byte is one that some content since then had at that place.
 * Everything aborts with a line of text at the first broken promise. */
#ifndef COFFER_TESTS_CRASH_WORLD_H
#define COFFER_TESTS_CRASH_WORLD_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "blob/fault.h"
#include "blob/memory.h"
#include "snapshot/mount.h"

extern const char *world_now; /* which case runs: part of every message */
#define DIE(...)                                                              \
  do {                                                                        \
    fprintf (stderr, "FAIL [%s] %s:%d: ", world_now, __FILE__, __LINE__);     \
    fprintf (stderr, __VA_ARGS__);                                            \
    fputc ('\n', stderr);                                                     \
    abort ();                                                                 \
  } while (0)
#define MUST(call)                                                            \
  do {                                                                        \
    int must_rc = (call);                                                     \
    if (must_rc < 0)                                                          \
      DIE ("%s: %s", #call, err_str (must_rc));                               \
  } while (0)

struct world {
  char dir[256], key[300];
  struct blob *empty; /* a store after init, to be cloned */
  /* One more blob over a store, for a host; blob_memory_share unless a test says otherwise. */
  int (*share) (struct blob *store, struct blob **out);
  unsigned states;
};
void world_init (struct world *w);
void world_end (struct world *w);
void world_remove (const char *dir); /* with all that is in it; only below a world */
/* A new store; NULL SRC: as after init. */
struct blob *world_store (struct world *w, struct blob *src);

struct host {
  struct world *world;
  char state[320];
  struct blob *fault; /* owned by the mount */
  struct mount *m;
};
/* STATE NULL: a new, empty state directory.  SPEC: of blob/fault_rules.h. */
void host_up (struct world *w, struct blob *store, const char *state, const char *spec,
              struct host *out);
/* The process dies: what was not acknowledged never arrived. */
void host_kill (struct host *h);
/* mount_free with all that it promises. */
void host_down (struct host *h);
void host_forget (struct host *h); /* removes the state directory */
bool host_is_dead (struct host *h);
/* A new store and a host of it with the database "db"; and the end of both. */
struct blob *world_begin (struct world *w, struct host *out);
void world_over (struct host *h, struct blob *store);

/* Paths are "vault/snapshot/...", all in region "r". */
int do_mkdir (struct host *h, const char *path);
int do_write (struct host *h, const char *path, uint64_t off, const void *data, size_t n);
int do_truncate (struct host *h, const char *path, uint64_t size);
int do_punch (struct host *h, const char *path, uint64_t off, uint64_t len, bool is_zero);
int do_rename (struct host *h, const char *from, const char *to);
int do_unlink (struct host *h, const char *path);
int do_rmdir (struct host *h, const char *path);
int do_link (struct host *h, const char *from, const char *to);
int do_copy (struct host *h, const char *from, const char *to);
int do_fsync (struct host *h, const char *path);
int do_seal (struct host *h, const char *path); /* waits for its end */
/* By command: orders the seal (enum seal_flag) and waits for its end. */
int do_order (struct host *h, const char *path, unsigned flags, const char *without);
/* What the mount says of "db/<ts>[.partial]"; false: nothing. */
bool do_info (struct host *h, const char *path, struct snapshot_info *out);
/* The file's bytes; ERR_NOENT. */
int do_read (struct host *h, const char *path, struct buf *out);
int do_lookup (struct host *h, const char *path, struct node_stat *out);
/* Calls FN with each name below PATH ("a/b"), files only. */
void do_walk (struct host *h, const char *path, void (*fn) (void *ctx, const char *below),
              void *ctx);

/* ---- the journal ---- */

#define VERSIONS_MAX 64
#define FILES_MAX 64
struct jfile {
  char path[128], old_path[128]; /* below the snapshot; old: before a rename not durable yet */
  struct buf at[VERSIONS_MAX];
  unsigned count;
  bool is_durable, is_gone;
};
struct jsnap {
  char path[128]; /* "db/20260101T000000Z" */
  struct jfile files[FILES_MAX];
  unsigned count;
  bool is_begun, is_sealed, tried;
};
struct journal {
  struct jsnap snaps[8];
  unsigned count;
};
void journal_free (struct journal *j);
struct jsnap *journal_snap (struct journal *j, const char *path);
struct jfile *journal_file (struct jsnap *s, const char *path);
/* The next content of F: the last one, to be changed by the caller. */
struct buf *journal_next (struct jfile *f);
void journal_durable (struct jsnap *s); /* an fsync returned 0 */
void journal_check_sealed (struct host *h, struct jsnap *s);
void journal_check_open (struct host *h, struct jsnap *s);
/* What the open snapshot shows becomes what its seal must hold. */
void journal_accept (struct host *h, struct jsnap *s);

/* Reproducible bytes. */
void fill (uint8_t *p, size_t n, uint64_t seed);

#endif
