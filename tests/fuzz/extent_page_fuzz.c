/* SPDX-License-Identifier: Apache-2.0 */
#include "targets.h"

const char fuzz_name[] = "extent_page";

int
LLVMFuzzerTestOneInput (const uint8_t *p, size_t n)
{
  (void) target_extent_page (p, n); /* most inputs are refused; the oracle is inside */
  return 0;
}
