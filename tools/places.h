/* SPDX-License-Identifier: Apache-2.0 */
/* places - where coffer puts its files when nobody says so: root's below /var, a user's in the
 * directories of the XDG convention. */
#ifndef COFFER_TOOLS_PLACES_H
#define COFFER_TOOLS_PLACES_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* "~/.config/coffer"; ERR_NOENT where there is no home. */
int places_config (char *out, size_t cap) WARN_UNUSED;
/* The parents of the state and cache directories. */
int places_state (char *out, size_t cap) WARN_UNUSED;
int places_cache (char *out, size_t cap) WARN_UNUSED;

/* A hash for names (FNV-1a, 64 bits), to be chained by SEED; not against an adversary. */
uint64_t places_hash (const char *text, uint64_t seed);
/* What is legible of a URL in a file name: "srv-coffer". */
void places_word (const char *url, char *out, size_t cap);
/* Makes DIR and its parents, mode 0700. */
int places_make (const char *dir) WARN_UNUSED;

#endif
