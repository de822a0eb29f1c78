/* SPDX-License-Identifier: Apache-2.0 */
/* parts - the parts of open snapshots as the store shows them (ruling 24), and what has become of
 * one.
 *
 * A part is the directory open/<ts>/<id>/ of a vault; its newest checkpoint says whose it is and
 * whether it is finished.  Everything here asks the store but parts_peek. */
#ifndef COFFER_SNAPSHOT_PARTS_H
#define COFFER_SNAPSHOT_PARTS_H

#include "snapshot/snap.h"

struct part_seen {
  char ts[SNAPSHOT_TS_MAX];
  char id[17], host[65], host_id[33];
  enum part_state state;
  char newest[CHECKPOINT_NAME_MAX]; /* name of the newest checkpoint */
  int64_t changed;                  /* the store's time of it */
  struct checkpoint_counts counts;
  bool is_left_out;                 /* join.c: by --without, or expired */
};
/* The parts of TS but OWN, ascending by id; free (*out). */
int parts_list (struct vault *v, const char *ts, const char *own, struct part_seen **out,
                size_t *n) WARN_UNUSED;
/* Those that a sealed snapshot of the same instant holds, under whatever label, become
 * PART_SEALED. */
int parts_mark_sealed (struct vault *v, const struct snapshot_name *name, struct part_seen *parts,
                       size_t n) WARN_UNUSED;

/* What others' seals have made of the part of S. */
enum fate {
  FATE_OPEN,     /* nothing */
  FATE_JOINED,   /* it is in a sealed snapshot */
  FATE_LEFT_OUT, /* a sealed one names it as missing, or has its name without it */
};
struct part_fate {
  enum fate fate;
  struct snapshot_name name; /* of the sealed one */
  char digest[2 * DIGEST_LEN + 1], host[65];
  struct manifest_counts counts;
  size_t siblings;  /* sealed ones of the instant */
  bool is_by_us;    /* an attempt of ours whose answer was lost */
  /* a manifest of somebody else is pending, that has the part, or not */
  bool is_pending_with, is_pending_without;
};
int part_fate (struct snap *s, struct part_fate *out) WARN_UNUSED;
/* M was made by the host and part of S, in this session or another. */
bool manifest_is_ours (const struct manifest *m, const struct snap *s);

/* What was seen last of V's parts of others, and has it looked at again in the background. */
int parts_peek (struct vault *v, struct part_seen **out, size_t *n) WARN_UNUSED;

#endif
