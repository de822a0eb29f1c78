/* SPDX-License-Identifier: Apache-2.0 */
/* config - the settings of a mount: from a file, from `-o`, or by default (config_table.h).
 *
 * A file is libconfuse's syntax: `name = value` lines, `region "eu" { name = value ... }` sections
 * and comments from '#'.  A name that is not in the table, a value that is none and a number out
 * of its bounds are refused with file and line.  A setting given twice: the last one holds, and
 * `-o` is read after the file.  A region's setting falls back to the one at top level, then to the
 * default.
 *
 * Secrets do not stand here: only names of files that hold them, whose modes are checked by whoever
 * reads them (store/keys.h).  A configuration file that others can write is refused (ERR_DENIED).
 *
 * Errors: ERR_INVALID with a sentence in WHY that says where, what and what is accepted; ERR_LIMIT
 * out of bounds; ERR_NOENT, ERR_DENIED, ERR_IO for the file; ERR_NOMEM.  Nothing is logged.
 * Threads: one; config_load uses state of its own and must not run twice at once. */
#ifndef COFFER_BASE_CONFIG_H
#define COFFER_BASE_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"

enum config_type {
  CONFIG_STRING,
  CONFIG_PATH,
  CONFIG_SIZE,     /* "10GiB"; bytes */
  CONFIG_RATE,     /* text, checked by config_check_rate */
  CONFIG_DURATION, /* "30s"; nanoseconds */
  CONFIG_BOOL,
  CONFIG_INT,
  CONFIG_CHOICE,
};
enum config_scope { CONFIG_GLOBAL, CONFIG_REGIONAL, CONFIG_OPTION };

enum config_id {
#define CONFIG(id, ...) CONFIG_ID_##id,
#include "base/config_table.h"
#undef CONFIG
  CONFIG_COUNT
};

struct config_row {
  const char *name;
  enum config_type type;
  enum config_scope scope;
  const char *unit;
  int64_t min, max;
  const char *dflt;
  bool is_live;
  const char *help;
};
const struct config_row *config_row (enum config_id id);
const char *config_type_name (enum config_type type);

/* What a rate may be is known to a higher layer: it says so here, once, at start.  Without it any
 * text is a rate.  FN returns 0 or ERR_INVALID. */
typedef int (*config_rate_fn) (const char *text);
void config_check_rate (config_rate_fn fn);

#define CONFIG_REGION_MAX 64
#define CONFIG_VALUE_MAX 4096

struct config;
int config_new (struct config **out) WARN_UNUSED;
void config_free (struct config *c);
DEFINE_FREEP (config);

int config_load (struct config *c, const char *path, struct buf *why) WARN_UNUSED;
/* One setting; REGION is an index or CONFIG_ALL.  NAME may be spelt with '_' for '-'. */
#define CONFIG_ALL (-1)
int config_set (struct config *c, int region, const char *name, const char *value,
                struct buf *why) WARN_UNUSED;
/* A list as after -o: "name=value,flag,noflag,REGION.name=value"; a comma in a value is spelt "\,".
 * What every mount(8) helper is given and means nothing here (rw, auto, nofail, _netdev, user,
 * x-..., comment=...) is passed over; what the kernel knows (nodev, nosuid, noexec, noatime, ...)
 * goes, comma separated, into EXTRA; the rest is refused. */
int config_set_list (struct config *c, const char *list, struct buf *extra,
                     struct buf *why) WARN_UNUSED;
/* Adds a region, or finds the one of this name; returns its index. */
int config_region_add (struct config *c, const char *name, struct buf *why) WARN_UNUSED;

size_t config_regions (const struct config *c);
const char *config_region_name (const struct config *c, size_t region);
/* The value in force; REGION may be CONFIG_ALL.  Text is never NULL and lives as long as C. */
const char *config_text (const struct config *c, int region, enum config_id id);
int64_t config_number (const struct config *c, int region, enum config_id id);
bool config_is (const struct config *c, enum config_id id);
/* False where the default is in force. */
bool config_has (const struct config *c, int region, enum config_id id);

/* The whole configuration in force as a configuration file that reads back to the same. */
void config_dump (const struct config *c, struct buf *out);
/* The settings of SCOPE as mdoc, for coffer.conf(5). */
void config_man (enum config_scope scope, struct buf *out);

/* "10GiB", "64k", "1000": digits, at most three decimals, and B, k M G T P or KiB... (powers of
 * 1024) or kB MB... (powers of 1000).  "30s", "1.5h", "500ms", "7d", "off"; a bare number is
 * seconds. */
int config_parse_size (const char *text, int64_t *out) WARN_UNUSED;
int config_parse_duration (const char *text, int64_t *ns) WARN_UNUSED;
int config_parse_bool (const char *text, bool *out) WARN_UNUSED;

#endif
