/* SPDX-License-Identifier: Apache-2.0 */
#include "places.h"

#include <ctype.h>
#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"

/* The home of who runs this; a service may have no HOME. */
static const char *
home (void)
{
  const char *h = getenv ("HOME");
  if (h && *h == '/')
    return h;
  struct passwd *pw = getpwuid (geteuid ());
  return pw && pw->pw_dir && *pw->pw_dir == '/' ? pw->pw_dir : NULL;
}

static int
place (const char *variable, const char *below_home, char *out, size_t cap)
{
  const char *x = getenv (variable), *h = home ();
  if (x && *x == '/')
    snprintf (out, cap, "%s/coffer", x);
  else if (h)
    snprintf (out, cap, "%s/%s/coffer", h, below_home);
  else
    return ERR_NOENT;
  return 0;
}

int
places_config (char *out, size_t cap)
{
  return place ("XDG_CONFIG_HOME", ".config", out, cap);
}

int
places_state (char *out, size_t cap)
{
  if (geteuid () != 0)
    return place ("XDG_STATE_HOME", ".local/state", out, cap);
  snprintf (out, cap, "/var/lib/coffer");
  return 0;
}

int
places_cache (char *out, size_t cap)
{
  if (geteuid () != 0)
    return place ("XDG_CACHE_HOME", ".cache", out, cap);
  snprintf (out, cap, "/var/cache/coffer");
  return 0;
}

uint64_t
places_hash (const char *text, uint64_t seed)
{
  uint64_t h = seed ? seed : 0xcbf29ce484222325u;
  for (; *text; text++)
    h = (h ^ (uint8_t) *text) * 0x100000001b3u;
  return (h ^ '\n') * 0x100000001b3u;
}

void
places_word (const char *url, char *out, size_t cap)
{
  const char *p = strstr (url, "://");
  p = p ? p + 3 : url;
  size_t n = 0;
  for (; *p && *p != '?' && n + 1 < cap; p++)
    if (isalnum ((unsigned char) *p) || *p == '.' || *p == '_')
      out[n++] = *p;
    else if (n && out[n - 1] != '-')
      out[n++] = '-';
  while (n && out[n - 1] == '-')
    n--;
  if (n == 0)
    out[n++] = '0';
  out[n] = 0;
}

int
places_make (const char *dir)
{
  AUTO_STR copy = strdup (dir);
  if (!copy)
    return ERR_NOMEM;
  for (char *p = copy + 1;; p++) {
    if (*p && *p != '/')
      continue;
    char c = *p;
    *p = 0;
    if (mkdir (copy, 0700) < 0 && errno != EEXIST)
      return err_from_errno (errno);
    *p = c;
    if (!c)
      return 0;
  }
}
