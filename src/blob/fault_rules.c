/* SPDX-License-Identifier: Apache-2.0 */
#include "blob/fault_rules.h"

#include <stdlib.h>
#include <string.h>

static const char *const op_names[] = { "put", "get", "head", "list", "delete", "now", "*" };

static const struct {
  const char *name;
  enum fault_kind kind;
} kinds[] = {
  { "fail", FAULT_FAIL },         { "lose", FAULT_LOSE },
  { "stall", FAULT_STALL },       { "corrupt", FAULT_CORRUPT },
  { "truncate", FAULT_TRUNCATE }, { "dead", FAULT_DEAD },
  { "dead-after", FAULT_DEAD_AFTER }, { "exit", FAULT_EXIT },
  { "exit-after", FAULT_EXIT_AFTER },
};

static const struct {
  const char *name;
  int err;
} errs[] = {
  { "again", ERR_AGAIN },   { "io", ERR_IO },         { "missing", ERR_MISSING },
  { "exists", ERR_EXISTS }, { "denied", ERR_DENIED }, { "full", ERR_FULL },
  { "throttled", ERR_THROTTLED }, { "format", ERR_FORMAT }, { "cancelled", ERR_CANCELLED },
  { "nomem", ERR_NOMEM },
};

#define COUNT_OF(a) (sizeof (a) / sizeof (a)[0])

const char *
fault_op_name (enum fault_op op)
{
  return op_names[op];
}

static bool
is_word (const char *s, size_t n, const char *word)
{
  return strlen (word) == n && memcmp (s, word, n) == 0;
}

static bool
parse_number (const char *s, size_t n, uint64_t *out)
{
  uint64_t v = 0;
  if (n == 0 || n > 18)
    return false;
  for (size_t i = 0; i < n; i++) {
    if (s[i] < '0' || s[i] > '9')
      return false;
    v = v * 10 + (uint64_t) (s[i] - '0');
  }
  *out = v;
  return true;
}

/* FAULT[:ARG] */
static bool
parse_fault (const char *s, size_t n, struct fault_rule *r)
{
  const char *colon = memchr (s, ':', n);
  size_t name_len = colon ? (size_t) (colon - s) : n;
  for (size_t i = 0; i < COUNT_OF (kinds); i++)
    if (is_word (s, name_len, kinds[i].name))
      r->kind = kinds[i].kind;
  if (r->kind == FAULT_NONE)
    return false;
  r->err = ERR_AGAIN;
  if (!colon)
    return r->kind != FAULT_TRUNCATE;
  const char *arg = colon + 1;
  size_t arg_len = n - name_len - 1;
  if (r->kind != FAULT_FAIL && r->kind != FAULT_LOSE)
    return parse_number (arg, arg_len, &r->arg);
  for (size_t i = 0; i < COUNT_OF (errs); i++)
    if (is_word (arg, arg_len, errs[i].name)) {
      r->err = errs[i].err;
      return true;
    }
  return false;
}

/* FIRST[+COUNT] */
static bool
parse_which (const char *s, size_t n, struct fault_rule *r)
{
  const char *plus = memchr (s, '+', n);
  uint64_t first, count = 1;
  if (!parse_number (s, plus ? (size_t) (plus - s) : n, &first) || first == 0 || first > UINT32_MAX)
    return false;
  if (plus && !parse_number (plus + 1, n - (size_t) (plus - s) - 1, &count))
    return false;
  r->first = (unsigned) first;
  r->count = (unsigned) count;
  return count <= UINT32_MAX;
}

static bool
parse_rule (const char *s, size_t n, struct fault_rule *r)
{
  *r = (struct fault_rule){ .first = 1, .count = 1, .op = FAULT_OP_ANY };
  const char *eq = memchr (s, '=', n);
  if (!eq || !parse_fault (eq + 1, n - (size_t) (eq - s) - 1, r))
    return false;
  n = (size_t) (eq - s);
  const char *at = memchr (s, '@', n);
  if (at && !parse_which (at + 1, n - (size_t) (at - s) - 1, r))
    return false;
  n = at ? (size_t) (at - s) : n;
  const char *colon = memchr (s, ':', n);
  size_t op_len = colon ? (size_t) (colon - s) : n;
  if (colon) {
    const char *key = colon + 1;
    size_t key_len = n - op_len - 1;
    if (key_len && key[0] == '^') {
      r->is_prefix = true;
      key++;
      key_len--;
    }
    if (key_len >= sizeof r->key)
      return false;
    memcpy (r->key, key, key_len);
  }
  for (size_t i = 0; i < COUNT_OF (op_names); i++)
    if (is_word (s, op_len, op_names[i])) {
      r->op = (enum fault_op) i;
      return true;
    }
  return false;
}

int
fault_rules_parse (const char *spec, struct fault_rule *out, size_t cap)
{
  size_t n = 0;
  while (*spec) {
    size_t len = strcspn (spec, ";");
    if (len) {
      if (n == cap || !parse_rule (spec, len, &out[n]))
        return ERR_INVALID;
      n++;
    }
    spec += len + (spec[len] == ';');
  }
  return (int) n;
}

static bool
is_match (const struct fault_rule *r, enum fault_op op, const char *key)
{
  if (r->op != FAULT_OP_ANY && r->op != op)
    return false;
  if (r->is_prefix)
    return strncmp (key, r->key, strlen (r->key)) == 0;
  return strstr (key, r->key) != NULL;
}

const struct fault_rule *
fault_rules_match (struct fault_rule *rules, size_t n, enum fault_op op, const char *key)
{
  const struct fault_rule *found = NULL;
  for (size_t i = 0; i < n; i++) {
    struct fault_rule *r = &rules[i];
    if (!is_match (r, op, key))
      continue;
    unsigned at = ++r->seen, first = r->first ? r->first : 1;
    if (!found && at >= first && (r->count == 0 || at - first < r->count))
      found = r;
  }
  return found;
}
