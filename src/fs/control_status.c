/* SPDX-License-Identifier: Apache-2.0 */
/* control_status - the picture all formats are made from, and the two for people: status,
 * health. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "fs/control_priv.h"
#include "fs/held.h"

#define LOG_MODULE "control"
#include "base/log.h"

int
control_view_get (struct fs *fs, struct control_view *out)
{
  *out = (struct control_view){ .now = clock_wall () };
  int rc = mount_stats_get (fs->mount, &out->stats);
  if (rc < 0)
    return rc;
  rc = mount_snapshots (fs->mount, &out->snapshots, &out->snapshot_count);
  if (rc == 0)
    rc = mount_parts (fs->mount, &out->parts, &out->part_count);
  if (rc == 0)
    out->rates = calloc (out->snapshot_count + 1, sizeof *out->rates);
  if (rc == 0 && !out->rates)
    rc = ERR_NOMEM;
  if (rc < 0) {
    control_view_release (out);
    return rc;
  }
  for (size_t i = 0; i < out->snapshot_count; i++) {
    const struct snapshot_info *s = &out->snapshots[i];
    char key[256];
    snprintf (key, sizeof key, "%s/%s/%s", s->region, s->vault, s->name);
    out->rates[i] = rates_note (control_rates (fs), key, s->received, s->created, out->now);
  }
  out->held = held_count (fs->held);
  out->writers = mount_writers (fs->mount);
  return 0;
}

void
control_view_release (struct control_view *v)
{
  mount_stats_release (&v->stats);
  free (v->snapshots);
  free (v->parts);
  free (v->rates);
}

const char *
snapshot_state_str (enum snapshot_state s)
{
  switch (s) {
  case SNAP_OPEN: return "open";
  case SNAP_SEALING: return "sealing";
  case SNAP_SEALED: return "sealed";
  case SNAP_REMOVED: return "removed";
  case SNAP_FINISHED: return "finished";
  }
  return "unknown";
}

int64_t
snapshot_eta_s (const struct snapshot_info *s, double rate)
{
  if (s->pending == 0)
    return 0;
  return rate < 1 ? -1 : (int64_t) ((double) s->pending / rate) + 1;
}

static void
put_size (struct buf *out, const char *label, double n)
{
  static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB" };
  int u = 0;
  for (; n >= 1024 && u < 5; u++)
    n /= 1024;
  buf_printf (out, u ? "%s%.1f %s" : "%s%.0f %s", label, n, units[u]);
}

static void
put_time (struct buf *out, const char *label, int64_t ns)
{
  char text[32];
  struct tm tm;
  time_t t = (time_t) (ns / NS_PER_S);
  strftime (text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", gmtime_r (&t, &tm));
  buf_printf (out, "%s%s", label, text);
}

static void
put_snapshot (struct buf *out, const struct snapshot_info *s, double rate)
{
  buf_printf (out, "\n%s/%s/%s\n", s->region, s->vault, s->name);
  buf_printf (out, "  state       %s%s", snapshot_state_str (s->state),
              s->is_interrupted ? " (interrupted by an unmount or a crash)" : "");
  put_time (out, "\n  created     ", s->created);
  put_time (out, "\n  changed     ", s->changed);
  buf_printf (out, "\n  holds       %llu files, %llu directories", (unsigned long long) s->files,
              (unsigned long long) s->dirs);
  put_size (out, ", ", (double) s->logical);
  put_size (out, "\n  received    ", (double) s->received);
  put_size (out, " (new ", (double) s->fresh);
  put_size (out, ", found again ", (double) s->dedup);
  put_size (out, ")\n  sent        ", (double) s->stored);
  put_size (out, "\n  pending     ", (double) s->pending);
  int64_t eta = snapshot_eta_s (s, rate);
  if (eta > 0)
    buf_printf (out, ", about %lld s", (long long) eta);
  put_size (out, "\n  overlay     ", (double) s->overlay);
  put_size (out, "\n  rate        ", rate);
  buf_printf (out, "/s\n  writers     %u\n", s->writers);
  if (s->parent[0])
    buf_printf (out, "  parent      %s\n", s->parent);
  if (s->part[0])
    buf_printf (out, "  part        %s\n", s->part);
  if (s->correlation_id[0])
    buf_printf (out, "  correlation %s\n", s->correlation_id);
  if (s->error)
    buf_printf (out, "  ERROR       %s%s%s\n", err_str (s->error), s->error_text[0] ? ": " : "",
                s->error_text);
}

static void
put_parts (struct buf *out, const struct control_view *v)
{
  if (v->part_count)
    buf_printf (out, "\nparts of other hosts\n");
  for (size_t i = 0; i < v->part_count; i++) {
    const struct part_info *p = &v->parts[i];
    buf_printf (out, "  %s/%s/%s  host %s, part %s, %s", p->region, p->vault, p->name,
                p->host[0] ? p->host : "unknown", p->id, part_state_str (p->state));
    put_time (out, ", last progress ", p->changed);
    buf_printf (out, ", %llu files", (unsigned long long) p->files);
    put_size (out, ", received ", (double) p->received);
    buf_printf (out, "\n");
  }
}

static void
put_region (struct buf *out, const struct mount_region_stats *r)
{
  buf_printf (out, "region %s\n", r->name);
  put_size (out, "  sent        ", (double) r->put_bytes);
  buf_printf (out, " in %llu puts", (unsigned long long) r->puts);
  put_size (out, "\n  fetched     ", (double) r->get_bytes);
  buf_printf (out, " in %llu gets, %llu lists\n", (unsigned long long) r->gets,
              (unsigned long long) r->lists);
  buf_printf (out, "  retries     %llu\n  breaker     %s\n", (unsigned long long) r->retries,
              r->breaker[0] ? r->breaker : "closed");
  if (r->away)
    buf_printf (out, "  NOT SERVED  its store could not be opened: %s\n", err_str (r->away));
  if (r->shows_less)
    buf_printf (out, "  SHOWS LESS  than was seen before: see the log\n");
  if (r->last_error[0]) {
    put_time (out, "  last error  ", r->last_error_time);
    buf_printf (out, " %s\n", r->last_error);
  }
}

static void
put_memory (struct buf *out, const struct control_view *v)
{
  const struct mount_stats *s = &v->stats;
  put_size (out, "buffers       ", (double) s->arena_used);
  put_size (out, " of ", (double) s->arena_max);
  buf_printf (out, ", packs filling %llu, in flight %llu; %zu answers held back\n",
              (unsigned long long) s->packs_filling, (unsigned long long) s->packs_flying, v->held);
  put_size (out, "overlay       ", (double) s->overlay_bytes);
  put_size (out, " of ", (double) s->overlay_max);
  put_size (out, "\nblock cache   ", (double) s->cache_bytes);
  put_size (out, " of ", (double) s->cache_max);
  buf_printf (out, ", %llu hits, %llu misses, %llu damaged\n", (unsigned long long) s->cache_hits,
              (unsigned long long) s->cache_misses, (unsigned long long) s->cache_damaged);
}

int
control_fill_status (struct fs *fs, struct buf *out)
{
  struct control_view v;
  int rc = control_view_get (fs, &v);
  if (rc < 0)
    return rc;
  buf_printf (out, "coffer %s at %s", PACKAGE_VERSION, fs->mountpoint);
  put_time (out, ", since ", fs->started);
  buf_printf (out, "; %zu files open for writing\n", v.writers);
  for (size_t i = 0; i < v.stats.region_count; i++)
    put_region (out, &v.stats.regions[i]);
  put_memory (out, &v);
  for (size_t i = 0; i < v.snapshot_count; i++)
    put_snapshot (out, &v.snapshots[i], v.rates[i]);
  put_parts (out, &v);
  char line[LOG_LINE_MAX];
  for (int i = 0; i < LOG_RING && log_recent (i, line, sizeof line); i++)
    buf_printf (out, "%s%s\n", i ? "" : "\nlatest errors and warnings\n", line);
  control_view_release (&v);
  return buf_error (out);
}

/* `ok`, or `degraded` and what is wrong, a line each. */
int
control_fill_health (struct fs *fs, struct buf *out)
{
  AUTO_BUF bad;
  struct control_view v;
  int rc = control_view_get (fs, &v);
  if (rc < 0)
    return rc;
  buf_init (&bad, CONTROL_TEXT_MAX);
  for (size_t i = 0; i < v.stats.region_count; i++) {
    const struct mount_region_stats *r = &v.stats.regions[i];
    if (r->breaker[0] && strcmp (r->breaker, "closed") != 0)
      buf_printf (&bad, "region %s is not reached: breaker %s, %s\n", r->name, r->breaker,
                  r->last_error);
    if (r->away)
      buf_printf (&bad, "region %s is not served, its store could not be opened: %s\n", r->name,
                  err_str (r->away));
    if (r->shows_less)
      buf_printf (&bad, "region %s shows less than was seen before: it was rolled back, or sealed "
                  "snapshots were removed behind coffer; the log names them\n", r->name);
  }
  for (size_t i = 0; i < v.snapshot_count; i++) {
    const struct snapshot_info *s = &v.snapshots[i];
    if (s->error)
      buf_printf (&bad, "snapshot %s/%s/%s failed: %s %s\n", s->region, s->vault, s->name,
                  err_str (s->error), s->error_text);
    else if (s->is_interrupted && s->state == SNAP_OPEN)
      buf_printf (&bad, "snapshot %s/%s/%s was interrupted and is still open\n", s->region,
                  s->vault,
                  s->name);
  }
  if (v.stats.cache_damaged)
    buf_printf (&bad, "the block cache had %llu damaged blocks, which were fetched again\n",
                (unsigned long long) v.stats.cache_damaged);
  buf_printf (out, bad.len ? "degraded\n" : "ok\n");
  buf_put (out, bad.data, bad.len);
  control_view_release (&v);
  return buf_error (out);
}
