/* SPDX-License-Identifier: Apache-2.0 */
#define LOG_MODULE "creds"
#include "blob/creds.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/lock.h"
#include "base/log.h"
#include "blob/creds_priv.h"
#include "blob/http.h"

#define METADATA_CONNECT_MS 1000
#define METADATA_STALL_MS 2000
#define RETRY_NS (10 * NS_PER_S) /* between attempts to renew while the old ones still serve */
#define LOG_EVERY (10 * NS_PER_S)

struct creds {
  /* immutable after new */
  char *profile;
  enum creds_imds imds;
  struct http *http; /* of its own: metadata pays no throttle and uses no CA of the store's */
  struct lock lock;  /* guards what follows */
  pthread_cond_t renewed;
  struct aws_creds current;
  bool is_valid, is_renewing;
  int64_t tried_at;
  unsigned renewals; /* finished, and the result of the last */
  int last_rc;
  int64_t told_at; /* owned by the thread that renews */
};

void
aws_creds_wipe (struct aws_creds *c)
{
  explicit_bzero (c, sizeof *c);
}

int
creds_new (const char *profile, enum creds_imds imds, struct creds **out)
{
  struct creds *c = calloc (1, sizeof *c);
  if (!c)
    return ERR_NOMEM;
  lock_init (&c->lock, LOCK_BLOB, "creds");
  lock_cond_init (&c->renewed);
  c->imds = imds;
  struct http_opts opts = { .connect_timeout_ms = METADATA_CONNECT_MS,
                            .stall_timeout_ms = METADATA_STALL_MS };
  int rc = http_new (&opts, &c->http);
  if (rc == 0 && profile && !(c->profile = strdup (profile)))
    rc = ERR_NOMEM;
  if (rc != 0)
    creds_free (c);
  else
    *out = c;
  return rc;
}

void
creds_free (struct creds *c)
{
  if (!c)
    return;
  http_free (c->http);
  aws_creds_wipe (&c->current);
  pthread_cond_destroy (&c->renewed);
  lock_destroy (&c->lock);
  free (c->profile);
  free (c);
}

void
creds_cancel (struct creds *c)
{
  http_cancel (c->http);
}

static int
look_up (struct creds *c, struct aws_creds *out)
{
  const char *off = getenv ("AWS_EC2_METADATA_DISABLED");
  bool is_imds_off = c->imds == CREDS_IMDS_NEVER || (off && strcasecmp (off, "true") == 0);
  int rc = ERR_MISSING;
  if (c->imds == CREDS_IMDS_FIRST && !is_imds_off)
    rc = creds_from_imds (c->http, out);
  if (rc == ERR_MISSING && !c->profile)
    rc = creds_from_env (out);
  if (rc == ERR_MISSING)
    rc = creds_from_files (c->profile, out);
  if (rc == ERR_MISSING && creds_has_container ())
    rc = creds_from_container (c->http, out);
  if (rc == ERR_MISSING && c->imds == CREDS_IMDS_AUTO && !is_imds_off
      && creds_from_imds (c->http, out) == 0)
    rc = 0; /* no service there is the usual case: no error of its own */
  if (rc == ERR_MISSING && c->told_at && clock_now () - c->told_at < LOG_EVERY)
    return ERR_DENIED;
  if (rc == ERR_MISSING) {
    c->told_at = clock_now ();
    log_err ("no credentials for the store; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or "
             "add a"
             " profile to ~/.aws/credentials profile=%s", creds_profile_name (c->profile));
    return ERR_DENIED;
  }
  return rc;
}

static bool
is_fresh_locked (const struct creds *c, int64_t now)
{
  if (!c->is_valid)
    return false;
  if (!c->current.expires_at || c->current.expires_at - now > CREDS_RENEW_S * NS_PER_S)
    return true;
  /* About to expire: not every request needs to try and fail. */
  return c->current.expires_at > now && now - c->tried_at < RETRY_NS;
}

static void
renew_locked (struct creds *c)
{
  c->is_renewing = true;
  c->tried_at = clock_wall ();
  lock_release (&c->lock);
  struct aws_creds fresh = { .expires_at = 0 };
  int rc = look_up (c, &fresh);
  lock_take (&c->lock);
  if (rc == 0) {
    c->current = fresh;
    c->is_valid = true;
  } else if (c->is_valid && c->current.expires_at <= clock_wall ()) {
    c->is_valid = false;
    aws_creds_wipe (&c->current);
  }
  aws_creds_wipe (&fresh);
  c->last_rc = rc;
  c->renewals++;
  c->is_renewing = false;
  pthread_cond_broadcast (&c->renewed);
}

int
creds_get (struct creds *c, struct aws_creds *out)
{
  LOCK_SCOPE (&c->lock);
  if (!is_fresh_locked (c, clock_wall ())) {
    if (!c->is_renewing)
      renew_locked (c);
    else if (!c->is_valid)
      for (unsigned seen = c->renewals; c->renewals == seen;)
        lock_wait (&c->renewed, &c->lock);
  }
  if (!c->is_valid)
    return c->last_rc;
  *out = c->current;
  return 0;
}

void
creds_invalidate (struct creds *c)
{
  LOCK_SCOPE (&c->lock);
  c->is_valid = false;
}

bool
creds_region (const char *profile, char *out, size_t cap)
{
  static const char *const vars[] = { "AWS_REGION", "AWS_DEFAULT_REGION" };
  for (int i = 0; i < 2; i++) {
    const char *v = getenv (vars[i]);
    if (v && *v) {
      snprintf (out, cap, "%s", v);
      return true;
    }
  }
  return creds_file_value (profile, "region", out, cap);
}
