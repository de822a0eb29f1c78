/* SPDX-License-Identifier: Apache-2.0 */
#include "base/text.h"

#include <stdio.h>
#include <string.h>

int
text_utf8_length (const char *text)
{
  const unsigned char *s = (const unsigned char *) text;
  int n = s[0] < 0x80 ? 1 : s[0] >= 0xc2 && s[0] < 0xe0 ? 2 : (s[0] & 0xf0) == 0xe0 ? 3 : 4;
  if (n == 4 && (s[0] < 0xf0 || s[0] > 0xf4))
    return 0;
  for (int i = 1; i < n; i++)
    if ((s[i] & 0xc0) != 0x80)
      return 0;
  if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] >= 0xa0)
      || (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] >= 0x90))
    return 0;
  return n;
}

bool
text_is_utf8 (const char *s)
{
  while (*s) {
    int n = text_utf8_length (s);
    if (n == 0)
      return false;
    s += n;
  }
  return true;
}

/* The length of the character at S, 0 if it may not be shown as it is: C0, DEL, and C1, which is
 * ESC [ in one character for many a terminal. */
static int
shown_length (const char *s)
{
  unsigned char c = (unsigned char) s[0];
  int n = text_utf8_length (s);
  bool is_control = c < 0x20 || c == 0x7f || (c == 0xc2 && (unsigned char) s[1] < 0xa0);
  return is_control ? 0 : n;
}

const char *
text_show (const char *s, char *out, size_t cap)
{
  size_t len = 0;
  while (*s) {
    char hex[5];
    const char *from = s;
    int n = shown_length (s);
    s += n ? n : 1;
    if (n == 0) {
      if (*from == '\n' || *from == '\t')
        snprintf (hex, sizeof hex, "\\%c", *from == '\n' ? 'n' : 't');
      else
        snprintf (hex, sizeof hex, "\\x%02x", (unsigned char) *from);
      from = hex;
      n = (int) strlen (hex);
    }
    if (len + (size_t) n >= cap)
      break;
    memcpy (out + len, from, (size_t) n);
    len += (size_t) n;
  }
  out[len] = 0;
  return out;
}

void
text_clean (char *s)
{
  for (int n; *s; s += n) {
    n = shown_length (s);
    if (n == 0) {
      *s = *s == '\n' || *s == '\r' || *s == '\t' ? ' ' : '?';
      n = 1;
    }
  }
}
