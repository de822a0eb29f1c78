/* SPDX-License-Identifier: Apache-2.0 */
/* snaplist - the snapshots of a mount, or of stores without one, as rows.
 *
 * In a mount the rows come from readdir and user.coffer.* (so from any host's point of view that
 * mounts); without one from the catalog and the manifests. */
#ifndef COFFER_TOOLS_SNAPLIST_H
#define COFFER_TOOLS_SNAPLIST_H

#include "mounted.h"
#include "snapshot/names.h"
#include "wire.h"

/* Which stores or mount a command line means. */
struct place {
  bool is_mount;
  struct mounted mount;
  struct config *config; /* of stores */
  const char *url_arg;   /* the argument that was taken as URL, or NULL */
};
/* ARG (or NULL) is a path in a mount, a URL, or a directory that holds a store; without it -c is
 * asked, then the mount of the current directory or the only one.  0, or the exit status after a
 * message. */
int place_find (const struct cli *cli, const char *arg, struct place *out);
void place_release (struct place *p);
#define AUTO_PLACE __attribute__ ((cleanup (place_release))) struct place

struct snap_row {
  char region[64], vault[64];
  char name[112]; /* of the directory: with .partial */
  char path[PATH_MAX];
  const char *state; /* "open", "sealing", "sealed", "damaged" */
  char kind[8], host[65], sealed_by[16], digest[33];
  int64_t instant, created, sealed; /* seconds */
  bool has_counts;
  uint64_t files, dirs, logical, fresh, dedup, stored;
  int rc; /* of a damaged one */
  struct wire_store *store; /* without a mount: where it is, during the callback */
};
struct snap_filter {
  const char *region, *vault, *name; /* shell patterns, or NULL */
  int64_t since, until;              /* instants, 0: none */
  bool only_sealed, only_open;
  size_t last;       /* of each vault only the newest N; 0: all */
  bool names_only;   /* no counts: no manifest is read */
};
/* Options of the filter, to be put into a command's table. */
#define SNAP_FILTER_OPTIONS                                                                       \
  { "region", 'r', "PATTERN", "only of regions of this name" },                                   \
  { "db", 'd', "PATTERN", "only of databases of this name" },                                     \
  { "since", 0, "TIME", "only this and later (2026-11-21, 2026-11-21T03:00:00Z, 7d)" },           \
  { "until", 0, "TIME", "only this and earlier" },                                                \
  { "last", 'n', "N", "only the newest N of each database" }
int snap_filter_read (const struct cli *cli, struct snap_filter *out);

/* FN returns 0 to go on, else the status that ends it. */
typedef int (*snap_row_fn) (void *ctx, const struct snap_row *row);
/* The exit status; EXIT_DAMAGE where a manifest is damaged (its row comes all the same). */
int snap_list (const struct cli *cli, const struct place *p, const struct snap_filter *f,
               snap_row_fn fn, void *ctx);

/* A time as people give it: a date, an instant, or a span before now ("7d"). */
int time_parse (const char *text, int64_t *out) WARN_UNUSED;

#endif
