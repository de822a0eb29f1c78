/* SPDX-License-Identifier: Apache-2.0 */
/* A part of a snapshot that several hosts write (ruling 24): finished, taken back, and what others'
 * seals make of it.
 *
 * Finished means: every byte is durable, a checkpoint with flag 4 says so, and nothing is written
 * any more.  The joiner puts its `.pending`, then looks at the parts; here the checkpoint is put,
 * then the pending ones are looked at: one of the two sees the other. */
#define LOG_MODULE "snapshot"
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "snapshot/file.h"
#include "snapshot/parts.h"

#define TELL_TRIES 4 /* checkpoints until all is told: one, as nobody writes */
#define PENDING_WAIT (10 * NS_PER_S)
#define PENDING_LOOK (200 * NS_PER_MS)

/* Others sealed it with our part: nothing is left to do here. */
static void
become_sealed (struct snap *s, const struct part_fate *f)
{
  lock_take (&s->lock);
  bool is_mine = s->life == LIFE_OPEN;
  if (is_mine) {
    s->life = LIFE_SEALED;
    s->is_cut = true;
    s->final = f->name;
    s->final.label = s->final.ts + (f->name.label - f->name.ts);
    s->counts = f->counts;
    s->seal_result = 0;
    s->error_text[0] = 0;
    s->sealed_at = clock_wall ();
    pthread_cond_broadcast (&s->changed);
  }
  lock_release (&s->lock);
  if (!is_mine)
    return;
  vault_add_sealed (s->vault, s->final.ts, f->digest, clock_wall ());
  snap_sealed_over (s);
  log_info ("another host sealed the snapshot with this host's part vault=%s snapshot=%s part=%s "
            "host=%s", s->vault->name, s->final.ts, s->part, f->host);
  mount_kick (s->mount);
}

static void
say_left_out (struct snap *s, const struct part_fate *f)
{
  lock_take (&s->lock);
  bool is_first = !s->is_left_out;
  s->is_left_out = true;
  snprintf (s->error_text, sizeof s->error_text,
            "sealed as %.95s by %.50s without this part: save it as another one (mv T.partial "
            "T-LABEL) or remove it", f->name.ts, f->host);
  lock_release (&s->lock);
  if (is_first)
    log_err ("a snapshot was sealed without this host's part vault=%s snapshot=%s part=%s "
             "sealed_as=%s host=%s: save it as another one (mv T.partial T-LABEL) or remove it",
             s->vault->name, s->name.ts, s->part, f->name.ts, f->host);
}

/* 0 where it is still to be sealed; ERR_STATE: it is; ERR_EXISTS: without this part. */
static int
heed (struct snap *s, const struct part_fate *f)
{
  if (f->fate == FATE_LEFT_OUT) {
    say_left_out (s, f);
    return ERR_EXISTS;
  }
  return f->fate == FATE_JOINED ? ERR_STATE : 0;
}

/* What a checkpoint on its way tells may come back when that fails: waits for those. */
static bool
has_untold (struct snap *s)
{
  lock_take (&s->lock);
  while (snap_is_committing_locked (s))
    lock_wait (&s->changed, &s->lock);
  lock_release (&s->lock);
  LOCK_SCOPE (&s->tree->lock);
  return s->tree->log.len != 0;
}

static int
tell_all (struct snap *s)
{
  int rc = 0;
  for (int i = 0; rc == 0 && has_untold (s); i++)
    rc = i == TELL_TRIES ? ERR_STATE : snap_checkpoint (s, 0);
  return rc;
}

static int
finish (struct snap *s)
{
  struct pipe *pipe = s->vault->pipe;
  int rc = s->is_finished ? 0 : snap_end_writing (s);
  if (rc == 0)
    rc = filedata_push_all (s, false);
  if (rc == 0)
    rc = snap_merge_packs (s);
  if (rc == 0)
    rc = pipe_wait_durable (pipe, &s->dep, pipe_close_packs (pipe, false));
  if (rc == 0)
    rc = pipe_put_index (pipe);
  if (rc == 0)
    rc = tell_all (s);
  if (rc)
    return rc;
  s->is_finished = true; /* whatever is answered: a lost answer may be a checkpoint that stands */
  return snap_checkpoint (s, CHECKPOINT_FINISHED);
}

static int
run_finish (struct snap *s)
{
  struct part_fate f;
  int rc = s->is_finished && s->is_finish_sure ? 0 : finish (s);
  int64_t deadline = clock_now () + PENDING_WAIT;
  while (rc == 0) {
    rc = part_fate (s, &f);
    if (rc == 0)
      rc = heed (s, &f);
    if (rc || !s->is_late || !f.is_pending_without)
      break;
    if (clock_now () > deadline) {
      LOCK_SCOPE (&s->lock);
      snprintf (s->error_text, sizeof s->error_text, "another host's seal that began before this "
                "part is under way, or was broken off: when it is over, try again");
      return ERR_AGAIN;
    }
    clock_sleep (PENDING_LOOK);
  }
  if (rc == 0)
    s->is_late = false;
  if (rc == 0)
    log_info ("part finished vault=%s snapshot=%s part=%s files=%llu", s->vault->name, s->name.ts,
              s->part, (unsigned long long) s->tree->files);
  return rc == ERR_STATE ? 0 : rc; /* joined already: the next look makes it sealed */
}

/* Back to what it was before: unless a seal that has it may be under way. */
static int
run_reopen (struct snap *s)
{
  struct part_fate f;
  if (!s->is_finished)
    return 0;
  s->is_finished = s->is_finish_sure = false;
  int rc = snap_checkpoint (s, 0);
  if (rc == 0)
    rc = part_fate (s, &f);
  if (rc == 0 && f.fate == FATE_JOINED)
    rc = ERR_STATE;
  else if (rc == 0 && f.is_pending_with)
    rc = ERR_BUSY;
  if (rc == 0) {
    log_info ("part open again vault=%s snapshot=%s part=%s", s->vault->name, s->name.ts, s->part);
    return 0;
  }
  s->is_finished = true;
  int again = snap_checkpoint (s, CHECKPOINT_FINISHED);
  if (again)
    log_err ("a part is neither open nor surely finished vault=%s snapshot=%s part=%s err=\"%s\": "
             "finish it again", s->vault->name, s->name.ts, s->part, err_str (again));
  LOCK_SCOPE (&s->lock);
  snprintf (s->error_text, sizeof s->error_text, "%s", rc == ERR_BUSY
            ? "another host's seal that has this part is under way" : "it cannot be opened again");
  return rc;
}

int
snap_finish_run (struct snap *s)
{
  int rc = s->seal_flags & SEAL_REOPEN ? run_reopen (s) : run_finish (s);
  if (rc)
    log_err ("part not %s vault=%s snapshot=%s part=%s err=\"%s\"%s%s",
             s->seal_flags & SEAL_REOPEN ? "opened again" : "finished", s->vault->name, s->name.ts,
             s->part, err_str (rc), s->error_text[0] ? ": " : "", s->error_text);
  return rc;
}

void
snap_check_late (struct snap *s)
{
  struct part_fate f;
  int rc = part_fate (s, &f);
  if (rc)
    log_debug ("seals under way are not known vault=%s snapshot=%s err=\"%s\"", s->vault->name,
               s->name.ts, err_str (rc));
  s->is_late = rc != 0 || f.is_pending_without;
  if (rc == 0 && f.fate == FATE_LEFT_OUT)
    say_left_out (s, &f);
}

/* ---- what others do meanwhile ---- */

static void
look_run (struct pool_job *job)
{
  struct snap *s = ((struct snap_job *) job)->snap;
  free (job);
  struct part_fate f;
  if (s->life != LIFE_OPEN)
    return;
  int rc = part_fate (s, &f);
  if (rc) {
    log_warn ("cannot see what others have sealed vault=%s snapshot=%s err=\"%s\"", s->vault->name,
              s->name.ts, err_str (rc));
    LOCK_SCOPE (&s->lock);
    s->siblings = 0; /* the next listing asks again */
    return;
  }
  lock_take (&s->lock);
  s->siblings = f.siblings;
  while (snap_is_committing_locked (s))
    lock_wait (&s->changed, &s->lock);
  lock_release (&s->lock);
  if (f.fate == FATE_JOINED && s->is_finished)
    become_sealed (s, &f);
  else if (f.fate == FATE_JOINED && !f.is_by_us) /* adopted by another host while this one lived */
    snap_fail (s, ERR_EXISTS, "another host has taken over this part and sealed it");
  else if (f.fate == FATE_LEFT_OUT && s->life == LIFE_OPEN)
    say_left_out (s, &f);
}

void
snap_look_start (struct snap *s)
{
  if (snap_submit (s, look_run) != 0)
    log_debug ("no memory to look vault=%s", s->vault->name); /* the next listing asks again */
}

void
snap_look_at_open (struct vault *v)
{
  struct mount *m = v->region->mount;
  for (struct snap *s = NULL; (s = mount_next_live (m, s));) {
    if (s->vault != v || s->is_joiner || s->life != LIFE_OPEN)
      continue;
    size_t n = vault_count_instant (v, s->name.ts);
    lock_take (&s->lock);
    bool is_news = n != s->siblings;
    s->siblings = n;
    lock_release (&s->lock);
    if (is_news && n)
      snap_look_start (s);
  }
}

/* ---- a host that only joins ---- */

/* One for each name, used again by the next attempt. */
int
snap_joiner (struct vault *v, const struct snapshot_name *name, struct snap **out)
{
  struct mount *m = v->region->mount;
  int rc = vault_open (v);
  if (rc)
    return rc;
  lock_take (&m->lock);
  struct snap *s = NULL;
  for (struct snap *o = m->live; o && !s; o = o->next_live)
    if (o->is_joiner && o->vault == v && o->life != LIFE_GONE && o->life != LIFE_SEALED
        && strcmp (o->name.ts, name->ts) == 0)
      s = o;
  lock_release (&m->lock);
  if (s) {
    *out = s;
    return 0;
  }
  rc = snap_new (v, name, &s);
  if (rc)
    return rc;
  s->is_joiner = true;
  s->last_checkpoint = clock_now ();
  rc = snap_register (s);
  if (rc)
    snap_free (s);
  else
    *out = s;
  return rc;
}
