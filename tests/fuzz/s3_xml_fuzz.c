/* SPDX-License-Identifier: Apache-2.0 */
/* The answers of an S3 server, or of whatever sits at its address. */
#include <stdlib.h>
#include <string.h>

#include "blob/s3_xml.h"
#include "targets.h"

const char fuzz_name[] = "s3_xml";

static int
on_text (void *ctx, const char *parent, const char *name, const char *text)
{
  size_t *bytes = ctx;
  if (!parent || !name || strlen (text) > S3_XML_TEXT_MAX)
    abort ();
  *bytes += strlen (parent) + strlen (name) + strlen (text);
  return strcmp (name, "StopHere") == 0 ? ERR_CANCELLED : 0;
}

static int
on_end (void *ctx, const char *parent, const char *name)
{
  size_t *bytes = ctx;
  *bytes += strlen (parent) + strlen (name);
  return 0;
}

int
LLVMFuzzerTestOneInput (const uint8_t *p, size_t n)
{
  size_t bytes = 0;
  struct s3_xml_handler h = { .text = on_text, .end = on_end, .ctx = &bytes };
  struct s3_error e;
  int any = s3_xml_parse (p, n, NULL, &h);
  int listing = s3_xml_parse (p, n, "ListBucketResult", &h);
  if (any == ERR_FORMAT && listing == 0)
    abort (); /* a root that is right cannot make it better */
  if (s3_xml_error (p, n, &e)
      && (strlen (e.code) >= sizeof e.code || strlen (e.message) >= sizeof e.message))
    abort ();
  return 0;
}
