/* SPDX-License-Identifier: Apache-2.0 */
/* json_priv - typed, bounded access to members of a JSON object.
 *
 * The getters return false where the member is absent, of another type, or over its bound, and then
 * leave OUT alone.  The setters give a new reference to OBJ and return 0, ERR_INVALID (text that is
 * not UTF-8, a number over 2^63 - 1) or ERR_NOMEM. */
#ifndef COFFER_FORMAT_JSON_PRIV_H
#define COFFER_FORMAT_JSON_PRIV_H

#include <jansson.h> /* has json_decrefp */

#include "format/format.h"

#define AUTO_JSON __attribute__ ((cleanup (json_decrefp))) json_t

/* An object from exactly N bytes: no duplicate member, nothing behind it. */
int json_object_parse (const uint8_t *text, size_t n, json_t **out) WARN_UNUSED;
/* Compact with sorted members (the form under a MAC), or indented for people, appended to OUT. */
int json_object_write (const json_t *obj, bool is_compact, struct buf *out) WARN_UNUSED;

bool json_get_u64 (const json_t *obj, const char *key, uint64_t max, uint64_t *out);
/* A number that may be negative. */
bool json_get_i64 (const json_t *obj, const char *key, int64_t *out);
/* Text of less than CAP bytes, without control characters. */
bool json_get_text (const json_t *obj, const char *key, char *out, size_t cap);
/* Exactly N bytes in lower-case hex. */
bool json_get_hex (const json_t *obj, const char *key, uint8_t *out, size_t n);
bool text_is_plain (const char *s);

int json_set_u64 (json_t *obj, const char *key, uint64_t v) WARN_UNUSED;
int json_set_text (json_t *obj, const char *key, const char *s) WARN_UNUSED;
int json_set_hex (json_t *obj, const char *key, const uint8_t *p, size_t n) WARN_UNUSED;
/* Takes VALUE (may be NULL: ERR_NOMEM). */
int json_set_take (json_t *obj, const char *key, json_t *value) WARN_UNUSED;

#endif
