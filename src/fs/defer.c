/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/defer.h"

#include <errno.h>
#include <stdlib.h>

#include "fs/answer.h"

struct deferred {
  struct answer answer; /* first */
  struct pool_job job;
  struct call call;
  char tail[]; /* the names and the value */
};

static void
deferred_destroy (struct answer *a)
{
  struct deferred *d = (struct deferred *) a;
  call_release (&d->call);
  handle_unref (d->call.handle);
  handle_unref (d->call.handle2);
  free (d);
}

static void
deferred_interrupted (struct answer *a)
{
  fuse_reply_err (a->req, EINTR);
}

static void
deferred_run (struct pool_job *job)
{
  struct deferred *d = (void *) ((char *) job - offsetof (struct deferred, job));
  struct call *c = &d->call;
  bool may_start = c->type->drop ? !answer_is_taken (&d->answer) : answer_pin (&d->answer);
  if (may_start) {
    int rc = c->type->run (c, 0);
    if (answer_take (&d->answer))
      c->type->reply (c, rc);
    else
      c->type->drop (c, rc);
  }
  answer_unref (&d->answer);
}

static const char *
copy_name (char **at, const char *name)
{
  if (!name)
    return NULL;
  char *to = *at;
  size_t n = strlen (name) + 1;
  memcpy (to, name, n);
  *at += n;
  return to;
}

static size_t
name_size (const char *name)
{
  return name ? strlen (name) + 1 : 0;
}

void
defer_call (struct call *c)
{
  size_t names = name_size (c->name) + name_size (c->name2);
  struct deferred *d = malloc (sizeof *d + names + c->value_len);
  if (!d) {
    c->type->reply (c, ERR_NOMEM);
    call_release (c);
    return;
  }
  d->call = *c;
  handle_ref (c->handle);
  handle_ref (c->handle2);
  char *at = d->tail;
  d->call.name = copy_name (&at, c->name);
  d->call.name2 = copy_name (&at, c->name2);
  if (c->value) {
    memcpy (at, c->value, c->value_len);
    d->call.value = at;
  }
  d->job.run = deferred_run;
  answer_init (&d->answer, c->req, c->fs->answerers, deferred_interrupted, deferred_destroy);
  struct pool *waiters = c->fs->waiters;
  answer_arm (&d->answer);
  pool_submit (waiters, &d->job);
}
