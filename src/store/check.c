/* SPDX-License-Identifier: Apache-2.0 */
#include "store/check.h"

#include <stdatomic.h>
#include <string.h>

#include "base/lock.h"
#include "base/pool.h"
#include "store/packfile.h"

struct run {
  const struct check_job *job;
  const uint8_t (*names)[PACK_NAME_LEN];
  size_t n;
  _Atomic (size_t) next;
  _Atomic (int) err;
  struct lock lock; /* LOCK_STATS: totals */
  struct check_totals totals;
};

struct worker {
  struct pool_job job; /* first */
  struct run *run;
};

static void
report (struct run *r, enum check_finding what, int err, const uint8_t pack[PACK_NAME_LEN],
        const struct pack_entry *e)
{
  struct check_damage d = { .what = what, .err = err };
  memcpy (d.pack, pack, PACK_NAME_LEN);
  if (e)
    d.entry = *e;
  r->job->found (r->job->ctx, &d);
}

static void
chunk_damaged (void *ctx, const uint8_t name[PACK_NAME_LEN], const struct pack_entry *e, int err)
{
  report (ctx, CHECK_CHUNK, err, name, e);
}

/* What was found of one pack; then progress, which may ask to stop. */
static void
count (struct run *r, const struct pack_report *p, bool is_bad, bool is_unreadable)
{
  lock_take (&r->lock);
  struct check_totals *t = &r->totals;
  t->packs++;
  t->bytes += p->bytes;
  t->chunks += p->chunks;
  t->bad_packs += is_bad;
  t->bad_chunks += p->damaged;
  t->unreadable += is_unreadable;
  uint64_t packs = t->packs, bytes = t->bytes;
  lock_release (&r->lock);
  if (r->job->progress && !r->job->progress (r->job->ctx, packs, bytes))
    r->err = ERR_CANCELLED;
}

static void
check_one (struct run *r, struct sealer *s, const uint8_t name[PACK_NAME_LEN])
{
  struct pack_report p = { 0 };
  const struct check_job *j = r->job;
  int rc = pack_verify (j->blob, j->keys, s, j->prefix, name, chunk_damaged, r, &p);
  if (rc == ERR_CANCELLED) {
    r->err = rc;
    return;
  }
  if (rc < 0) {
    report (r, rc == ERR_MISSING ? CHECK_MISSING : CHECK_UNREADABLE, rc, name, NULL);
    count (r, &p, rc == ERR_MISSING, rc != ERR_MISSING);
    return;
  }
  bool is_bad = !p.is_name_right || (j->keys && !p.is_table_right) || p.damaged;
  if (!p.is_name_right)
    report (r, CHECK_NAME, ERR_FORMAT, name, NULL);
  if (j->keys && !p.is_table_right)
    report (r, CHECK_TABLE, ERR_FORMAT, name, NULL);
  count (r, &p, is_bad, false);
}

static void
work (struct pool_job *job)
{
  struct run *r = ((struct worker *) job)->run;
  AUTO (sealer) s = NULL;
  if (sealer_new (&s) < 0) {
    r->err = ERR_NOMEM;
    return;
  }
  for (size_t i; r->err == 0 && (i = atomic_fetch_add (&r->next, 1)) < r->n;)
    check_one (r, s, r->names[i]);
}

static int
read_all (struct run *r)
{
  AUTO (pool) pool = NULL;
  int threads = r->job->threads < 1 ? 1 : r->job->threads;
  AUTO_MEM struct worker *workers = calloc ((size_t) threads, sizeof *workers);
  int rc = workers ? pool_new ("coffer-check", threads, 0, &pool) : ERR_NOMEM;
  if (rc < 0)
    return rc;
  for (int i = 0; i < threads; i++) {
    workers[i] = (struct worker){ .job = { .run = work }, .run = r };
    pool_submit (pool, &workers[i].job);
  }
  pool_free (STEAL (pool)); /* runs what is queued */
  return r->err;
}

/* What the LIST shows: sizes by sorted name. */
struct listing {
  struct listed {
    uint8_t name[PACK_NAME_LEN];
    uint64_t size;
  } *packs;
  size_t n, cap;
};

static int
list_one (void *ctx, const struct blob_entry *e)
{
  struct listing *l = ctx;
  if (l->n == l->cap) {
    size_t cap = l->cap ? l->cap * 2 : 1024;
    struct listed *p = realloc (l->packs, cap * sizeof *p);
    if (!p)
      return ERR_NOMEM;
    l->packs = p;
    l->cap = cap;
  }
  if (packfile_name (e->key, l->packs[l->n].name)) /* what else lies there is not ours to judge */
    l->packs[l->n++].size = e->size;
  return 0;
}

static int
by_name (const void *a, const void *b)
{
  return memcmp (a, b, PACK_NAME_LEN);
}

static int
list_all (struct run *r)
{
  struct listing l = { 0 };
  int rc = blob_list (r->job->blob, r->job->prefix, "", false, list_one, &l);
  AUTO_MEM struct listed *packs = l.packs;
  if (rc < 0)
    return rc;
  if (l.n)
    qsort (packs, l.n, sizeof *packs, by_name);
  for (size_t i = 0; i < r->n && r->err == 0; i++) {
    struct listed *p = l.n ? bsearch (r->names[i], packs, l.n, sizeof *packs, by_name) : NULL;
    struct pack_report found = { .bytes = p ? p->size : 0 };
    bool is_pack = p && p->size > PACK_HEADER_LEN + PACK_TRAILER_LEN && p->size <= PACK_MAX_BYTES;
    if (!p)
      report (r, CHECK_MISSING, ERR_MISSING, r->names[i], NULL);
    else if (!is_pack)
      report (r, CHECK_SIZE, ERR_FORMAT, r->names[i], NULL);
    count (r, &found, !is_pack, false);
  }
  return r->err;
}

int
check_packs (const struct check_job *job, const uint8_t (*names)[PACK_NAME_LEN], size_t n,
             struct check_totals *totals)
{
  struct run r = { .job = job, .names = names, .n = n };
  lock_init (&r.lock, LOCK_STATS, "check");
  int rc = job->read_data ? read_all (&r) : list_all (&r);
  lock_destroy (&r.lock);
  *totals = r.totals;
  return rc;
}
