/* SPDX-License-Identifier: Apache-2.0 */
/* creds - AWS credentials from where AWS's own tools take them, renewed before they expire.
 *
 * In this order (a profile named by the caller skips the first):
 *   1. AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN
 *   2. the profile (given, AWS_PROFILE or "default") in AWS_SHARED_CREDENTIALS_FILE
 *      (~/.aws/credentials), then in AWS_CONFIG_FILE (~/.aws/config); read again when refused
 *   3. the container's endpoint: AWS_CONTAINER_CREDENTIALS_RELATIVE_URI or _FULL_URI, with
 *      AWS_CONTAINER_AUTHORIZATION_TOKEN or _TOKEN_FILE; plain http only to this host and the
 *      link-local addresses of ECS and EKS
 *   4. the instance's metadata, version 2 only, at AWS_EC2_METADATA_SERVICE_ENDPOINT or
 *      169.254.169.254: 1 s to connect, 2 s to answer; never with imds=0 or where
 *      AWS_EC2_METADATA_DISABLED is true; first of all with imds=1
 *
 * Temporary credentials are renewed CREDS_RENEW_S before they expire, by the first who asks; while
 * that fails the old ones serve until they expire.  Secrets live in wiped memory and are never
 * logged. Threads: any.  `lock` is not held while asking; at most one thread asks. */
#ifndef COFFER_BLOB_CREDS_H
#define COFFER_BLOB_CREDS_H

#include "base/cleanup.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CREDS_RENEW_S 300
#define CREDS_KEY_MAX 256
#define CREDS_TOKEN_MAX 4096

struct aws_creds {
  char access_key[CREDS_KEY_MAX], secret_key[CREDS_KEY_MAX], token[CREDS_TOKEN_MAX];
  int64_t expires_at; /* ns since the epoch; 0: does not */
};
void aws_creds_wipe (struct aws_creds *c);

enum creds_imds { CREDS_IMDS_AUTO, CREDS_IMDS_FIRST, CREDS_IMDS_NEVER };

struct creds;
int creds_new (const char *profile, enum creds_imds imds, struct creds **out) WARN_UNUSED;
void creds_free (struct creds *c);
DEFINE_FREEP (creds);

/* A copy, to be wiped.  ERR_DENIED where there are none (logged, with what to do), ERR_AGAIN where
 * a service that has them does not answer. */
int creds_get (struct creds *c, struct aws_creds *out) WARN_UNUSED;
/* The store refused these: the next get looks anew. */
void creds_invalidate (struct creds *c);
/* Ends a wait for a metadata service. */
void creds_cancel (struct creds *c);

/* The region of the environment or the profile; false where none is set. */
bool creds_region (const char *profile, char *out, size_t cap);

#endif
