/* SPDX-License-Identifier: Apache-2.0 */
/* harden - what a process does before it reads a key, and how a daemon behaves as one. */
#ifndef COFFER_TOOLS_HARDEN_H
#define COFFER_TOOLS_HARDEN_H

#include <stdbool.h>

/* No core dump, no ptrace by others of the same user, files for their owner only, and a heap that
 * gives memory back.  Not the first two under a sanitizer, which needs to look at the process. */
void harden_process (void);

/* Tells systemd "READY=1" and the like, where it asked for that; nothing else. */
void notify_service (const char *state);

/* Standard input, output and error become /dev/null. */
void detach_from_terminal (void);

#endif
