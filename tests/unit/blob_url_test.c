/* SPDX-License-Identifier: Apache-2.0 */
/* URLs of stores: what is understood, what is refused, what is shown; credentials of environment
 * and files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "blob/creds.h"
#include "blob/creds_priv.h"
#include "blob/fault.h"
#include "blob/url.h"

static void
test_parse (void **state)
{
  struct url u;
  assert_int_equal (url_parse ("s3://bucket/a/b?endpoint=https%3A%2F%2Fh:9000&path-style=1", &u),
                    0);
  assert_string_equal (u.scheme, "s3");
  assert_string_equal (u.host, "bucket");
  assert_string_equal (u.path, "a/b");
  assert_string_equal (url_param (&u, "endpoint"), "https://h:9000");
  assert_null (url_param (&u, "region"));
  url_release (&u);
  assert_int_equal (url_parse ("fault+file:///srv/my%20store?rules=put%401%2B0%3Dfail", &u), 0);
  assert_true (u.has_fault);
  assert_string_equal (u.path, "/srv/my store");
  assert_string_equal (url_param (&u, "rules"), "put@1+0=fail");
  url_release (&u);
  assert_int_equal (url_parse ("file://localhost/srv", &u), 0);
  assert_string_equal (u.path, "/srv");
  url_release (&u);
  static const char *const bad[] = { "", "/srv", "file://srv", "s3://", "s3:///x", "s3://b?x",
                                     "s3://b?=1", "s3://b?a=1&a=2",
                                     "s3://b/%zz", "s3://b/%00", "file:///a#b", "s3://b/%4" };
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
    assert_int_equal (url_parse (bad[i], &u), ERR_INVALID);
}

/* A wrong URL fails at once with a sentence: not at 3 a.m. */
static void
test_refused (void **state)
{
  static const char *const bad[] = {
    "ftp://x/y", "file:///tmp?colour=red", "s3://b/x?endpoint=h:9000", "s3://b/x?endpoint=ftp://h",
    "s3://b/x?path-style=yes", "s3://b/../x", "s3://b/x?unsigned-payload=1&endpoint=http://h",
    "s3://b/x?region=a/b", "s3://b%2Fc/x", "s3://b/x?endpoint=http://user@h", "s3://b/x?reigon=eu",
    "fault+memory:?rules=nonsense", "s3://b/x?imds=2",
  };
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    struct blob *b = NULL;
    print_message ("%s\n", bad[i]);
    assert_int_equal (blob_open_url (bad[i], NULL, &b), ERR_INVALID);
    assert_null (b);
  }
  struct blob *b = NULL;
  assert_int_equal (blob_open_url ("file:///nonexistent/store", NULL, &b), ERR_MISSING);
}

static void
test_redact (void **state)
{
  char out[64];
  blob_url_redact ("s3://key:secret@b/x?endpoint=h", out, sizeof out);
  assert_string_equal (out, "s3://***@b/x");
  blob_url_redact ("file:///srv/a@b", out, sizeof out);
  assert_null (strstr (out, "secret"));
  blob_url_redact ("s3://b/x?rules=1", out, sizeof out);
  assert_string_equal (out, "s3://b/x");
}

/* Rules come from the URL or from COFFER_FAULTS. */
static void
test_faults (void **state)
{
  struct blob *b;
  struct blob_open_opts opts = { .retry = RETRY_NONE };
  setenv ("COFFER_FAULTS", "put=fail:denied", 1);
  assert_int_equal (blob_open_url ("fault+memory:", &opts, &b), 0);
  assert_int_equal (blob_put (b, "k", "x", 1, NULL), ERR_DENIED);
  blob_free (b);
  assert_int_equal (blob_open_url ("fault+memory:?rules=put=fail:full", &opts, &b), 0);
  assert_int_equal (blob_put (b, "k", "x", 1, NULL), ERR_FULL);
  blob_free (b);
  assert_int_equal (blob_open_url ("memory:", &opts, &b), 0);
  assert_int_equal (blob_put (b, "k", "x", 1, NULL), 0);
  blob_free (b);
  unsetenv ("COFFER_FAULTS");
}

static void
write_file (const char *path, const char *text)
{
  FILE *f = fopen (path, "w");
  assert_non_null (f);
  fputs (text, f);
  fclose (f);
}

static void
clear_env (void)
{
  static const char *const vars[]
      = { "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE",
          "AWS_REGION",
          "AWS_DEFAULT_REGION", "AWS_CONTAINER_CREDENTIALS_FULL_URI",
          "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI" };
  for (size_t i = 0; i < sizeof vars / sizeof vars[0]; i++)
    unsetenv (vars[i]);
  setenv ("AWS_EC2_METADATA_DISABLED", "true", 1);
}

/* The order of sources, profiles of both files, and what is none. */
static void
test_creds (void **state)
{
  char dir[] = "/tmp/coffer-creds-XXXXXX", file[64], config[64];
  assert_non_null (mkdtemp (dir));
  snprintf (file, sizeof file, "%s/credentials", dir);
  snprintf (config, sizeof config, "%s/config", dir);
  clear_env ();
  setenv ("AWS_SHARED_CREDENTIALS_FILE", file, 1);
  setenv ("AWS_CONFIG_FILE", config, 1);
  struct creds *c;
  struct aws_creds got;
  assert_int_equal (creds_new (NULL, CREDS_IMDS_AUTO, &c), 0);
  assert_int_equal (creds_get (c, &got), ERR_DENIED);
  write_file (file, "# mine\n[default]\naws_access_key_id = AKD\naws_secret_access_key=SKD  \n"
                    "[other]\naws_access_key_id=AKO\naws_secret_access_key=SK=O\n"
                     "aws_session_token=TO\n");
  write_file (config, "[default]\nregion = eu-central-1\ns3 =\n  region = nested\n[profile third]\n"
                      "aws_access_key_id=AK3\naws_secret_access_key=SK3\nregion=us-west-2\n");
  assert_int_equal (creds_get (c, &got), 0);
  assert_string_equal (got.access_key, "AKD");
  assert_string_equal (got.secret_key, "SKD");
  assert_string_equal (got.token, "");
  creds_free (c);
  assert_int_equal (creds_new ("other", CREDS_IMDS_NEVER, &c), 0);
  setenv ("AWS_ACCESS_KEY_ID", "AKE", 1);
  setenv ("AWS_SECRET_ACCESS_KEY", "SKE", 1);
  /* a profile that is named comes before the environment */
  assert_int_equal (creds_get (c, &got), 0);
  assert_string_equal (got.access_key, "AKO");
  assert_string_equal (got.secret_key, "SK=O");
  assert_string_equal (got.token, "TO");
  creds_free (c);
  assert_int_equal (creds_new (NULL, CREDS_IMDS_NEVER, &c), 0);
  assert_int_equal (creds_get (c, &got), 0);
  assert_string_equal (got.access_key, "AKE");
  setenv ("AWS_ACCESS_KEY_ID", "AKE2", 1);
  assert_int_equal (creds_get (c, &got), 0);
  assert_string_equal (got.access_key, "AKE"); /* kept */
  creds_invalidate (c);
  assert_int_equal (creds_get (c, &got), 0);
  assert_string_equal (got.access_key, "AKE2");
  creds_free (c);
  clear_env ();
  setenv ("AWS_PROFILE", "third", 1);
  assert_int_equal (creds_new (NULL, CREDS_IMDS_NEVER, &c), 0);
  assert_int_equal (creds_get (c, &got), 0);
  assert_string_equal (got.access_key, "AK3");
  char region[64];
  assert_true (creds_region (NULL, region, sizeof region));
  assert_string_equal (region, "us-west-2");
  assert_true (creds_region ("default", region, sizeof region));
  assert_string_equal (region, "eu-central-1");
  setenv ("AWS_REGION", "ap-1", 1);
  assert_true (creds_region (NULL, region, sizeof region));
  assert_string_equal (region, "ap-1");
  creds_free (c);
  unlink (file);
  unlink (config);
  rmdir (dir);
  clear_env ();
}

/* JSON of the metadata services; anything else is no credentials. */
static void
test_creds_json (void **state)
{
  struct aws_creds c;
  static const char good[] = "{\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"S\",\"Token\":\"T\","
                             "\"Expiration\":\"2026-11-21T12:00:00Z\"}";
  assert_int_equal (creds_parse_json (good, strlen (good), &c), 0);
  assert_string_equal (c.token, "T");
  assert_int_equal (c.expires_at / 1000000000, 1795262400);
  static const char *const bad[] = { "", "[]", "{}", "{\"AccessKeyId\":\"A\"}",
                                     "{\"AccessKeyId\":1,\"SecretAccessKey\":\"S\"}",
                                     ("{\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"S\","
                                      "\"Expiration\":\"soon\"}") };
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
    assert_int_equal (creds_parse_json (bad[i], strlen (bad[i]), &c), ERR_FORMAT);
  for (size_t n = 0; n < sizeof good - 1; n++)
    assert_int_equal (creds_parse_json (good, n, &c), ERR_FORMAT);
}

/* A token is not sent in clear to a host further away than this one. */
static void
test_container_hosts (void **state)
{
  static const char *const bad[] = { "http://example.com/x", "http://127.0.0.1.example.com/",
                                     "http://127.0.0.1@example.com/",
                                     "ftp://127.0.0.1/" };
  clear_env ();
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    struct creds *c;
    struct aws_creds got;
    setenv ("AWS_CONTAINER_CREDENTIALS_FULL_URI", bad[i], 1);
    setenv ("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent", 1);
    setenv ("AWS_CONFIG_FILE", "/nonexistent", 1);
    assert_int_equal (creds_new (NULL, CREDS_IMDS_NEVER, &c), 0);
    assert_int_equal (creds_get (c, &got), ERR_DENIED);
    creds_free (c);
  }
  clear_env ();
}

int
main (void)
{
  log_init (LOG_TO_FILE, "/dev/null", false);
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_parse),
    cmocka_unit_test (test_refused),
    cmocka_unit_test (test_redact),
    cmocka_unit_test (test_faults),
    cmocka_unit_test (test_creds),
    cmocka_unit_test (test_creds_json),
    cmocka_unit_test (test_container_hosts),
  };
  return cmocka_run_group_tests (tests, NULL, NULL);
}
