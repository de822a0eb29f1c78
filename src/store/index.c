/* SPDX-License-Identifier: Apache-2.0 */
/* The dedup index: memory in front of sorted runs on disk (index_priv.h says which file does what).
 * */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define LOG_MODULE "index"
#include "base/log.h"
#include "store/index_priv.h"

/* --- opening --- */

static int
compare_runs (const void *a, const void *b)
{
  const struct run *x = *(struct run *const *) a, *y = *(struct run *const *) b;
  if (x->lo != y->lo)
    return x->lo < y->lo ? -1 : 1;
  return x->hi > y->hi ? -1 : x->hi < y->hi; /* the wider one first */
}

/* One name found in the directory. */
static void
take_run (struct index *x, const char *name)
{
  uint64_t lo, hi;
  struct run *r = NULL;
  if (strncmp (name, "run", 3) != 0 && strncmp (name, "fence", 5) != 0)
    return;
  int rc = run_parse (name, &lo, &hi) ? 0 : ERR_NODATA; /* a temporary file of a crash */
  if (rc == 0 && x->run_count == RUNS_MAX)
    rc = ERR_LIMIT;
  if (rc == 0)
    rc = run_open (x->dir, lo, hi, x->packs.epoch, &r);
  if (rc == 0) {
    x->runs[x->run_count++] = r;
    return;
  }
  if (rc != ERR_NODATA)
    log_warn ("a part of the index cannot be used and is dropped: less is deduplicated until it "
              "is loaded again file=%s err=\"%s\"",
              name, err_str (rc));
  unlinkat (x->dir, name, 0);
}

static int
load_runs (struct index *x)
{
  int fd = openat (x->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR *d = fd < 0 ? NULL : fdopendir (fd);
  if (!d) {
    int errnum = errno;
    if (fd >= 0)
      close (fd);
    return err_from_errno (errnum);
  }
  for (struct dirent *e; (e = readdir (d));)
    take_run (x, e->d_name);
  closedir (d);
  qsort (x->runs, x->run_count, sizeof x->runs[0], compare_runs);
  unsigned kept = 0;
  for (unsigned i = 0; i < x->run_count; i++) {
    struct run *r = x->runs[i];
    if (kept && r->hi <= x->runs[kept - 1]->hi) { /* merged already, when a crash came */
      r->is_dead = true;
      run_free (r);
      continue;
    }
    r->serial = ++x->next_serial;
    x->next_seq = r->hi + 1;
    x->runs[kept++] = r;
  }
  x->run_count = kept;
  return 0;
}

static int
open_parts (struct index *x, const char *dir)
{
  if (mkdir (dir, 0700) < 0 && errno != EEXIST)
    return err_from_errno (errno);
  x->dir = open (dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (x->dir < 0)
    return err_from_errno (errno);
  int rc = packs_open (&x->packs, x->dir);
  if (rc == 0)
    rc = mem_init (&x->mem);
  if (rc == 0)
    rc = load_runs (x);
  return rc == 0 ? deltas_open (x) : rc;
}

int
index_open (const char *dir, struct index **out)
{
  AUTO (index) x = calloc (1, sizeof *x);
  if (!x)
    return ERR_NOMEM;
  lock_init (&x->lock, LOCK_INDEX, "index");
  lock_cond_init (&x->flushed);
  x->dir = x->own_fd = x->deltas_fd = x->packs.fd = -1;
  x->flush_at = MEM_FLUSH;
  x->pages = calloc (PAGE_CACHE, sizeof *x->pages);
  if (!x->pages)
    return ERR_NOMEM;
  int rc = open_parts (x, dir);
  if (rc < 0) {
    log_err ("cannot open the dedup index: check the state directory dir=%s err=\"%s\"", dir,
             err_str (rc));
    return rc;
  }
  *out = STEAL (x);
  return 0;
}

static void
begun_free (struct begun *b)
{
  free (b->records);
  free (b);
}

void
index_free (struct index *x)
{
  if (!x)
    return;
  if (x->mem.slots && x->deltas_fd >= 0)
    index_flush (x);
  for (unsigned i = 0; i < x->run_count; i++)
    run_free (x->runs[i]);
  while (x->begun) {
    struct begun *b = x->begun;
    x->begun = b->next;
    begun_free (b);
  }
  deltas_close (x);
  packs_close (&x->packs);
  if (x->dir >= 0)
    close (x->dir);
  free (x->mem.slots);
  free (x->flushing.slots);
  free (x->pages);
  pthread_cond_destroy (&x->flushed);
  lock_destroy (&x->lock);
  free (x);
}

uint64_t
index_epoch (const struct index *x)
{
  return x->packs.epoch;
}

/* --- packs --- */

static struct begun **
find_begun_locked (struct index *x, uint32_t no)
{
  struct begun **b = &x->begun;
  while (*b && (*b)->no != no)
    b = &(*b)->next;
  return b;
}

/* Out of the list; freed by the caller. */
static struct begun *
take_begun_locked (struct index *x, uint32_t no)
{
  struct begun **at = find_begun_locked (x, no), *b = *at;
  if (b) {
    *at = b->next;
    x->begun_records -= b->count;
  }
  return b;
}

int
index_pack_begin (struct index *x, int kind, uint32_t *no)
{
  struct begun *b = calloc (1, sizeof *b);
  if (!b)
    return ERR_NOMEM;
  lock_take (&x->lock);
  int rc = packs_new (&x->packs, PACK_BEGUN, &b->no);
  if (rc == 0) {
    *no = b->no;
    b->kind = kind;
    b->next = x->begun;
    x->begun = b;
    x->packs.flags[b->no] |= PACK_OWN;
  }
  lock_release (&x->lock);
  if (rc < 0) {
    log_err ("cannot number a new pack in the index: is the disk of the state directory full? "
             "err=\"%s\"",
             err_str (rc));
    free (b);
  }
  return rc;
}

int
index_pack_done (struct index *x, uint32_t no, const uint8_t name[PACK_NAME_LEN], uint64_t size)
{
  int rc = ERR_STATE, own = 0;
  lock_take (&x->lock);
  struct begun *b = take_begun_locked (x, no);
  if (b) {
    rc = packs_set (&x->packs, no, PACK_DONE, name, b->kind, size);
    if (rc == 0)
      own = own_append_locked (x, b);
  }
  lock_release (&x->lock);
  if (b)
    begun_free (b);
  if (own < 0)
    log_warn ("the entries of a pack will be missing in this host's index delta err=\"%s\"",
              err_str (own));
  if (rc < 0 && rc != ERR_STATE)
    log_err ("cannot note a pack in the index: is the disk of the state directory full or failing? "
             "number=%u err=\"%s\"", no, err_str (rc));
  return rc;
}

void
index_pack_drop (struct index *x, uint32_t no)
{
  lock_take (&x->lock);
  struct begun *b = take_begun_locked (x, no);
  if (b)
    packs_set_life (&x->packs, no, PACK_GONE);
  lock_release (&x->lock);
  if (b)
    begun_free (b);
}

static int
intern_locked (struct index *x, const uint8_t name[PACK_NAME_LEN], enum pack_life life,
               uint32_t *no)
{
  if (packs_find (&x->packs, name, no))
    return 0;
  int rc = packs_new (&x->packs, PACK_UNKNOWN, no);
  return rc < 0 ? rc : packs_set (&x->packs, *no, life, name, 0, 0);
}

int
index_pack_intern (struct index *x, const uint8_t name[PACK_NAME_LEN], uint32_t *no)
{
  LOCK_SCOPE (&x->lock);
  return intern_locked (x, name, PACK_FOREIGN, no);
}

int
index_pack_name (struct index *x, uint32_t no, uint8_t name[PACK_NAME_LEN])
{
  LOCK_SCOPE (&x->lock);
  if (packs_life (&x->packs, no) == PACK_BEGUN)
    return ERR_STATE;
  return packs_name (&x->packs, no, name) ? 0 : ERR_MISSING;
}

uint64_t
index_pack_size (struct index *x, uint32_t no)
{
  struct index_pack k;
  LOCK_SCOPE (&x->lock);
  enum pack_life life = packs_life (&x->packs, no);
  return life > PACK_BEGUN && life != PACK_GONE && packs_get (&x->packs, no, &k) ? k.size : 0;
}

void
index_new_session (struct index *x)
{
  LOCK_SCOPE (&x->lock);
  for (uint32_t no = 0; no < x->packs.next; no++) {
    x->packs.flags[no] &= (uint8_t) ~PACK_PINNED;
    if (packs_life (&x->packs, no) == PACK_DONE)
      x->packs.flags[no] &= (uint8_t) ~PACK_OWN;
  }
}

bool
index_pack_is_own (struct index *x, uint32_t no)
{
  LOCK_SCOPE (&x->lock);
  return packs_flags (&x->packs, no) & PACK_OWN;
}

void
index_pin (struct index *x, uint32_t no)
{
  LOCK_SCOPE (&x->lock);
  if (no < x->packs.next)
    x->packs.flags[no] |= PACK_PINNED;
}

void
index_unpin (struct index *x, uint32_t no)
{
  LOCK_SCOPE (&x->lock);
  if (no < x->packs.next)
    x->packs.flags[no] &= (uint8_t) ~PACK_PINNED;
}

bool
index_is_usable (struct index *x, uint32_t no)
{
  LOCK_SCOPE (&x->lock);
  return packs_is_usable (&x->packs, no);
}

void
index_forget_pack (struct index *x, const uint8_t name[PACK_NAME_LEN])
{
  uint32_t no;
  lock_take (&x->lock);
  /* One not known yet is noted too: a delta that names it may come later. */
  int rc = intern_locked (x, name, PACK_GONE, &no);
  if (rc == 0)
    packs_set_life (&x->packs, no, PACK_GONE);
  lock_release (&x->lock);
  if (rc < 0)
    log_warn ("cannot note in the index that a pack has gone err=\"%s\"", err_str (rc));
}

/* --- entries --- */

/* Keeps R for the delta of its pack while that is being filled. */
static void
note_begun_locked (struct index *x, const struct record *r)
{
  struct begun *b = *find_begun_locked (x, r->pack);
  if (!b || x->begun_records == BEGUN_RECORDS_MAX)
    return;
  if (b->count == b->cap) {
    uint32_t cap = b->cap ? 2 * b->cap : 64;
    struct record *p = realloc (b->records, cap * sizeof *p);
    if (!p)
      return;
    b->records = p;
    b->cap = cap;
  }
  b->records[b->count++] = *r;
  x->begun_records++;
}

struct flush {
  struct record *records;
  size_t n;
  struct hashes pending;
  uint64_t seq;
};

/* Moves the table of memory aside and gathers what can be written, unsorted.  Entries of packs
 * being filled go back to memory, those of packs that have gone are dropped. */
static int
set_aside_locked (struct index *x, struct record **out, size_t *n)
{
  struct mem fresh;
  AUTO_MEM struct record *all = malloc ((x->mem.count + 1) * sizeof *all);
  if (!all || mem_init (&fresh) < 0)
    return ERR_NOMEM;
  x->flushing = x->mem;
  x->mem = fresh;
  *n = 0;
  for (uint32_t i = 0; i < MEM_SLOTS; i++) {
    const struct record *r = &x->flushing.slots[i];
    enum pack_life life = r->type_plain ? packs_life (&x->packs, r->pack) : PACK_GONE;
    if (life == PACK_BEGUN)
      mem_put (&x->mem, r);
    else if (life == PACK_DONE || life == PACK_FOREIGN)
      all[(*n)++] = *r;
  }
  /* Where packs being filled hold most of the table, flushing again at once would gain nothing. */
  uint32_t next = x->mem.count + MEM_SLOTS / 8;
  x->flush_at = next < MEM_FLUSH ? MEM_FLUSH : next < MEM_FULL ? next : MEM_FULL;
  *out = STEAL (all);
  return 0;
}

static int
write_run (struct index *x, uint64_t seq, struct record *records, size_t n, struct run **out)
{
  AUTO (run_writer) w = NULL;
  qsort (records, n, sizeof *records, record_compare);
  /* Names before the entries that count on them. */
  if (fdatasync (x->packs.fd) < 0)
    return err_from_errno (errno);
  int rc = run_writer_new (x->dir, seq, seq, x->packs.epoch, &w);
  for (size_t i = 0; i < n && rc == 0; i++)
    rc = run_writer_put (w, &records[i]);
  return rc < 0 ? rc : run_writer_finish (w, out);
}

/* None is under way; flush_end must follow. */
static int
flush_begin_locked (struct index *x, struct flush *f)
{
  lock_assert_held (&x->lock);
  int rc = set_aside_locked (x, &f->records, &f->n);
  if (rc)
    return rc;
  f->pending = x->pending;
  x->pending = (struct hashes){ 0 };
  f->seq = x->next_seq++;
  x->writers++;
  return 0;
}

static void
flush_end (struct index *x, struct flush *f)
{
  AUTO (run) r = NULL;
  int rc = f->n ? write_run (x, f->seq, f->records, f->n, &r) : 0;
  lock_take (&x->lock);
  if (r && index_add_run_locked (x, r))
    r = NULL;
  else if (r) {
    r->is_dead = true;
    rc = ERR_LIMIT;
  }
  free (x->flushing.slots);
  x->flushing = (struct mem){ 0 };
  x->writers--;
  pthread_cond_broadcast (&x->flushed);
  lock_release (&x->lock);
  if (rc == 0)
    deltas_persist (x, &f->pending);
  else
    log_warn ("cannot write a part of the index, its entries are lost: less is deduplicated; is "
              "the disk of the state directory full? entries=%zu err=\"%s\"",
              f->n, err_str (rc));
  free (f->records);
  free (f->pending.h);
}

void
index_flush (struct index *x)
{
  struct flush f;
  lock_take (&x->lock);
  int rc = x->flushing.slots ? ERR_BUSY : flush_begin_locked (x, &f);
  lock_release (&x->lock);
  if (rc == 0) /* else another one is at it, or there is no memory: tried when more has come */
    flush_end (x, &f);
}

/* Waits for room.  Where a flush makes none, all entries are of packs being filled: the hint is
 * lost.  The lock is held from where the flush makes room until R is in it, so that nobody is
 * faster. */
static void
put_waiting_locked (struct index *x, const struct record *r)
{
  while (!mem_put (&x->mem, r)) {
    if (x->flushing.slots) {
      lock_wait (&x->flushed, &x->lock);
      continue;
    }
    struct flush f;
    if (flush_begin_locked (x, &f) == 0) {
      (void) mem_put (&x->mem, r);
      lock_release (&x->lock);
      flush_end (x, &f);
      lock_take (&x->lock);
    }
    return;
  }
}

void
index_put (struct index *x, const struct record *r, bool is_replacing)
{
  lock_take (&x->lock);
  if (is_replacing)
    note_begun_locked (x, r);
  const struct record *old = is_replacing ? NULL : mem_find (&x->mem, r->prefix, record_type (r));
  if (!old || !packs_is_usable (&x->packs, old->pack))
    put_waiting_locked (x, r);
  bool is_due = x->mem.count >= x->flush_at && !x->flushing.slots;
  bool is_crowded = x->run_count >= RUNS_CROWDED;
  lock_release (&x->lock);
  if (is_due)
    index_flush (x);
  if (is_due && is_crowded)
    index_maintain (x);
}

int
index_add (struct index *x, int type, const struct chunk_ref *ref)
{
  if (type <= 0 || type > 255 || ref->plain_len >= 1u << PLAIN_BITS)
    return 0; /* not indexed */
  struct record r = { .pack = ref->pack,
                      .off = ref->off,
                      .sealed_len = ref->sealed_len,
                      .type_plain = (uint32_t) type << PLAIN_BITS | ref->plain_len };
  memcpy (r.prefix, ref->id, PREFIX_LEN);
  index_put (x, &r, true);
  return 0;
}

bool
index_add_run_locked (struct index *x, struct run *r)
{
  if (x->run_count == RUNS_MAX)
    return false;
  r->serial = ++x->next_serial;
  /* Flushes may end in another order than they began. */
  unsigned at = x->run_count++;
  for (; at > 0 && x->runs[at - 1]->lo > r->lo; at--)
    x->runs[at] = x->runs[at - 1];
  x->runs[at] = r;
  return true;
}

void
index_unref_runs (struct index *x, struct run **runs, unsigned n)
{
  unsigned dead = 0;
  lock_take (&x->lock);
  for (unsigned i = 0; i < n; i++)
    if (--runs[i]->refs == 0)
      runs[dead++] = runs[i];
  lock_release (&x->lock);
  for (unsigned i = 0; i < dead; i++)
    run_free (runs[i]);
}
