/* SPDX-License-Identifier: Apache-2.0 */
/* What people write: store URLs, rates by hours, fault rules, sizes and durations. */
#include <stdlib.h>
#include <string.h>

#include "base/config.h"
#include "base/log.h"
#include "blob/fault_rules.h"
#include "blob/schedule.h"
#include "blob/url.h"
#include "targets.h"

const char fuzz_name[] = "text";

static void
try_rate (const char *text)
{
  struct schedule s;
  uint64_t rate, again;
  char shown[24];
  if (schedule_parse (text, &s) == 0)
    for (int minute = 0; minute < 24 * 60; minute += 59)
      (void) schedule_rate_at_minute (&s, minute);
  if (rate_parse (text, &rate) == 0) {
    rate_format (rate, shown, sizeof shown);
    if (rate_parse (shown, &again) != 0)
      abort (); /* what is shown can be written back */
  }
}

int
LLVMFuzzerTestOneInput (const uint8_t *p, size_t n)
{
  static bool is_quiet;
  struct fault_rule rules[8];
  struct url u;
  char shown[256];
  int64_t v;
  bool b;
  if (!is_quiet)
    is_quiet = log_init (LOG_TO_FILE, "/dev/null", false) == 0;
  AUTO_STR text = strndup ((const char *) p, n);
  if (!text)
    return 0;
  if (url_parse (text, &u) == 0) {
    (void) url_param (&u, "endpoint");
    url_release (&u);
  }
  blob_url_redact (text, shown, sizeof shown);
  try_rate (text);
  if (fault_rules_parse (text, rules, 8) > 8)
    abort ();
  if (config_parse_size (text, &v) == 0 && v < 0)
    abort ();
  if (config_parse_duration (text, &v) == 0 && v < 0)
    abort ();
  if (config_parse_bool (text, &b) == 0 && strlen (text) > 8)
    abort ();
  return 0;
}
