/* SPDX-License-Identifier: Apache-2.0 */
/* answer - the one reply to a request that outlives its handler and may be interrupted.
 *
 * libfuse calls its interrupt function while it holds the request's own lock, so the function
 * cannot reply itself; and it may call it at the very moment another thread replies.  Here whoever
 * wins answer_take replies, and nobody else does:
 *
 *   state     answer_take   interrupt            who replies
 *   WAITING   TAKEN         TAKEN, EINTR queued  the winner
 *   PINNED    TAKEN         noted                who pinned it
 *   TAKEN     false         nothing              it has been or is being done
 *
 * The object that embeds an answer is counted (refs); an interrupt holds one of its own until the
 * reply is out.  `interrupted` runs on the pool without locks and replies. */
#ifndef COFFER_FS_ANSWER_H
#define COFFER_FS_ANSWER_H

#include "fs/fs_priv.h"

enum answer_state { ANSWER_WAITING, ANSWER_PINNED, ANSWER_TAKEN };

struct answer {
  fuse_req_t req;
  struct pool *pool;
  void (*interrupted) (struct answer *a); /* replies; the answer has been taken for it */
  void (*destroy) (struct answer *a);     /* the last reference went */
  _Atomic (int) state, refs;
  _Atomic (bool) was_interrupted;
  struct pool_job job;
};

/* One reference: the caller's. */
void answer_init (struct answer *a, fuse_req_t req, struct pool *pool,
                  void (*interrupted) (struct answer *), void (*destroy) (struct answer *));
/* From here on an interrupt may answer: the caller touches the request only after answer_take. */
void answer_arm (struct answer *a);
/* True: the caller replies on a->req, now and alone. */
bool answer_take (struct answer *a);
/* WAITING to PINNED: no interrupt from here on.  False where an interrupt was faster. */
bool answer_pin (struct answer *a);
/* PINNED to WAITING.  False: an interrupt came meanwhile, and the caller replies as after
 * answer_take. */
bool answer_unpin (struct answer *a);
bool answer_is_taken (const struct answer *a);
void answer_ref (struct answer *a);
void answer_unref (struct answer *a);

#endif
