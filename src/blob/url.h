/* SPDX-License-Identifier: Apache-2.0 */
/* url - opens the store that a URL names, with its throttle, breaker and retry around it.
 *
 *   file:///srv/coffer
 *   s3://BUCKET/PREFIX?endpoint=https://host:port&path-style=1&region=us-east-1
 *     &ca-file=/etc/my-ca.pem   (all on one line)
 *       endpoint    without it AWS's own of the region
 *       path-style  1: bucket in the path (the default with an endpoint), 0: in the host name
 *       region      AWS_REGION, AWS_DEFAULT_REGION, the profile's, or us-east-1
 *       ca-file     PEM bundle to trust instead of the system's
 *       profile     of AWS's shared configuration and credentials files
 *       imds        1: ask the instance's metadata service, 0: never; else when nothing else is
 *                   found
 *       if-none-match     0: the store does not know If-None-Match: * (no BLOB_CAP_IF_ABSENT)
 *       unsigned-payload  1: do not sign bodies (https only)
 *   memory:            in memory, private to this blob (tests)
 *   fault+URL&rules=...   the same store behind blob/fault.h; the rules of blob/fault_rules.h are
 *       percent-encoded, or taken from COFFER_FAULTS where the URL has none.  Tests only.
 *
 * The stack is retry (breaker (throttle (backend))); fault stands just outside the backend. */
#ifndef COFFER_BLOB_URL_H
#define COFFER_BLOB_URL_H

#include "blob/blob.h"
#include "blob/retry.h"
#include "blob/throttle.h"

struct blob_open_opts {
  bool create;                  /* file: make the directory where it is not there */
  enum retry_preset retry;
  struct throttle_set up, down; /* borrowed, outlive the blob; may be empty */
  const char *profile;          /* credentials; NULL: the URL's, AWS_PROFILE, "default" */
  int connect_timeout_ms;       /* 0: 10 s */
  int stall_timeout_ms;         /* no byte moves for so long: ERR_AGAIN; 0: 30 s */
};

/* OPTS may be NULL.  ERR_INVALID: the URL is wrong (logged, says where).  An unreachable or
 * refusing store is not noticed here but at the first call, except a missing directory. */
int blob_open_url (const char *url, const struct blob_open_opts *opts,
                   struct blob **out) WARN_UNUSED;

/* URL without what must not be shown (rules, user information) for messages; OUT has CAP bytes. */
void blob_url_redact (const char *url, char *out, size_t cap);

/* The parts of a URL, percent-decoded.  For the backends' openers and for tests. */
#define URL_PARAM_MAX 16
struct url {
  char *text;   /* owns what follows */
  bool has_fault;
  const char *scheme, *host, *path; /* path without its first '/' for s3, with it for file */
  struct url_param { const char *name, *value; } params[URL_PARAM_MAX];
  size_t param_count;
};
int url_parse (const char *text, struct url *out) WARN_UNUSED;
void url_release (struct url *u);
const char *url_param (const struct url *u, const char *name); /* NULL where absent */

#endif
