/* SPDX-License-Identifier: Apache-2.0 */
/* out - numbers, times and progress for people. */
#ifndef COFFER_TOOLS_OUT_H
#define COFFER_TOOLS_OUT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "cli.h"

/* "1.50 GiB", "812 B"; OUT has 24 bytes. */
#define SIZE_TEXT 24
const char *out_size (uint64_t bytes, char out[SIZE_TEXT]);
/* "2:07", "3:10:05", "-" where negative; OUT has 24 bytes. */
const char *out_span (int64_t seconds, char out[SIZE_TEXT]);
/* "2026-11-21T03:00:00Z"; "-" for 0. */
#define TIME_TEXT 32
const char *out_time (int64_t seconds, char out[TIME_TEXT]);

/* Sets KEY of O to what others have named: bytes that are no UTF-8 cannot stand in JSON and are
 * written as \xff; then KEY_hex has the name byte for byte. */
void out_json_name (json_t *o, const char *key, const char *name);
/* The same for people: a name as it is, but to a terminal what would steer it goes as \x1b. */
const char *out_name (const struct cli *cli, const char *name, char *out, size_t cap);

/* Prints O, a line (compact) or indented on a terminal, and gives it up. */
void out_json (const struct cli *cli, json_t *take);

/* Progress of one thing: a line that is overwritten on a terminal, a plain line every 10 s (and at
 * the end) on a pipe, a JSON object per update with --json, nothing when quiet. */
struct progress {
  const struct cli *cli;
  const char *what;
  bool is_terminal; /* stderr */
  int64_t started, printed;
  /* rate over the last RATE_SLOTS seconds */
  struct { int64_t at; uint64_t done; } slots[8];
  int slot_count;
  bool has_line;
};
void progress_begin (struct progress *p, const struct cli *cli, const char *what);
/* DONE of TOTAL bytes (0: not known); NOTE (or NULL) is appended. */
void progress_show (struct progress *p, uint64_t done, uint64_t total, const char *note);
/* Takes the line away, so that a message can stand there. */
void progress_end (struct progress *p);

#endif
