/* SPDX-License-Identifier: Apache-2.0 */
/* What a metadata service (or something that poses as one) answers. */
#include "blob/creds_priv.h"
#include "base/log.h"
#include "targets.h"

const char fuzz_name[] = "creds_json";

int
LLVMFuzzerTestOneInput (const uint8_t *p, size_t n)
{
  static bool is_quiet;
  struct aws_creds c = { 0 };
  if (!is_quiet)
    is_quiet = log_init (LOG_TO_FILE, "/dev/null", false) == 0;
  (void) creds_parse_json ((const char *) p, n, &c);
  return 0;
}
