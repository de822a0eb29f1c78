/* SPDX-License-Identifier: Apache-2.0 */
/* text - what others have named, in text for people: whatever a file is called, it must not steer
 * a terminal, break a line of a log, or make a JSON text invalid.  Pure; any thread. */
#ifndef COFFER_BASE_TEXT_H
#define COFFER_BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/* How many bytes the character at S has; 0 for what is not UTF-8 (too long a spelling, half a
 * pair, beyond the last character).  Reads no byte behind a NUL. */
int text_utf8_length (const char *s);
bool text_is_utf8 (const char *s);

/* S with control characters and bytes that are no UTF-8 written as \n, \t, \x1b; at most CAP - 1
 * bytes, whole characters.  Returns OUT. */
const char *text_show (const char *s, char *out, size_t cap);
/* The same in place and no longer: a blank for what ends a line, '?' for the rest. */
void text_clean (char *s);

#endif
