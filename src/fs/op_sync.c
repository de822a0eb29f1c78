/* SPDX-License-Identifier: Apache-2.0 */
/* op_sync - fsync: answered from where the data became durable, never by a worker that waits.
 * An interrupt answers EINTR at once; what was asked for goes on. */
#include <errno.h>
#include <stdlib.h>

#include "fs/answer.h"

struct sync_request {
  struct answer answer; /* first */
  struct mount_wait wait;
  struct handle *handle;
};

static void
sync_destroy (struct answer *a)
{
  handle_unref (((struct sync_request *) a)->handle);
  free (a);
}

static void
sync_interrupted (struct answer *a)
{
  fuse_reply_err (a->req, EINTR);
}

static void
sync_done (struct mount_wait *w, int rc)
{
  struct sync_request *s = (void *) ((char *) w - offsetof (struct sync_request, wait));
  if (answer_take (&s->answer))
    reply_data_err (s->answer.req, rc);
  answer_unref (&s->answer);
}

static void
sync_start (fuse_req_t req, fuse_ino_t ino, struct handle *h)
{
  struct fs *fs = fs_of (req);
  fs_count (fs, OP_fsync);
  struct sync_request *s = calloc (1, sizeof *s);
  if (!s) {
    reply_err (req, ERR_NOMEM);
    return;
  }
  s->wait.done = sync_done;
  s->handle = h;
  handle_ref (h);
  answer_init (&s->answer, req, fs->answerers, sync_interrupted, sync_destroy);
  answer_arm (&s->answer);
  mount_fsync (fs->mount, ino, h ? h->file : NULL, &s->wait);
}

void
op_fsync (fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
  if (node_class (ino) != CLASS_OPEN)
    fuse_reply_err (req, 0); /* nothing of it can be pending */
  else
    sync_start (req, ino, handle_of (fi));
}

void
op_fsyncdir (fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
  if (node_class (ino) != CLASS_OPEN)
    fuse_reply_err (req, 0);
  else
    sync_start (req, ino, NULL);
}
