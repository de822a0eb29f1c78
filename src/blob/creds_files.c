/* SPDX-License-Identifier: Apache-2.0 */
/* Credentials of the environment and of AWS's two INI files. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "blob/creds_priv.h"

#define LINE_MAX_LEN (CREDS_TOKEN_MAX + 128)

static bool
put (char *out, size_t cap, const char *value)
{
  size_t n = value ? strlen (value) : 0;
  if (n == 0 || n >= cap)
    return false;
  memcpy (out, value, n + 1);
  return true;
}

int
creds_from_env (struct aws_creds *out)
{
  const char *token = getenv ("AWS_SESSION_TOKEN");
  if (!put (out->access_key, sizeof out->access_key, getenv ("AWS_ACCESS_KEY_ID"))
      || !put (out->secret_key, sizeof out->secret_key, getenv ("AWS_SECRET_ACCESS_KEY")))
    return ERR_MISSING;
  if (token && *token && !put (out->token, sizeof out->token, token))
    return ERR_LIMIT;
  out->expires_at = 0;
  return 0;
}

const char *
creds_profile_name (const char *profile)
{
  const char *env = getenv ("AWS_PROFILE");
  return profile && *profile ? profile : env && *env ? env : "default";
}

static bool
file_path (const char *var, const char *tail, char *out, size_t cap)
{
  const char *given = getenv (var), *home = getenv ("HOME");
  if (given && *given)
    return (size_t) snprintf (out, cap, "%s", given) < cap;
  return home && (size_t) snprintf (out, cap, "%s/.aws/%s", home, tail) < cap;
}

static char *
trim (char *s)
{
  while (*s == ' ' || *s == '\t')
    s++;
  size_t n = strlen (s);
  while (n && strchr (" \t\r\n", s[n - 1]))
    s[--n] = '\0';
  return s;
}

/* "[NAME]", or "[profile NAME]" in the configuration file. */
static bool
is_section (char *line, const char *name, bool is_config)
{
  size_t n = strlen (line);
  if (n < 3 || line[n - 1] != ']')
    return false;
  line[n - 1] = '\0';
  char *s = trim (line + 1);
  if (is_config && strncmp (s, "profile", 7) == 0 && (s[7] == ' ' || s[7] == '\t'))
    s = trim (s + 7);
  else if (is_config && strcmp (name, "default") != 0)
    return false;
  return strcmp (s, name) == 0;
}

/* The value of KEY in section NAME of the file at PATH. */
static bool
find_value (const char *path, const char *name, bool is_config, const char *key, char *out,
            size_t cap)
{
  FILE *f = fopen (path, "re");
  if (!f)
    return false;
  char line[LINE_MAX_LEN];
  bool is_inside = false, found = false;
  while (!found && fgets (line, sizeof line, f)) {
    bool is_nested = line[0] == ' ' || line[0] == '\t'; /* settings of a sub-section: not ours */
    char *s = trim (line);
    if (*s == '#' || *s == ';' || !*s)
      continue;
    if (*s == '[') {
      is_inside = is_section (s, name, is_config);
      continue;
    }
    char *eq = strchr (s, '=');
    if (!is_inside || is_nested || !eq)
      continue;
    *eq = '\0';
    if (strcmp (trim (s), key) == 0)
      found = put (out, cap, trim (eq + 1));
  }
  explicit_bzero (line, sizeof line);
  fclose (f);
  return found;
}

bool
creds_file_value (const char *profile, const char *name, char *out, size_t cap)
{
  const char *section = creds_profile_name (profile);
  char path[1024];
  if (file_path ("AWS_SHARED_CREDENTIALS_FILE", "credentials", path, sizeof path)
      && find_value (path, section, false, name, out, cap))
    return true;
  return file_path ("AWS_CONFIG_FILE", "config", path, sizeof path)
         && find_value (path, section, true, name, out, cap);
}

int
creds_from_files (const char *profile, struct aws_creds *out)
{
  if (!creds_file_value (profile, "aws_access_key_id", out->access_key, sizeof out->access_key)
      || !creds_file_value (profile, "aws_secret_access_key", out->secret_key,
                            sizeof out->secret_key))
    return ERR_MISSING;
  if (!creds_file_value (profile, "aws_session_token", out->token, sizeof out->token))
    out->token[0] = '\0';
  out->expires_at = 0;
  return 0;
}
