/* SPDX-License-Identifier: Apache-2.0 */
/* log - one structured line per event.
 *
 * A message is a short sentence followed by key=value pairs, written by the caller in the format:
 *   log_warn ("put failed, will retry key=%s err=\"%s\" attempt=%d", key, err_str (rc), n);
 * The line is prefixed by time (UTC), level and module.  With LOG_JSON the same goes out as one
 * JSON object.  No secret and no plaintext file name above debug.  errno is preserved.  A line is
 * at most LOG_LINE_MAX bytes; a longer one is cut and ends in "...".
 *
 * Threads: any.  One write(2) per line; no lock is held while writing.  The last LOG_RING errors
 * and warnings are kept for the control file `status` (log_recent).
 *
 * A file that logs does `#define LOG_MODULE "pack"` before including this header. */
#ifndef COFFER_BASE_LOG_H
#define COFFER_BASE_LOG_H

#include <stdbool.h>
#include <stddef.h>

#define LOG_LINE_MAX 2048
#define LOG_RING 16

enum log_level { LOG_LVL_ERR, LOG_LVL_WARN, LOG_LVL_INFO, LOG_LVL_DEBUG };
enum log_target { LOG_TO_STDERR, LOG_TO_SYSLOG, LOG_TO_FILE };

/* Where lines go; PATH only for LOG_TO_FILE (opened append, mode 0600; reopened by log_reopen).
 * Returns 0 or a negative err; on failure the old target stays. */
int log_init (enum log_target target, const char *path, bool json);
void log_set_level (enum log_level level);
/* "packer=debug,http=info" or a bare level.  Unknown level: ERR_INVALID. */
int log_set_levels (const char *spec);
int log_reopen (void);
/* On a command line the prefix (time, module) is noise: print "coffer: message" only. */
void log_set_plain (bool is_plain);

bool log_wants (enum log_level level, const char *module);
void log_line (enum log_level level, const char *module, const char *fmt, ...)
  __attribute__ ((format (printf, 3, 4)));

/* Copies the I-th most recent error or warning (0 = newest) into OUT; false where there is none. */
bool log_recent (int i, char *out, size_t cap);

#ifndef LOG_MODULE
#define LOG_MODULE "coffer"
#endif
#define log_at(level, ...)                                                    \
  do {                                                                        \
    if (log_wants (level, LOG_MODULE))                                        \
      log_line (level, LOG_MODULE, __VA_ARGS__);                              \
  } while (0)
#define log_err(...) log_at (LOG_LVL_ERR, __VA_ARGS__)
#define log_warn(...) log_at (LOG_LVL_WARN, __VA_ARGS__)
#define log_info(...) log_at (LOG_LVL_INFO, __VA_ARGS__)
#define log_debug(...) log_at (LOG_LVL_DEBUG, __VA_ARGS__)

#endif
