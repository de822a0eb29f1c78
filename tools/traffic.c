/* SPDX-License-Identifier: Apache-2.0 */
#include "traffic.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define LOG_MODULE "throttle"
#include "base/lock.h"
#include "base/log.h"
#include "blob/schedule.h"

enum { UP, DOWN };
static const char *const directions[] = { "up", "down" };

struct rate_pair {
  char name[64];
  struct throttle *t[2];
  struct schedule schedule[2]; /* guarded by lock */
  char text[2][256];           /* likewise */
};
struct traffic {
  size_t count; /* regions, then the host */
  struct lock lock;
  struct rate_pair v[];
};

static void
apply (struct rate_pair *p, time_t now)
{
  for (int d = 0; d < 2; d++) {
    uint64_t rate = schedule_rate_at (&p->schedule[d], now);
    if (rate != throttle_rate (p->t[d]))
      throttle_set_rate (p->t[d], rate);
  }
}

static int
pair_init (struct rate_pair *p, const char *name, const char *up, const char *down)
{
  const char *texts[] = { up, down };
  snprintf (p->name, sizeof p->name, "%s", name);
  for (int d = 0; d < 2; d++) {
    if (strlen (texts[d]) >= sizeof p->text[d])
      return ERR_LIMIT;
    snprintf (p->text[d], sizeof p->text[d], "%s", texts[d]);
    int rc = schedule_parse (texts[d], &p->schedule[d]);
    if (rc == 0)
      rc = throttle_new (0, 0, &p->t[d]);
    if (rc < 0)
      return rc;
  }
  apply (p, time (NULL));
  return 0;
}

int
traffic_new (const struct config *c, struct traffic **out)
{
  size_t n = config_regions (c);
  AUTO (traffic) r = calloc (1, sizeof *r + (n + 1) * sizeof r->v[0]);
  if (!r)
    return ERR_NOMEM;
  lock_init (&r->lock, LOCK_SESSION, "throttle settings");
  r->count = n + 1;
  int rc = pair_init (&r->v[n], "host", config_text (c, CONFIG_ALL, CONFIG_ID_HOST_UPLOAD_RATE),
                      config_text (c, CONFIG_ALL, CONFIG_ID_HOST_DOWNLOAD_RATE));
  for (size_t i = 0; rc == 0 && i < n; i++)
    rc = pair_init (&r->v[i], config_region_name (c, i),
                    config_text (c, (int) i, CONFIG_ID_UPLOAD_RATE),
                    config_text (c, (int) i, CONFIG_ID_DOWNLOAD_RATE));
  if (rc < 0)
    return rc;
  *out = STEAL (r);
  return 0;
}

void
traffic_free (struct traffic *r)
{
  if (!r)
    return;
  for (size_t i = 0; i < r->count; i++)
    for (int d = 0; d < 2; d++)
      throttle_free (r->v[i].t[d]);
  lock_destroy (&r->lock);
  free (r);
}

void
traffic_sets (const struct traffic *r, size_t region, struct throttle_set *up,
            struct throttle_set *down)
{
  const struct rate_pair *own = &r->v[region], *host = &r->v[r->count - 1];
  *up = (struct throttle_set){ { own->t[UP], host->t[UP] } };
  *down = (struct throttle_set){ { own->t[DOWN], host->t[DOWN] } };
}

uint64_t
traffic_upload_most (struct traffic *r)
{
  LOCK_SCOPE (&r->lock);
  uint64_t host = schedule_rate_most (&r->v[r->count - 1].schedule[UP]), most = 0;
  for (size_t i = 0; i + 1 < r->count; i++) {
    uint64_t rate = schedule_rate_most (&r->v[i].schedule[UP]);
    rate = host && (!rate || host < rate) ? host : rate;
    if (!rate)
      return 0;
    most = rate > most ? rate : most;
  }
  return most;
}

static struct rate_pair *
find (struct traffic *r, const char *name)
{
  for (size_t i = 0; i < r->count; i++)
    if (strcmp (r->v[i].name, name) == 0)
      return &r->v[i];
  return NULL;
}

int
traffic_get (struct traffic *r, const char *region, struct buf *out)
{
  struct rate_pair *p = find (r, region);
  if (!p)
    return ERR_NOENT;
  LOCK_SCOPE (&r->lock);
  buf_printf (out, "up=%s down=%s\n", p->text[UP], p->text[DOWN]);
  return buf_error (out);
}

/* One word of a setting: "up=..." and "down=..." are one direction, anything else is both. */
struct change {
  struct schedule schedule[2];
  char text[2][256];
  bool is_set[2];
};
static int
parse_word (const char *word, struct change *c, struct buf *reply)
{
  bool dirs[2] = { true, true };
  for (int d = 0; d < 2; d++) {
    size_t n = strlen (directions[d]);
    if (strncmp (word, directions[d], n) == 0 && word[n] == '=') {
      dirs[!d] = false;
      word += n + 1;
      break;
    }
  }
  struct schedule s;
  int rc = strlen (word) < sizeof c->text[0] ? schedule_parse (word, &s) : ERR_LIMIT;
  if (rc < 0) {
    buf_printf (reply, "error: \"%s\" is no rate: give 20MB, 100Mbit, off, or "
                       "08:00-18:00=20MB,*=100MB; up=... and down=... for one direction\n", word);
    return rc;
  }
  for (int d = 0; d < 2; d++)
    if (dirs[d]) {
      c->schedule[d] = s;
      snprintf (c->text[d], sizeof c->text[d], "%s", word);
      c->is_set[d] = true;
    }
  return 0;
}

int
traffic_set (struct traffic *r, const char *region, const char *text, struct buf *reply)
{
  struct rate_pair *p = find (r, region);
  if (!p) {
    buf_printf (reply, "error: there is no region \"%s\"\n", region);
    return ERR_NOENT;
  }
  char copy[1024];
  struct change c = { .is_set = { false } };
  if ((size_t) snprintf (copy, sizeof copy, "%s", text) >= sizeof copy)
    return ERR_LIMIT;
  char *save = NULL;
  for (char *w = strtok_r (copy, " \t\n", &save); w; w = strtok_r (NULL, " \t\n", &save)) {
    int rc = parse_word (w, &c, reply);
    if (rc < 0)
      return rc;
  }
  if (!c.is_set[UP] && !c.is_set[DOWN])
    return parse_word ("", &c, reply) < 0 ? ERR_INVALID : 0;
  LOCK_SCOPE (&r->lock);
  for (int d = 0; d < 2; d++)
    if (c.is_set[d]) {
      p->schedule[d] = c.schedule[d];
      memcpy (p->text[d], c.text[d], sizeof p->text[d]);
    }
  apply (p, time (NULL));
  return 0;
}

void
traffic_tick (struct traffic *r)
{
  LOCK_SCOPE (&r->lock);
  for (size_t i = 0; i < r->count; i++)
    apply (&r->v[i], time (NULL));
}

void
traffic_metrics (struct traffic *r, struct buf *out)
{
  static const struct {
    const char *name, *type, *help;
  } rows[] = {
    { "coffer_throttle_rate_bytes", "gauge", "Limit in bytes per second, 0: none." },
    { "coffer_throttle_bytes_total", "counter", "Bytes let through while a limit was set." },
    { "coffer_throttle_wait_seconds_total", "counter", "Time that transfers waited." },
  };
  for (size_t k = 0; k < sizeof rows / sizeof rows[0]; k++) {
    buf_printf (out, "# HELP %s %s\n# TYPE %s %s\n", rows[k].name, rows[k].help, rows[k].name,
                rows[k].type);
    for (size_t i = 0; i < r->count; i++)
      for (int d = 0; d < 2; d++) {
        struct throttle *t = r->v[i].t[d];
        buf_printf (out, "%s{region=\"%s\",direction=\"%s\"} ", rows[k].name, r->v[i].name,
                    directions[d]);
        if (k == 2)
          buf_printf (out, "%.3f\n", (double) throttle_waited_ns (t) / 1e9);
        else
          buf_printf (out, "%llu\n",
                      (unsigned long long) (k ? throttle_granted (t) : throttle_rate (t)));
      }
  }
}
