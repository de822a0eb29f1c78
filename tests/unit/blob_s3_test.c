/* SPDX-License-Identifier: Apache-2.0 */
/* The S3 client against canned answers: it never takes what cannot be true, and mends what it
 * can. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../lib/canned.h"
#include "base/clock.h"
#include "base/log.h"
#include "blob/creds.h"
#include "blob/meter.h"
#include "blob/retry.h"
#include "blob/s3_priv.h"
#include "blob/url.h"

#define DATE "Date: Sat, 21 Nov 2026 10:00:00 GMT\r\n"
#define OK_EMPTY { .bytes = "HTTP/1.1 200 OK\r\n" DATE "Content-Length: 0\r\n\r\n" }
#define ERROR(status, code)                                                                      \
  { .bytes = "HTTP/1.1 " status " x\r\n" DATE "Connection: close\r\n"                           \
             "Content-Type: application/xml\r\n\r\n"                                           \
             "<?xml version=\"1.0\"?>\n<Error><Code>" code "</Code><Message>m</Message></Error>", \
    .closes = true }
#define XML(body)                                                             \
  { .bytes = "HTTP/1.1 200 OK\r\n" DATE "Connection: close\r\n\r\n" body, .closes = true }

static struct canned server;
static struct blob *store;

static void
start_with (const struct canned_answer *answers, size_t n, const char *more,
            const struct blob_open_opts *opts)
{
  char url[256];
  canned_start (&server, answers, n);
  snprintf (url, sizeof url, "s3://bkt/pre?endpoint=http://127.0.0.1:%d&region=us-east-1%s",
            server.port, more);
  assert_int_equal (blob_open_url (url, opts, &store), 0);
  ((struct blob_s3 *) store)->is_swept = true; /* the sweep has a test of its own */
}

static void
start (const struct canned_answer *answers, size_t n)
{
  start_with (answers, n, "", &(struct blob_open_opts){ .retry = RETRY_NONE,
                                                        .stall_timeout_ms = 1000 });
}
#define START(...)                                                            \
  do {                                                                        \
    const struct canned_answer a_[] = { __VA_ARGS__ };                        \
    start (a_, sizeof a_ / sizeof a_[0]);                                     \
  } while (0)

static void
stop (size_t requests)
{
  blob_free (store);
  store = NULL;
  canned_stop (&server);
  size_t got = server.request_count;
  canned_release (&server);
  assert_int_equal (got, requests);
}

static int
set_env (void **state)
{
  setenv ("AWS_ACCESS_KEY_ID", "AKID", 1);
  setenv ("AWS_SECRET_ACCESS_KEY", "canary-secret", 1);
  unsetenv ("AWS_SESSION_TOKEN");
  unsetenv ("AWS_CA_BUNDLE");
  setenv ("AWS_EC2_METADATA_DISABLED", "true", 1);
  return 0;
}

static int
get (uint64_t off, size_t len, char *out)
{
  return blob_get (store, "k", off, len, out);
}

/* B4: a range is what was asked for or it is an error. */
static void
test_get_strict (void **state)
{
#define PART(headers, body) "HTTP/1.1 206 Partial Content\r\n" DATE headers "\r\n" body
  static const struct { struct canned_answer a; int rc; } cases[] = {
    { { .bytes = PART ("Content-Length: 4\r\nContent-Range: bytes 2-5/10\r\n", "2345") }, 0 },
    { { .bytes = PART ("Content-Length: 4\r\nContent-Range: bytes 3-6/10\r\n", "3456") },
      ERR_FORMAT },
    { { .bytes = PART ("Content-Length: 4\r\n", "2345") }, ERR_FORMAT },
    { { .bytes = PART ("Content-Length: 4\r\nContent-Range: bytes 2-9/10\r\n", "2345") },
      ERR_FORMAT },
    { { .bytes = PART ("Content-Length: 4\r\nContent-Range: pages 2-5/10\r\n", "2345") },
      ERR_FORMAT },
    { { .bytes = PART ("Content-Length: 4\r\nContent-Range: bytes 5-2/10\r\n", "2345") },
      ERR_FORMAT },
    { { .bytes = PART ("Content-Length: 4\r\nContent-Range: bytes 2-5/4\r\n", "2345") },
      ERR_FORMAT },
    { { .bytes = PART ("Content-Length: 2\r\nContent-Range: bytes 2-3/4\r\n", "23") }, ERR_LIMIT },
    { { .bytes = PART ("Content-Length: 2\r\nContent-Range: bytes 2-3/10\r\n", "23") },
      ERR_FORMAT },
    { { .bytes = PART ("Content-Length: 8\r\nContent-Range: bytes 2-9/10\r\n", "23456789") },
      ERR_FORMAT },
    { { .bytes = "HTTP/1.1 200 OK\r\n" DATE "Content-Length: 10\r\n\r\n0123456789" }, ERR_FORMAT },
    { { .bytes = "HTTP/1.1 200 OK\r\n" DATE "Content-Length: 4\r\n\r\n0123" }, ERR_FORMAT },
    { { .bytes = "HTTP/1.1 204 No Content\r\n" DATE "\r\n" }, ERR_FORMAT },
    { { .bytes = PART ("Content-Length: 4\r\nContent-Range: bytes 2-5/10\r\n", "23"),
        .closes = true }, ERR_AGAIN },
    { { .bytes = NULL }, ERR_AGAIN },
    { { .bytes = "nonsense\r\n\r\n", .closes = true }, ERR_AGAIN },
    { ERROR ("416", "InvalidRange"), ERR_LIMIT },
    { ERROR ("404", "NoSuchKey"), ERR_MISSING },
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    char out[5] = "....";
    start (&cases[i].a, 1);
    int rc = get (2, 4, out);
    print_message ("case %zu: %s\n", i, err_str (rc));
    assert_int_equal (rc, cases[i].rc);
    if (rc == 0)
      assert_string_equal (out, "2345");
    stop (1);
  }
}

/* A whole object whose length is not what was announced is no object. */
static void
test_get_all_cut (void **state)
{
  START ({ .bytes = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n01234", .closes = true },
         { .bytes = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789" },
         { .bytes = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789" });
  AUTO_BUF b;
  buf_init (&b, 15);
  assert_int_equal (blob_get_all (store, "k", &b), ERR_AGAIN);
  assert_int_equal (b.len, 0);
  assert_int_equal (blob_get_all (store, "k", &b), 0);
  assert_int_equal (b.len, 10);
  assert_int_equal (blob_get_all (store, "k", &b), ERR_LIMIT);
  stop (3);
}

/* Every answer of a store means what err.h says the caller may do. */
static void
test_errors (void **state)
{
  static const struct { struct canned_answer a; int rc; } cases[] = {
    { ERROR ("403", "AccessDenied"), ERR_DENIED },
        { ERROR ("403", "SignatureDoesNotMatch"), ERR_DENIED },
    { ERROR ("503", "SlowDown"), ERR_THROTTLED },
       { ERROR ("503", "ServiceUnavailable"), ERR_AGAIN },
    { ERROR ("500", "InternalError"), ERR_AGAIN },   { ERROR ("400", "RequestTimeout"), ERR_AGAIN },
    { ERROR ("403", "QuotaExceeded"), ERR_FULL },
       { ERROR ("507", "XMinioStorageFull"), ERR_FULL },
    { ERROR ("404", "NoSuchBucket"), ERR_MISSING },
     { ERROR ("301", "PermanentRedirect"), ERR_DENIED },
    { ERROR ("400", "AuthorizationHeaderMalformed"), ERR_DENIED },
    { ERROR ("400", "SomethingNew"), ERR_IO },
          { ERROR ("409", "OperationAborted"), ERR_AGAIN },
    { ERROR ("412", "PreconditionFailed"), ERR_EXISTS },
    { ERROR ("501", "NotImplemented"), ERR_IO },
    { { .bytes = "HTTP/1.1 503 x\r\nContent-Length: 6\r\n\r\n<html>" }, ERR_AGAIN },
    { { .bytes = "HTTP/1.1 429 x\r\nContent-Length: 0\r\n\r\n" }, ERR_THROTTLED },
    { { .bytes = "HTTP/1.1 307 x\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n" },
      ERR_DENIED },
    { ERROR ("400", "BadDigest"), ERR_AGAIN },
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    start (&cases[i].a, 1);
    int rc = blob_put (store, "k", "data", 4, NULL);
    print_message ("case %zu: %s\n", i, err_str (rc));
    assert_int_equal (rc, cases[i].rc);
    struct blob_stats s;
    blob_stats_get (store, &s);
    assert_int_equal (s.errors, rc == ERR_EXISTS || (rc == ERR_MISSING && i != 8) ? 0 : 1);
    stop (1);
  }
}

/* The store says how long to wait, and the next attempt waits so long. */
static void
test_retry_after (void **state)
{
  const struct canned_answer a[]
      = { { .bytes = "HTTP/1.1 429 x\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n" }, OK_EMPTY };
  char url[200];
  canned_start (&server, a, 2);
  snprintf (url, sizeof url, "s3://bkt?endpoint=http://127.0.0.1:%d", server.port);
  assert_int_equal (blob_open_url (url, &(struct blob_open_opts){ .retry = RETRY_AGGRESSIVE },
                                   &store), 0);
  int64_t before = clock_now ();
  const char *keys[] = { "k" };
  assert_int_equal (blob_delete (store, keys, 1), 0);
  assert_true (clock_now () - before >= NS_PER_S);
  stop (2);
}

/* A sealed body that our own memory altered is not worth sending again. */
static void
test_wrong_digest (void **state)
{
  uint8_t wrong[32] = { 1 };
  START (ERROR ("400", "XAmzContentSHA256Mismatch"));
  assert_int_equal (blob_put (store, "k", "data", 4, &(struct blob_put_opts){ .sha256 = wrong }),
                    ERR_FORMAT);
  stop (1);
}

/* What is sent: signed, with the token, conditional where asked, encoded once, and no secret in
 * it. */
static void
test_request (void **state)
{
  setenv ("AWS_SESSION_TOKEN", "TOKEN", 1);
  START (OK_EMPTY);
  assert_int_equal (blob_put (store, "a+b%/c", "data", 4,
                              &(struct blob_put_opts){ .if_absent = true }), 0);
  blob_free (store);
  store = NULL;
  canned_stop (&server);
  const char *r = server.requests[0];
  assert_non_null (strstr (r, "PUT /bkt/pre/a%2Bb%25/c HTTP/1.1\r\n"));
  assert_non_null (strstr (r, "\r\nIf-None-Match: *\r\n"));
  assert_non_null (strstr (r, "\r\nx-amz-security-token: TOKEN\r\n"));
  assert_non_null (strstr (r, "\r\nx-amz-content-sha256: "
                           "3a6eb0790f39ac87c94f3856b2dd2c5d110e6811602261a9a923d3bb23adc8b7\r\n"));
  assert_non_null (strstr (r, "SignedHeaders=host;if-none-match;x-amz-content-sha256;"
                              "x-amz-date;x-amz-security-token,"));
  assert_null (strstr (r, "Expect:"));
  assert_null (strstr (r, "canary-secret"));
  canned_release (&server);
  unsetenv ("AWS_SESSION_TOKEN");
}

/* A clock that is far off is corrected by the store's Date, once. */
static void
test_skew (void **state)
{
  START (ERROR ("403", "RequestTimeTooSkewed"), OK_EMPTY, OK_EMPTY);
  assert_int_equal (blob_put (store, "k", "x", 1, NULL), 0);
  assert_int_equal (blob_put (store, "k", "x", 1, NULL), 0);
  blob_free (store);
  store = NULL;
  canned_stop (&server);
  assert_int_equal (server.request_count, 3);
  assert_non_null (strstr (server.requests[1], "x-amz-date: 20261121T1000"));
  assert_non_null (strstr (server.requests[2], "x-amz-date: 20261121T1000"));
  canned_release (&server);
  START (ERROR ("403", "RequestTimeTooSkewed"), ERROR ("403", "RequestTimeTooSkewed"));
  assert_int_equal (blob_put (store, "k", "x", 1, NULL), ERR_DENIED);
  stop (2);
}

/* Expired credentials are looked up again, once. */
static void
test_expired (void **state)
{
  START (ERROR ("400", "ExpiredToken"), OK_EMPTY);
  assert_int_equal (creds_get (((struct blob_s3 *) store)->creds,
                               &(struct aws_creds){ .expires_at = 0 }), 0);
  setenv ("AWS_ACCESS_KEY_ID", "AKNEW", 1);
  assert_int_equal (blob_put (store, "k", "x", 1, NULL), 0);
  blob_free (store);
  store = NULL;
  canned_stop (&server);
  assert_non_null (strstr (server.requests[0], "Credential=AKID/"));
  assert_non_null (strstr (server.requests[1], "Credential=AKNEW/"));
  canned_release (&server);
  set_env (NULL);
}

#define ITEM(key)                                                             \
  "<Contents><Key>" key "</Key><LastModified>2026-11-21T10:00:00.000Z</LastModified>"             \
  "<Size>5</Size></Contents>"
#define LIST(more, items)                                                     \
  XML ("<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">" more items         \
       "</ListBucketResult>")
#define MORE(token)                                                           \
  "<IsTruncated>true</IsTruncated><NextContinuationToken>" token "</NextContinuationToken>"
#define LAST "<IsTruncated>false</IsTruncated>"

static int
join (void *ctx, const struct blob_entry *e)
{
  strcat (strcat (ctx, e->key), " ");
  return 0;
}

/* A listing is complete and in order, or an error; entities are read, "directories" passed over. */
static void
test_list (void **state)
{
  char all[200] = "";
  START (LIST (MORE ("t1"), ITEM ("pre/a&amp;b") ITEM ("pre/b/")), LIST (LAST, ITEM ("pre/c")));
  assert_int_equal (blob_list (store, "", "", false, join, all), 0);
  assert_string_equal (all, "a&b c ");
  blob_free (store);
  store = NULL;
  canned_stop (&server);
  assert_non_null (strstr (server.requests[0], "GET /bkt?list-type=2&prefix=pre%2F HTTP"));
  assert_non_null (strstr (server.requests[1], "continuation-token=t1"));
  canned_release (&server);
  all[0] = '\0';
  START (LIST (LAST, ITEM ("pre/c") "<CommonPrefixes><Prefix>pre/a/</Prefix></CommonPrefixes>"
                     ITEM ("pre/z")));
  assert_int_equal (blob_list (store, "", "", true, join, all), 0);
  assert_string_equal (all, "a/ c z ");
  stop (1);
  static const struct canned_answer bad[][2] = {
    { LIST (MORE ("t1"), ITEM ("pre/b")), LIST (LAST, ITEM ("pre/a")) },       /* backwards */
    { LIST (MORE ("t1"), ITEM ("pre/b")), LIST (LAST, ITEM ("pre/b")) },       /* twice */
    { LIST (MORE ("t1"), ITEM ("pre/b")), LIST (MORE ("t1"), ITEM ("pre/c")) }, /* stuck */
    { LIST ("<IsTruncated>true</IsTruncated>", ITEM ("pre/b")) },              /* no way on */
    { LIST (LAST, ITEM ("other/b")) },                                         /* not asked for */
    { XML ("<ListBucketResult><Contents><Key>pre/a</Key>") },                  /* cut */
    { XML ("") },
    { XML ("<!DOCTYPE x [<!ENTITY a \"b\">]><ListBucketResult></ListBucketResult>") },
    { XML ("<Other></Other>") },
    { LIST (LAST, "<Contents><Size>5</Size></Contents>") },
  };
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    all[0] = '\0';
    size_t n = bad[i][1].bytes ? 2 : 1;
    print_message ("case %zu\n", i);
    start (bad[i], n);
    assert_int_equal (blob_list (store, "", "", false, join, all), ERR_FORMAT);
    stop (n);
  }
}

/* Batches: single failures count; a store without batches is asked one by one. */
static void
test_delete (void **state)
{
  const char *keys[] = { "a", "b<&" };
  START (XML ("<DeleteResult><Error><Key>pre/a</Key><Code>AccessDenied</Code></Error>"
              "</DeleteResult>"));
  assert_int_equal (blob_delete (store, keys, 2), ERR_DENIED);
  blob_free (store);
  store = NULL;
  canned_stop (&server);
  assert_non_null (strstr (server.requests[0], "POST /bkt?delete= HTTP"));
  assert_non_null (strstr (server.requests[0], "<Key>pre/b&lt;&amp;</Key>"));
  assert_non_null (strstr (server.requests[0], "Content-MD5: "));
  canned_release (&server);
  START (XML ("<DeleteResult><Error><Key>pre/a</Key><Code>NoSuchKey</Code></Error>"
              "</DeleteResult>"));
  assert_int_equal (blob_delete (store, keys, 2), 0);
  stop (1);
  START (XML ("<DeleteResult><Error><Key>pre/a</Key><Code>InternalError</Code></Error>"
              "</DeleteResult>"));
  assert_int_equal (blob_delete (store, keys, 2), ERR_AGAIN);
  stop (1);
  START (ERROR ("501", "NotImplemented"), { .bytes = "HTTP/1.1 204 x\r\n\r\n" },
         ERROR ("404", "NoSuchKey"));
  assert_int_equal (blob_delete (store, keys, 2), 0);
  stop (3);
}

/* Silence is an error in the time that was set, with or without half an answer; a slow answer is
 * none. */
static void
test_stall (void **state)
{
  char out[4];
  START ({ .bytes = "HTTP/1.1 206 x\r\nContent-Length: 4\r\nContent-Range: bytes 0-3/4\r\n\r\n01",
           .delay_ms = 0 },
         { .bytes = "x", .delay_ms = 6000 });
  int64_t before = clock_now ();
  assert_int_equal (get (0, 4, out), ERR_AGAIN);
  assert_int_equal (get (0, 4, out), ERR_AGAIN);
  int64_t took = clock_now () - before;
  assert_true (took > 1500 * NS_PER_MS && took < 5 * NS_PER_S);
  stop (2);
}

/* A completion that fails behind a status of 200, and one whose answer was lost. */
static void
test_parts (void **state)
{
#define BEGUN                                                                 \
  XML ("<InitiateMultipartUploadResult><UploadId>u1</UploadId></InitiateMultipartUploadResult>")
#define PART_OK                                                               \
  { .bytes = "HTTP/1.1 200 OK\r\n" DATE "ETag: \"d41d8cd98f00b204e9800998ecf8427e\"\r\n"         \
             "Content-Length: 0\r\n\r\n" }
#define DONE XML ("<CompleteMultipartUploadResult><ETag>x-1</ETag></CompleteMultipartUploadResult>")
  static const uint8_t data[10] = "0123456789";
  struct blob_put_opts opts = { .if_absent = false };
  START (BEGUN, PART_OK, XML ("<Error><Code>InternalError</Code></Error>"), DONE);
  assert_int_equal (s3_put_parts ((struct blob_s3 *) store, "k", data, 10, &opts), 0);
  stop (4);
  /* md5 of the md5 of nothing, of one part */
  START (BEGUN, PART_OK, { .bytes = NULL }, ERROR ("404", "NoSuchUpload"),
         { .bytes = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\nETag: "
           "\"59adb24ef3cdbe0297f05b395827453f-1\"\r\n\r\n" });
  assert_int_equal (s3_put_parts ((struct blob_s3 *) store, "k", data, 10, &opts), 0);
  stop (5);
  START (BEGUN, PART_OK, ERROR ("404", "NoSuchUpload"), { .bytes = "HTTP/1.1 204 x\r\n\r\n" });
  assert_int_equal (s3_put_parts ((struct blob_s3 *) store, "k", data, 10, &opts), ERR_AGAIN);
  stop (4);
  START (BEGUN, ERROR ("403", "AccessDenied"), { .bytes = "HTTP/1.1 204 x\r\n\r\n" });
  assert_int_equal (s3_put_parts ((struct blob_s3 *) store, "k", data, 10, &opts), ERR_DENIED);
  blob_free (store);
  store = NULL;
  canned_stop (&server);
  /* nothing left behind */
  assert_non_null (strstr (server.requests[2], "DELETE /bkt/pre/k?uploadId=u1 HTTP"));
  canned_release (&server);
}

/* Uploads that were begun under our prefix a day ago and more go; younger ones and others' stay. */
static void
test_sweep (void **state)
{
#define UPLOAD(key, id, at)                                                   \
  "<Upload><Key>" key "</Key><UploadId>" id "</UploadId><Initiated>" at "</Initiated></Upload>"
  const struct canned_answer a[]
      = { XML ("<ListMultipartUploadsResult>" UPLOAD ("pre/old", "u1", "2026-11-19T10:00:00.000Z")
                   UPLOAD ("pre/young", "u2", "2026-11-21T09:00:00.000Z")
                       UPLOAD ("other/old", "u3",
                               "2026-11-01T09:00:00.000Z") "</ListMultipartUploadsResult>"),
          { .bytes = "HTTP/1.1 204 x\r\n\r\n" }, OK_EMPTY };
  start (a, 3);
  ((struct blob_s3 *) store)->is_swept = false;
  assert_int_equal (blob_put (store, "k", "x", 1, NULL), 0);
  blob_free (store);
  store = NULL;
  canned_stop (&server);
  assert_int_equal (server.request_count, 3);
  assert_non_null (strstr (server.requests[1], "DELETE /bkt/pre/old?uploadId=u1 "));
  canned_release (&server);
}

/* A request on a kept connection that the server has closed: sent again, and its own echo
 * recognised. */
static void
test_resent (void **state)
{
  START (OK_EMPTY, { .bytes = NULL }, ERROR ("412", "PreconditionFailed"),
         { .bytes = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndata" });
  assert_int_equal (blob_put (store, "k", "data", 4, NULL), 0);
  assert_int_equal (blob_put (store, "k", "data", 4, &(struct blob_put_opts){ .if_absent = true }),
                    0);
  stop (4);
}

/* The store's clock comes from any answer. */
static void
test_now (void **state)
{
  int64_t now;
  START (ERROR ("403", "AccessDenied"));
  assert_int_equal (blob_now (store, &now), 0);
  assert_true (now / NS_PER_S - 1795255200 >= 0 && now / NS_PER_S - 1795255200 < 5);
  assert_int_equal (blob_now (store, &now), 0);
  stop (1);
}

/* Version 2 of the metadata service: token, role, credentials; then they are used. */
static void
test_imds (void **state)
{
  const struct canned_answer a[] = {
    { .bytes = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\ntoken" },
    { .bytes = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nrole\n" },
    { .bytes = "HTTP/1.1 200 OK\r\nConnection: "
      "close\r\n\r\n{\"AccessKeyId\":\"AKI\",\"SecretAccessKey\":\"S\",\"Token\":\"T\","
      "\"Expiration\":\"2100-01-01T00:00:00Z\"}", .closes = true },
  };
  char endpoint[64];
  struct creds *c;
  struct aws_creds got;
  canned_start (&server, a, 3);
  snprintf (endpoint, sizeof endpoint, "http://127.0.0.1:%d/", server.port);
  setenv ("AWS_EC2_METADATA_SERVICE_ENDPOINT", endpoint, 1);
  unsetenv ("AWS_EC2_METADATA_DISABLED");
  assert_int_equal (creds_new (NULL, CREDS_IMDS_FIRST, &c), 0);
  assert_int_equal (creds_get (c, &got), 0);
  assert_string_equal (got.access_key, "AKI");
  assert_string_equal (got.token, "T");
  assert_int_equal (creds_get (c, &got), 0); /* no further request: not about to expire */
  creds_free (c);
  canned_stop (&server);
  assert_int_equal (server.request_count, 3);
  assert_non_null (strstr (server.requests[0], "PUT /latest/api/token "));
  assert_non_null (strstr (server.requests[0], "ttl-seconds: 300"));
  assert_non_null (strstr (server.requests[2], "/security-credentials/role "));
  assert_non_null (strstr (server.requests[2], "X-aws-ec2-metadata-token: token"));
  canned_release (&server);
  set_env (NULL);
}

/* A limit set for the region holds for what the connection carries, up and down. */
static void
test_throttled (void **state)
{
  struct throttle *t;
  assert_int_equal (throttle_new (100000, 0, &t), 0);
  size_t n = 50000;
  char *answer = malloc (n + 200), *data = calloc (1, n);
  int head = sprintf (answer, "HTTP/1.1 206 x\r\nContent-Length: %zu\r\nContent-Range: bytes "
                      "0-%zu/%zu\r\n\r\n", n,
                      n - 1, n);
  memset (answer + head, 'x', n);
  const struct canned_answer a[] = { OK_EMPTY, { .bytes = answer, .len = n + (size_t) head } };
  start_with (a, 2, "", &(struct blob_open_opts){ .retry = RETRY_NONE, .up.t[0] = t, .down.t[1] = t,
                                                 .stall_timeout_ms = 200 });
  int64_t before = clock_now ();
  assert_int_equal (blob_put (store, "k", data, n, NULL), 0);
  assert_true (clock_now () - before > 400 * NS_PER_MS && clock_now () - before < 900 * NS_PER_MS);
  before = clock_now ();
  /* slower than the stall limit, which is not reached */
  assert_int_equal (blob_get (store, "k", 0, n, data), 0);
  assert_true (clock_now () - before > 400 * NS_PER_MS && clock_now () - before < 900 * NS_PER_MS);
  /* Every byte once: the bodies, and the headers of two requests and answers. */
  assert_true (throttle_granted (t) > 2 * n + 400 && throttle_granted (t) < 2 * n + 3000);
  struct blob_stats s;
  blob_stats_get (store, &s);
  assert_int_equal (throttle_granted (t), s.bytes_up + s.bytes_down);
  stop (2);
  throttle_free (t);
  free (answer);
  free (data);
}

/* A dead endpoint is an error at once, not a wait. */
static void
test_dead (void **state)
{
  char c;
  assert_int_equal (blob_open_url ("s3://bkt?endpoint=http://127.0.0.1:1",
                                   &(struct blob_open_opts){ .retry = RETRY_NONE }, &store), 0);
  int64_t before = clock_now ();
  assert_int_equal (get (0, 1, &c), ERR_AGAIN);
  assert_true (clock_now () - before < NS_PER_S);
  struct blob_stats s;
  blob_stats_get (store, &s);
  assert_int_equal (s.last_error, ERR_AGAIN);
  assert_non_null (strstr (s.last_error_text, "127.0.0.1:1"));
  blob_free (store);
}

int
main (void)
{
  log_init (LOG_TO_FILE, "/dev/null", false);
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_get_strict), cmocka_unit_test (test_get_all_cut),
    cmocka_unit_test (test_errors),     cmocka_unit_test (test_retry_after),
    cmocka_unit_test (test_wrong_digest), cmocka_unit_test (test_request),
    cmocka_unit_test (test_skew),       cmocka_unit_test (test_expired),
    cmocka_unit_test (test_list),       cmocka_unit_test (test_delete),
    cmocka_unit_test (test_stall),      cmocka_unit_test (test_parts),
    cmocka_unit_test (test_sweep),      cmocka_unit_test (test_resent),
    cmocka_unit_test (test_now),        cmocka_unit_test (test_imds),
    cmocka_unit_test (test_throttled),  cmocka_unit_test (test_dead),
  };
  return cmocka_run_group_tests (tests, set_env, NULL);
}
