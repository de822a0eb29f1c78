/* SPDX-License-Identifier: Apache-2.0 */
/* creds_priv - the sources of credentials. */
#ifndef COFFER_BLOB_CREDS_PRIV_H
#define COFFER_BLOB_CREDS_PRIV_H

#include "blob/creds.h"

struct http;

/* Each: 0, ERR_MISSING where the source has none, or an error that ends the search. */
int creds_from_env (struct aws_creds *out);
int creds_from_files (const char *profile, struct aws_creds *out);
int creds_from_container (struct http *h, struct aws_creds *out);
int creds_from_imds (struct http *h, struct aws_creds *out);

/* The profile that applies: PROFILE, AWS_PROFILE or "default". */
const char *creds_profile_name (const char *profile);
/* The value of NAME in a profile of either file; false where absent. */
bool creds_file_value (const char *profile, const char *name, char *out, size_t cap);
bool creds_has_container (void);
/* Reads the JSON that the container's endpoint and the metadata service answer. */
int creds_parse_json (const char *text, size_t len, struct aws_creds *out);

#endif
