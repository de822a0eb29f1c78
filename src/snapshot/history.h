/* SPDX-License-Identifier: Apache-2.0 */
/* history - what happened to this host's snapshots: a line of JSON each (DESIGN 10).
 *
 *   {"time": ISO 8601, "event": "begin" | "resume" | "seal" | "remove" | "check" | ...,
 *    "snapshot": "region/db/ts", "host": NAME, ...}, and for what can fail "result": "done",
 *    "busy", "transient", "denied", "damage", "full" or "failed", with "error" in words.
 *
 * Kept in the state directory (`history`; when that is HISTORY_FILE_MAX long it becomes
 * `history.1`, and the one before is dropped), so it survives a remount; lost with it, since
 * nothing depends on it.  A line that cannot be written is logged and does no harm.
 *
 * Threads: any.  Local disk only. */
#ifndef COFFER_SNAPSHOT_HISTORY_H
#define COFFER_SNAPSHOT_HISTORY_H

#include "snapshot/snapshot_priv.h"

#define HISTORY_FILE_MAX (1u << 20) /* some 4,000 lines; twice that is kept, and shown */

void history_begin (struct snap *s, uint32_t uid);
void history_resume (struct snap *s);
void history_remove (struct snap *s);
/* RC as the seal ended; begun BEGUN (clock_now). */
void history_seal (struct snap *s, int rc, int64_t begun);

#endif
