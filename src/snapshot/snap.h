/* SPDX-License-Identifier: Apache-2.0 */
/* snap - the life of an open snapshot: begin, commit (fsync), seal, recovery.
 *
 *   begin      part id recorded in the state directory; pins: one checkpoint, then gc/ is read
 *              (ruling 1)
 *   commit     group of fsyncs: push, close packs, one checkpoint beside them, all durable, answer
 *   seal       no writers; push; tree; index delta; .pending; check; .sealed (rulings 1-3, 6, 13)
 *   recover    replay of the checkpoints in the store (the state directory holds only the part's
 *              id)
 *
 * All of these run on the mount's worker pool and may wait for the network. */
#ifndef COFFER_SNAPSHOT_SNAP_H
#define COFFER_SNAPSHOT_SNAP_H

#include "snapshot/vault.h"

/* A new open snapshot NAME in V; ERR_EXISTS, ERR_INVALID (instant more than 10 minutes ahead). */
int snap_begin (struct vault *v, const struct snapshot_name *name, const struct cred *who,
                uint32_t mode,
                struct snap **out) WARN_UNUSED;
/* Open (or sealing, or sealed in this mount and still referred to) snapshot by ts; NULL. */
struct snap *snap_find (struct vault *v, const char *ts);
/* The live one after S (NULL: the first).  S may have left meanwhile. */
struct snap *mount_next_live (struct mount *m, struct snap *s);
void snap_free (struct snap *s);
/* Recovers PART of TS from the store.  ERR_MISSING: no checkpoint. */
int snap_recover (struct vault *v, const struct snapshot_name *name, const char *part,
                  bool is_direct,
                  struct snap **out) WARN_UNUSED;
/* A finished PART of another host, replayed into a snapshot that nobody sees (snap_free).
 * ERR_BUSY: it is not finished. */
int snap_replay_part (struct vault *v, const struct snapshot_name *name, const char *part,
                      struct snap **out) WARN_UNUSED;
/* Takes over PART (NULL: the only one) of an open snapshot from its checkpoints; errors as
 * mount_adopt. */
int snap_adopt (struct vault *v, const struct snapshot_name *name, const char *part, unsigned flags,
                struct buf *why) WARN_UNUSED;
/* All parts of R that this host's state directory knows of. */
void snap_recover_all (struct region *r);
/* The snapshot's directory was removed while empty. */
int snap_remove (struct snap *s) WARN_UNUSED;

/* Makes everything durable that was written when it began.  W may be NULL. */
int snap_commit (struct snap *s) WARN_UNUSED;
/* Pins the packs of a sealed tree, so that references to them may be copied (waits). */
int snap_pin_tree (struct snap *s, struct sealed *t) WARN_UNUSED;
/* Waits until the first checkpoint is through, or has failed. */
int snap_wait_begun (struct snap *s) WARN_UNUSED;
bool snap_has_pinned (struct snap *s, const struct sealed *t);

/* Asks for the seal; the worker does it.  RESULT by snap->seal_result.  ERR_BUSY: one of another
 * kind is under way.  WITHOUT as for mount_seal_start. */
int snap_seal_start (struct snap *s, unsigned flags, const char *how,
                     const char *without) WARN_UNUSED;
/* Waits until the seal is over: its result, or ERR_AGAIN after TIMEOUT. */
int snap_seal_wait (struct snap *s, int64_t timeout_ns) WARN_UNUSED;

/* checkpoint.c: what changed since the last one was built becomes one object (very much: several,
 * all but the last put here).  In a turn (commit.c): one is built at a time, SLOT is its own until
 * it has ended.  It names packs that are in the store, and those up to TICKET: for these who
 * acknowledges it must wait, since without them it counts for nothing.  After an error too *out is
 * to be undone, unless it is NULL. */
#define CHECKPOINT_NAME_MAX 24
#define RESUMES_NOTHING UINT32_MAX
/* The plain bytes of one checkpoint. */
int checkpoint_load (struct vault *v, const char *ts, const char *part, const char *seq,
                     struct sealer *sealer, struct buf *plain) WARN_UNUSED;
struct checkpoint;
int checkpoint_build (struct snap *s, unsigned flags, unsigned slot, uint64_t ticket,
                      struct checkpoint **out) WARN_UNUSED;
size_t checkpoint_bytes (const struct checkpoint *c);
int checkpoint_send (struct checkpoint *c) WARN_UNUSED;
/* It is in the store and all before it: what it told of the files' sizes holds. */
void checkpoint_confirm (struct checkpoint *c);
/* Its changes, appended to those of the ones that failed before it. */
void checkpoint_give_log (struct checkpoint *c, struct buf *to);
/* None is on its way: LOG goes back in front of what was added meanwhile, and the next one goes on
 * from the last that is confirmed. */
void checkpoint_undo (struct snap *s, struct buf *log);
void checkpoint_free (struct checkpoint *c);
/* A checkpoint of what is placed; waits for its turn and its end. */
int snap_checkpoint (struct snap *s, unsigned flags) WARN_UNUSED;
/* Is one being made or on its way? */
bool snap_is_committing_locked (const struct snap *s);
/* gc.c: true where a record condemns NAME; reads all records into a set first. */
struct condemned;
int condemned_load (struct vault *v, struct condemned **out) WARN_UNUSED;
bool condemned_has (const struct condemned *c, const uint8_t name[PACK_NAME_LEN]);
void condemned_free (struct condemned *c);
DEFINE_FREEP (condemned);
/* Proves that packs exist: HEAD for few, LIST for many.  *missing gets the first that does not. */
int packs_exist (struct vault *v, const struct pack_table *packs,
                 uint8_t missing[PACK_NAME_LEN]) WARN_UNUSED;

/* VALUE NULL removes it (ERR_NODATA). */
int snap_set_meta (struct snap *s, const char *key, const char *value) WARN_UNUSED;

/* In the background, at most one of each kind: a checkpoint; pushing the overlays. */
void snap_checkpoint_start (struct snap *s);
void snap_drain_start (struct snap *s);
/* Sealed and nobody refers to a node of it: the working tree goes. */
void snap_drop_tree (struct snap *s);

/* Runs RUN with a job for S on the mount's workers; RUN frees the job. */
struct snap_job {
  struct pool_job job; /* first */
  struct snap *snap;
  void (*run) (struct pool_job *job); /* frees it */
};
int snap_submit (struct snap *s, void (*run) (struct pool_job *job)) WARN_UNUSED;
int snap_submit_to (struct pool *pool, struct snap *s,
                    void (*run) (struct pool_job *job)) WARN_UNUSED;

/* snap.c, for recover.c */
int snap_new (struct vault *v, const struct snapshot_name *name, struct snap **out) WARN_UNUSED;
int snap_register (struct snap *s) WARN_UNUSED;
/* Notes in the state directory that this part is ours. */
int snap_record_part (const struct snap *s) WARN_UNUSED;
void snap_enter (struct snap *s);
void snap_leave (struct snap *s);
int snap_prove_pins (struct snap *s, const struct pack_table *packs) WARN_UNUSED;

/* The snapshot by which this host, having no part of NAME, joins those of others. */
int snap_joiner (struct vault *v, const struct snapshot_name *name, struct snap **out) WARN_UNUSED;
/* finish.c: SEAL_PART and SEAL_REOPEN. */
int snap_finish_run (struct snap *s) WARN_UNUSED;
/* After its first checkpoint: is a seal under way that may not have seen it? */
void snap_check_late (struct snap *s);
/* Another host may have sealed it: in the background. */
void snap_look_start (struct snap *s);
/* A listing of V showed what is sealed: perhaps by another host, of an instant open here. */
void snap_look_at_open (struct vault *v);
/* seal.c: waits for the last writers to go; with SEAL_FORCE cuts them off. */
int snap_end_writing (struct snap *s) WARN_UNUSED;
/* seal.c */
void snap_seal_run (struct snap *s);
void snap_sealed_over (struct snap *s);
/* merge.c */
int snap_merge_packs (struct snap *s) WARN_UNUSED;
/* index_load.c: reads the deltas this host has not seen. */

#endif
