/* SPDX-License-Identifier: Apache-2.0 */
/* The text of a key file and of a paper key. */
#include <string.h>

#include "format/config_objects.h"

static const char prefix[] = "coffer-key-v1 ";
static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

#define PREFIX_CHARS (sizeof prefix - 1)
#define FILE_CHECK 4
#define PAPER_CHECK 3
#define PAPER_CHARS 56 /* 35 bytes of 8 bits are 56 digits of 5 */
#define LINE_CHARS (PREFIX_CHARS + 64 + 1 + 2 * FILE_CHECK)

void
key_file_encode (const uint8_t secret[32], const uint8_t sha256[32], struct buf *out)
{
  char hex[65], check[2 * FILE_CHECK + 1];
  hex_encode (secret, 32, hex);
  hex_encode (sha256, FILE_CHECK, check);
  buf_printf (out, "%s%s %s\n", prefix, hex, check);
  explicit_bzero (hex, sizeof hex);
}

void
paper_key_encode (const uint8_t secret[32], const uint8_t sha256[32], char out[80])
{
  uint8_t raw[32 + PAPER_CHECK];
  memcpy (raw, secret, 32);
  memcpy (raw + 32, sha256, PAPER_CHECK);
  char *at = out;
  for (int i = 0; i < PAPER_CHARS; i++) {
    int bit = i * 5;
    unsigned next = bit / 8 + 1 < (int) sizeof raw ? raw[bit / 8 + 1] : 0;
    unsigned two = (unsigned) raw[bit / 8] << 8 | next;
    if (i && i % 4 == 0)
      *at++ = '-';
    *at++ = alphabet[two >> (11 - bit % 8) & 31];
  }
  *at = 0;
  explicit_bzero (raw, sizeof raw);
}

/* The value of a digit as people type it, -1 for none. */
static int
paper_digit (char c)
{
  if (c == '0')
    c = 'O';
  else if (c == '1')
    c = 'I';
  else if (c == '8')
    c = 'B';
  else if (c >= 'a' && c <= 'z')
    c = (char) (c - 'a' + 'A');
  const char *at = c ? strchr (alphabet, c) : NULL;
  return at ? (int) (at - alphabet) : -1;
}

struct key_parser {
  uint8_t raw[32 + FILE_CHECK];
  int digits;    /* of a paper key so far */
  bool has_line; /* a line of a key file was found */
  bool is_bad;
};

static void
paper_add (struct key_parser *k, const char *line, size_t n)
{
  for (size_t i = 0; i < n && !k->is_bad; i++) {
    if (line[i] == ' ' || line[i] == '-' || line[i] == '\t')
      continue;
    int v = paper_digit (line[i]);
    if (v < 0 || k->digits == PAPER_CHARS) {
      k->is_bad = true;
      return;
    }
    for (int b = 0; b < 5; b++) {
      int bit = k->digits * 5 + b;
      if (v >> (4 - b) & 1)
        k->raw[bit / 8] |= (uint8_t) (0x80 >> bit % 8);
    }
    k->digits++;
  }
}

static void
line_add (struct key_parser *k, const char *line, size_t n)
{
  while (n && (line[n - 1] == '\r' || line[n - 1] == ' ' || line[n - 1] == '\t'))
    n--;
  if (n == 0 || line[0] == '#')
    return;
  if (n < PREFIX_CHARS || memcmp (line, prefix, PREFIX_CHARS) != 0) {
    paper_add (k, line, n);
    return;
  }
  char hex[65], check[2 * FILE_CHECK + 1];
  if (k->has_line || n != LINE_CHARS || line[PREFIX_CHARS + 64] != ' ') {
    k->is_bad = true;
    return;
  }
  memcpy (hex, line + PREFIX_CHARS, 64);
  hex[64] = 0;
  memcpy (check, line + PREFIX_CHARS + 65, 2 * FILE_CHECK);
  check[2 * FILE_CHECK] = 0;
  k->has_line = true;
  if (!hex_decode (hex, 32, k->raw) || !hex_decode (check, FILE_CHECK, k->raw + 32))
    k->is_bad = true;
  explicit_bzero (hex, sizeof hex);
}

int
key_file_decode (const char *text, size_t n, uint8_t secret[32], uint8_t check[4], int *check_len)
{
  struct key_parser k = { 0 };
  for (size_t at = 0; at < n && !k.is_bad;) {
    const char *nl = memchr (text + at, '\n', n - at);
    size_t len = nl ? (size_t) (nl - text) - at : n - at;
    line_add (&k, text + at, len);
    at += len + 1;
  }
  bool is_file = k.has_line && k.digits == 0, is_paper = !k.has_line && k.digits == PAPER_CHARS;
  int rc = !k.is_bad && (is_file || is_paper) ? 0 : ERR_FORMAT;
  if (rc == 0) {
    memcpy (secret, k.raw, 32);
    *check_len = is_file ? FILE_CHECK : PAPER_CHECK;
    memcpy (check, k.raw + 32, (size_t) *check_len);
  }
  explicit_bzero (&k, sizeof k);
  return rc;
}
