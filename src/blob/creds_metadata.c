/* SPDX-License-Identifier: Apache-2.0 */
/* Credentials of the container's endpoint and of the instance's metadata service. */
#define LOG_MODULE "creds"
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "blob/creds_priv.h"
#include "blob/http.h"

#define ANSWER_MAX (16u << 10)
#define IMDS_DEFAULT "http://169.254.169.254"
#define ECS_HOST "http://169.254.170.2"
#define TOKEN_PATH "/latest/api/token"
#define ROLE_PATH "/latest/meta-data/iam/security-credentials/"

static bool
take_text (json_t *o, const char *name, char *out, size_t cap)
{
  json_t *v = json_object_get (o, name);
  const char *s = json_is_string (v) ? json_string_value (v) : "";
  size_t n = strlen (s);
  if (n >= cap)
    return false;
  memcpy (out, s, n + 1);
  return n > 0;
}

/* "2026-11-21T12:00:00Z", fractions ignored; 0 where it is no time. */
static int64_t
parse_expiry (const char *s)
{
  struct tm tm = { 0 };
  const char *end = strptime (s, "%Y-%m-%dT%H:%M:%S", &tm);
  return end ? (int64_t) timegm (&tm) * NS_PER_S : 0;
}

int
creds_parse_json (const char *text, size_t len, struct aws_creds *out)
{
  json_t *o = json_loadb (text, len, 0, NULL);
  char when[64] = "";
  int rc = ERR_FORMAT;
  if (json_is_object (o) && take_text (o, "AccessKeyId", out->access_key, sizeof out->access_key)
      && take_text (o, "SecretAccessKey", out->secret_key, sizeof out->secret_key)) {
    if (!take_text (o, "Token", out->token, sizeof out->token))
      out->token[0] = '\0';
    out->expires_at = take_text (o, "Expiration", when, sizeof when) ? parse_expiry (when) : 0;
    rc = when[0] && !out->expires_at ? ERR_FORMAT : 0;
  }
  json_decref (o);
  return rc;
}

/* An answer of status 200 in OUT; ERR_MISSING for any other. */
static int
ask (struct http *h, const char *method, const char *url, const char *header, struct buf *out)
{
  const char *headers[] = { header };
  struct http_request q = { .method = method, .url = url, .headers = headers,
                            .header_count = header ? 1 : 0, .sink = out };
  if (strcmp (method, "PUT") == 0)
    q.body = ""; /* with a length of 0 */
  struct http_response r;
  int rc = http_perform (h, &q, &r);
  if (rc == 0 && r.status != 200)
    rc = ERR_MISSING;
  http_response_release (&r);
  return rc;
}

static int
parse_answer (const char *what, struct buf *b, struct aws_creds *out)
{
  int rc = creds_parse_json ((const char *) b->data, b->len, out);
  if (rc != 0)
    log_err ("the credentials service gave an answer that cannot be read service=%s", what);
  return rc == 0 ? 0 : ERR_AGAIN;
}

int
creds_from_imds (struct http *h, struct aws_creds *out)
{
  const char *base = getenv ("AWS_EC2_METADATA_SERVICE_ENDPOINT");
  char url[512], header[256];
  struct buf token, role, answer;
  buf_init (&token, 200);
  buf_init (&role, 200);
  buf_init (&answer, ANSWER_MAX);
  if (!base || !*base)
    base = IMDS_DEFAULT;
  int base_len = (int) strlen (base);
  if (base_len && base[base_len - 1] == '/')
    base_len--;
  snprintf (url, sizeof url, "%.*s" TOKEN_PATH, base_len, base);
  int rc = ask (h, "PUT", url, "X-aws-ec2-metadata-token-ttl-seconds: 300", &token);
  snprintf (header, sizeof header, "X-aws-ec2-metadata-token: %.*s", (int) token.len,
            token.len ? (char *) token.data : "");
  if (rc == 0) {
    snprintf (url, sizeof url, "%.*s" ROLE_PATH, base_len, base);
    rc = ask (h, "GET", url, header, &role);
  }
  if (rc == 0) {
    size_t n = 0;
    while (n < role.len && role.data[n] > ' ' && role.data[n] < 0x7f && role.data[n] != '/')
      n++;
    snprintf (url, sizeof url, "%.*s" ROLE_PATH "%.*s", base_len, base, (int) n,
              (char *) role.data);
    rc = n ? ask (h, "GET", url, header, &answer) : ERR_MISSING;
  }
  if (rc == 0)
    rc = parse_answer ("instance metadata", &answer, out);
  explicit_bzero (header, sizeof header);
  buf_wipe_release (&token);
  buf_release (&role);
  buf_wipe_release (&answer);
  return rc;
}

bool
creds_has_container (void)
{
  const char *rel = getenv ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
  const char *full = getenv ("AWS_CONTAINER_CREDENTIALS_FULL_URI");
  return (rel && *rel) || (full && *full);
}

/* A token over plain http goes to no host that is further away than this machine. */
static bool
is_allowed (const char *url)
{
  static const char *const near[] = { "http://127.0.0.1", "http://localhost", "http://[::1]",
                                      ECS_HOST, "http://169.254.170.23", "http://[fd00:ec2::23]" };
  if (strncmp (url, "https://", 8) == 0)
    return true;
  for (size_t i = 0; i < sizeof near / sizeof near[0]; i++) {
    size_t n = strlen (near[i]);
    if (strncmp (url, near[i], n) == 0 && (url[n] == '/' || url[n] == ':' || !url[n]))
      return !strchr (url + 7, '@');
  }
  return false;
}

/* The Authorization header, or "" where none is asked for; false: the file cannot be read. */
static bool
container_token (char *out, size_t cap)
{
  const char *path = getenv ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
  const char *value = getenv ("AWS_CONTAINER_AUTHORIZATION_TOKEN");
  char text[CREDS_TOKEN_MAX] = "";
  if (path && *path) {
    FILE *f = fopen (path, "re");
    if (!f)
      return false;
    size_t n = fread (text, 1, sizeof text - 1, f);
    fclose (f);
    text[n] = '\0';
    text[strcspn (text, "\r\n")] = '\0';
    value = text;
  }
  out[0] = '\0';
  if (value && *value)
    snprintf (out, cap, "Authorization: %s", value);
  explicit_bzero (text, sizeof text);
  return true;
}

int
creds_from_container (struct http *h, struct aws_creds *out)
{
  const char *rel = getenv ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
  const char *full = getenv ("AWS_CONTAINER_CREDENTIALS_FULL_URI");
  char url[1024], header[CREDS_TOKEN_MAX + 32];
  if (rel && *rel)
    snprintf (url, sizeof url, "%s%s", ECS_HOST, rel);
  else
    snprintf (url, sizeof url, "%s", full);
  if (!is_allowed (url)) {
    log_err ("AWS_CONTAINER_CREDENTIALS_FULL_URI must be https, or http to this host");
    return ERR_DENIED;
  }
  if (!container_token (header, sizeof header)) {
    log_err ("cannot read AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
    return ERR_DENIED;
  }
  struct buf answer;
  buf_init (&answer, ANSWER_MAX);
  int rc = ask (h, "GET", url, header[0] ? header : NULL, &answer);
  explicit_bzero (header, sizeof header);
  if (rc == 0)
    rc = parse_answer ("container", &answer, out);
  else
    log_err ("the container's credentials endpoint gave none err=\"%s\"", err_str (rc));
  buf_wipe_release (&answer);
  return rc == ERR_MISSING ? ERR_DENIED : rc;
}
