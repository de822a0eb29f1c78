/* SPDX-License-Identifier: Apache-2.0 */
/* The signer against the published vectors, and against the examples of the S3 manual. */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/buf.h"
#include "blob/sigv4.h"

#define EMPTY_HASH "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

static char *
slurp (const char *dir, const char *name)
{
  char path[1024];
  snprintf (path, sizeof path, "%s/%s", dir, name);
  FILE *f = fopen (path, "r");
  assert_non_null (f);
  char *s = calloc (1, 1 << 16);
  size_t n = fread (s, 1, (1 << 16) - 1, f);
  assert_true (n > 0);
  fclose (f);
  return s;
}

struct vector {
  char *raw, *method, *path, *body;
  struct sigv4_pair query[8], headers[16];
  size_t query_count, header_count;
  char date[SIGV4_DATE_LEN + 1], hash[65], body_len[16];
};

static int
unhex (char c)
{
  return c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
}

static void
unescape (char *s)
{
  char *o = s;
  for (; *s; s++)
    if (*s == '%') {
      *o++ = (char) (unhex (s[1]) * 16 + unhex (s[2]));
      s += 2;
    } else
      *o++ = *s;
  *o = '\0';
}

static void
parse_query (struct vector *v, char *q)
{
  for (char *save, *p = strtok_r (q, "&", &save); p; p = strtok_r (NULL, "&", &save)) {
    char *eq = strchr (p, '=');
    if (eq)
      *eq++ = '\0';
    unescape (p);
    if (eq)
      unescape (eq);
    v->query[v->query_count++] = (struct sigv4_pair){ p, eq ? eq : "" };
  }
}

static void
parse_request (struct vector *v, const char *dir)
{
  v->raw = slurp (dir, "request.txt");
  char *body = strstr (v->raw, "\n\n");
  v->body = body ? body + 2 : v->raw + strlen (v->raw);
  if (body)
    body[0] = '\0';
  char *line_end = strchr (v->raw, '\n');
  *line_end = '\0';
  char *target = strchr (v->raw, ' ');
  *target++ = '\0';
  *strrchr (target, ' ') = '\0';
  v->method = v->raw;
  v->path = target;
  char *q = strchr (target, '?');
  if (q) {
    *q++ = '\0';
    parse_query (v, q);
  }
  for (char *p = line_end + 1; *p;) {
    char *end = strchr (p, '\n');
    while (end && end[1] == ' ') /* a folded line belongs to the value */
      end = strchr (end + 1, '\n');
    if (end)
      *end = '\0';
    char *colon = strchr (p, ':');
    *colon = '\0';
    v->headers[v->header_count++] = (struct sigv4_pair){ p, colon + 1 };
    p = end ? end + 1 : p + strlen (p) + 1 + strlen (colon + 1);
  }
}

static const char *
text_of (json_t *o, const char *name)
{
  json_t *x = json_object_get (o, name);
  assert_true (json_is_string (x));
  return json_string_value (x);
}

static void
check_vector (const char *dir)
{
  char path[2100];
  snprintf (path, sizeof path, "%s/context.json", dir);
  json_t *c = json_load_file (path, 0, NULL);
  assert_non_null (c);
  struct vector v = { 0 };
  parse_request (&v, dir);
  json_t *creds = json_object_get (c, "credentials");
  /* 2015-08-30T12:36:00Z without its dashes and colons */
  const char *stamp = text_of (c, "timestamp");
  size_t n = 0;
  for (const char *p = stamp; *p; p++)
    if (*p != '-' && *p != ':')
      v.date[n++] = *p;
  assert_int_equal (n, SIGV4_DATE_LEN);
  v.headers[v.header_count++] = (struct sigv4_pair){ "X-Amz-Date", v.date };
  if (json_object_get (creds, "token") && !json_is_true (json_object_get (c, "omit_session_token")))
    v.headers[v.header_count++] = (struct sigv4_pair){ "X-Amz-Security-Token",
                                                       text_of (creds, "token") };
  uint8_t hash[32];
  assert_int_equal (sigv4_sha256 (v.body, strlen (v.body), hash), 0);
  hex_encode (hash, 32, v.hash);
  if (json_is_true (json_object_get (c, "sign_body")))
    v.headers[v.header_count++] = (struct sigv4_pair){ "x-amz-content-sha256", v.hash };
  struct sigv4_request r = { .method = v.method, .path = v.path, .query = v.query,
                             .query_count = v.query_count, .headers = v.headers,
                             .header_count = v.header_count, .payload_hash = v.hash,
                             .normalize = json_is_true (json_object_get (c, "normalize")) };
  struct sigv4_scope s = { .access_key = text_of (creds, "access_key_id"),
                           .secret_key = text_of (creds, "secret_access_key"),
                           .region = text_of (c, "region"), .service = text_of (c, "service"),
                           .date = v.date };
  AUTO_BUF canonical;
  AUTO_BUF to_sign;
  AUTO_BUF auth;
  buf_init (&canonical, 1 << 16);
  buf_init (&to_sign, 1 << 16);
  buf_init (&auth, 1 << 16);
  assert_int_equal (sigv4_canonical_request (&r, &canonical), 0);
  buf_put_u8 (&canonical, 0);
  char *want = slurp (dir, "header-canonical-request.txt");
  if (strcmp (want, (char *) canonical.data) != 0)
    print_message ("%s\n", dir);
  assert_string_equal (want, (char *) canonical.data);
  free (want);
  canonical.len--;
  assert_int_equal (sigv4_string_to_sign (&s, &canonical, &to_sign), 0);
  buf_put_u8 (&to_sign, 0);
  want = slurp (dir, "header-string-to-sign.txt");
  assert_string_equal (want, (char *) to_sign.data);
  free (want);
  assert_int_equal (sigv4_authorize (&s, &r, &auth), 0);
  want = slurp (dir, "header-signed-request.txt");
  assert_non_null (strstr (want, (char *) auth.data));
  free (want);
  want = slurp (dir, "header-signature.txt");
  assert_non_null (strstr ((char *) auth.data, want));
  free (want);
  free (v.raw);
  json_decref (c);
}

/* Every published case, so that no server can disagree with us about a signature. */
static void
test_vectors (void **state)
{
  char root[1024];
  const char *src = getenv ("srcdir");
  snprintf (root, sizeof root, "%s/tests/data/signing-vectors/v4", src ? src : ".");
  DIR *d = opendir (root);
  assert_non_null (d);
  int n = 0;
  for (struct dirent *e; (e = readdir (d));) {
    if (e->d_name[0] == '.')
      continue;
    char dir[2048];
    snprintf (dir, sizeof dir, "%s/%s", root, e->d_name);
    check_vector (dir);
    n++;
  }
  closedir (d);
  assert_int_equal (n, 38);
}

struct example {
  struct sigv4_request r;
  const char *signature;
};

#define HOST { "Host", "examplebucket.s3.amazonaws.com" }
#define DATE { "x-amz-date", "20130524T000000Z" }

/* The worked examples of the S3 manual: GET with a range, PUT, subresource, list. */
static void
test_s3_examples (void **state)
{
  static const struct sigv4_pair get_headers[]
      = { HOST, { "Range", "bytes=0-9" }, { "x-amz-content-sha256", EMPTY_HASH }, DATE };
  static const char put_hash[] = "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072";
  static const struct sigv4_pair put_headers[]
      = { { "Date", "Fri, 24 May 2013 00:00:00 GMT" }, HOST, DATE,
          { "x-amz-storage-class", "REDUCED_REDUNDANCY" }, { "x-amz-content-sha256", put_hash } };
  static const struct sigv4_pair plain_headers[] = { HOST, DATE,
                                                     { "x-amz-content-sha256", EMPTY_HASH } };
  static const struct sigv4_pair lifecycle[] = { { "lifecycle", "" } };
  static const struct sigv4_pair list[] = { { "prefix", "J" }, { "max-keys", "2" } };
  const struct example examples[] = {
    { { .method = "GET", .path = "/test.txt", .headers = get_headers, .header_count = 4,
        .payload_hash = EMPTY_HASH },
      "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41" },
    { { .method = "PUT", .path = "/test$file.text", .headers = put_headers, .header_count = 5,
        .payload_hash = put_hash },
      "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd" },
    { { .method = "GET", .path = "/", .query = lifecycle, .query_count = 1,
        .headers = plain_headers,
        .header_count = 3, .payload_hash = EMPTY_HASH },
      "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543" },
    { { .method = "GET", .path = "/", .query = list, .query_count = 2, .headers = plain_headers,
        .header_count = 3, .payload_hash = EMPTY_HASH },
      "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7" },
  };
  struct sigv4_scope s = { .access_key = "AKIAIOSFODNN7EXAMPLE",
                           .secret_key = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
                           .region = "us-east-1", .service = "s3", .date = "20130524T000000Z" };
  for (size_t i = 0; i < 4; i++) {
    AUTO_BUF auth;
    buf_init (&auth, 1 << 16);
    assert_int_equal (sigv4_authorize (&s, &examples[i].r, &auth), 0);
    assert_non_null (strstr ((char *) auth.data, examples[i].signature));
  }
}

/* A date is sixteen characters whatever the clock says. */
static void
test_date (void **state)
{
  char out[SIGV4_DATE_LEN + 1];
  sigv4_date (1369353600LL * 1000000000, out);
  assert_string_equal (out, "20130524T000000Z");
  sigv4_date (INT64_MAX, out);
  assert_int_equal (strlen (out), SIGV4_DATE_LEN);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_vectors),
    cmocka_unit_test (test_s3_examples),
    cmocka_unit_test (test_date),
  };
  return cmocka_run_group_tests (tests, NULL, NULL);
}
