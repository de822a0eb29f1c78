/* SPDX-License-Identifier: Apache-2.0 */
/* control_priv - what the control files share among themselves. */
#ifndef COFFER_FS_CONTROL_PRIV_H
#define COFFER_FS_CONTROL_PRIV_H

#include "fs/control.h"

#define CONTROL_TEXT_MAX (4u << 20) /* 10,000 open snapshots of 400 bytes */
#define CONTROL_LINE_MAX 4096u      /* a path and a word or two */

/* One picture of the mount, for all formats. */
struct control_view {
  int64_t now; /* wall clock */
  struct mount_stats stats;
  struct snapshot_info *snapshots;
  struct part_info *parts; /* of other hosts */
  double *rates; /* bytes a second taken in, of each snapshot */
  size_t snapshot_count, part_count, held, writers;
};
int control_view_get (struct fs *fs, struct control_view *out) WARN_UNUSED;
void control_view_release (struct control_view *v);
const char *snapshot_state_str (enum snapshot_state s);
/* Seconds until what is pending is durable at the present rate; -1 where that cannot be said. */
int64_t snapshot_eta_s (const struct snapshot_info *s, double rate);

typedef int (*control_fill_fn) (struct fs *fs, struct buf *out);
int control_fill_status (struct fs *fs, struct buf *out) WARN_UNUSED;
int control_fill_health (struct fs *fs, struct buf *out) WARN_UNUSED;
int control_fill_json (struct fs *fs, struct buf *out) WARN_UNUSED;
int control_fill_metrics (struct fs *fs, struct buf *out) WARN_UNUSED;

/* Runs LINE (without its newline); may wait.  REPLY gets one line of text in either case.
 * *is_stop: the session is to end once this is answered. */
int control_command (struct fs *fs, const char *line, struct buf *reply, bool *is_stop) WARN_UNUSED;
/* Sets the rates of REGION. */
int control_throttle (struct fs *fs, const char *region, const char *text,
                      struct buf *reply) WARN_UNUSED;
/* The path, below the mount, of the open snapshot whose directory is NODE. */
int control_path_of (struct fs *fs, uint64_t node, char *out, size_t cap) WARN_UNUSED;

/* Rates are measured between two looks at least this far apart. */
struct rates;
int rates_new (struct rates **out) WARN_UNUSED;
void rates_free (struct rates *r);
/* Notes that KEY stands at BYTES now; returns its rate in bytes a second. */
double rates_note (struct rates *r, const char *key, uint64_t bytes, int64_t created, int64_t now);
struct rates *control_rates (struct fs *fs);

#endif
