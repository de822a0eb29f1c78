/* SPDX-License-Identifier: Apache-2.0 */
/* s3_xml - the XML answers of S3: errors, listings, results of batches and uploads.
 *
 * One flat reader: the texts of the elements that matter are handed out one by one, with the name
 * of the element around them.  No entities beyond XML's own five are expanded (a document type is
 * refused), names and texts have a maximum, depth is limited.  Pure: no I/O, no log. */
#ifndef COFFER_BLOB_S3_XML_H
#define COFFER_BLOB_S3_XML_H

#include "base/buf.h"
#include "base/err.h"

#define S3_XML_TEXT_MAX 8192

struct s3_xml_handler {
  /* TEXT of element NAME inside PARENT, NUL-terminated.  Non-zero ends the parse with that
   * value. */
  int (*text) (void *ctx, const char *parent, const char *name, const char *text);
  /* The element NAME inside PARENT has ended (after the text of its children); may be NULL. */
  int (*end) (void *ctx, const char *parent, const char *name);
  void *ctx;
};

/* ERR_FORMAT for what is no XML, is cut, or has another root than ROOT (unless that is NULL). */
int s3_xml_parse (const void *p, size_t n, const char *root,
                  const struct s3_xml_handler *h) WARN_UNUSED;

struct s3_error {
  char code[64], message[256], region[64], request_id[96];
};
/* True where P is an <Error> document; OUT is zeroed otherwise. */
bool s3_xml_error (const void *p, size_t n, struct s3_error *out);

#endif
