/* SPDX-License-Identifier: Apache-2.0 */
/* mounted - a coffer mount as the commands see it: a path in it, and its control directory.
 *
 * Nothing is known here but what any script could do with .coffer/ (DESIGN 10): orders are lines
 * written to `command`, and the state of things is status.json. */
#ifndef COFFER_TOOLS_MOUNTED_H
#define COFFER_TOOLS_MOUNTED_H

#include <jansson.h>
#include <limits.h>

#include "cli.h"

struct mounted {
  char top[PATH_MAX]; /* where it is mounted */
  char rel[PATH_MAX]; /* the path below, without slashes at the ends; "" for the top */
};
/* Finds the mount that PATH is in.  The last component need not exist.  0, or the exit status after
 * a message. */
int mounted_find (const struct cli *cli, const char *path, struct mounted *out);
/* For commands whose path may be left out: the mount that PATH is in; without one that of the
 * current directory, or else the only one this user may look at. */
int mounted_find_default (const struct cli *cli, const char *path, struct mounted *out);
/* The same without a message: ERR_NOENT where PATH is in no mount. */
int mounted_look (const char *path, struct mounted *out) WARN_UNUSED;

/* Sends one line to .coffer/command and waits for its answer.  0 or a negative err; REPLY (always
 * set) gets the answer's text without "ok", "error:" and newline. */
int mounted_command (const struct mounted *m, const char *line, char *reply,
                     size_t cap) WARN_UNUSED;
/* Reads a control file. */
int mounted_read (const struct mounted *m, const char *name, struct buf *out) WARN_UNUSED;
/* status.json; NULL where it cannot be read. */
json_t *mounted_status (const struct mounted *m);
/* Whether a region shows less than this host has seen of it (ruling 21). */
bool mounted_shows_less (const struct mounted *m);
/* An extended attribute as text; false where there is none. */
bool mounted_attr (const char *path, const char *name, char *out, size_t cap);

/* The err whose sentence TEXT is, ERR_IO if none. */
int err_from_text (const char *text);

#endif
