/* SPDX-License-Identifier: Apache-2.0 */
/* control_metrics - Prometheus text: one table each for the mount, a region, a snapshot. */
#include "fs/control_priv.h"

struct metric {
  const char *name, *type, *help;
  size_t off; /* of a uint64_t */
};

#define M(name, type, field, help)                                            \
  { "coffer_" name, type, help, offsetof (struct mount_stats, field) }
static const struct metric mount_metrics[] = {
  M ("buffer_bytes", "gauge", arena_used, "Bytes of pipeline buffers in use."),
  M ("buffer_max_bytes", "gauge", arena_max, "Bound of the pipeline buffers."),
  M ("packs_filling", "gauge", packs_filling, "Packs being filled."),
  M ("packs_in_flight", "gauge", packs_flying, "Packs being sent."),
  M ("cache_bytes", "gauge", cache_bytes, "Bytes in the block cache."),
  M ("cache_max_bytes", "gauge", cache_max, "Bound of the block cache."),
  M ("cache_hits_total", "counter", cache_hits, "Reads served by the block cache."),
  M ("cache_misses_total", "counter", cache_misses, "Reads the block cache did not have."),
  M ("cache_damaged_total", "counter", cache_damaged, "Damaged blocks dropped and fetched again."),
  M ("memory_hits_total", "counter", memory_hits, "Reads served from memory."),
  M ("fetches_total", "counter", reader_gets, "Ranged reads from the store for readers."),
  M ("fetched_bytes_total", "counter", reader_get_bytes, "Bytes fetched for readers."),
  M ("overlay_bytes", "gauge", overlay_bytes, "Bytes of random writes on the local disk."),
  M ("overlay_max_bytes", "gauge", overlay_max, "Bound of the overlay."),
  M ("snapshots_open", "gauge", snapshots_open, "Open snapshots of this host."),
};
#undef M

#define R(name, type, field, help)                                            \
  { "coffer_region_" name, type, help, offsetof (struct mount_region_stats, field) }
static const struct metric region_metrics[] = {
  R ("sent_bytes_total", "counter", put_bytes, "Bytes put into the store."),
  R ("fetched_bytes_total", "counter", get_bytes, "Bytes got from the store."),
  R ("puts_total", "counter", puts, "Put requests."),
  R ("gets_total", "counter", gets, "Get requests."),
  R ("lists_total", "counter", lists, "List requests."),
  R ("retries_total", "counter", retries, "Requests tried again."),
};
#undef R

#define S(name, type, field, help)                                            \
  { "coffer_snapshot_" name, type, help, offsetof (struct snapshot_info, field) }
static const struct metric snapshot_metrics[] = {
  S ("files", "gauge", files, "Files in the snapshot."),
  S ("logical_bytes", "gauge", logical, "Bytes the snapshot holds."),
  S ("received_bytes", "gauge", received, "Bytes written into it."),
  S ("new_bytes", "gauge", fresh, "Bytes that were new to the vault."),
  S ("deduplicated_bytes", "gauge", dedup, "Bytes the vault had already."),
  S ("stored_bytes", "gauge", stored, "Bytes of packs sent for it."),
  S ("pending_bytes", "gauge", pending, "Bytes taken and not yet durable."),
};
#undef S
#define COUNT(a) (sizeof (a) / sizeof *(a))

static void
put_head (struct buf *out, const char *name, const char *type, const char *help)
{
  buf_printf (out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static unsigned long long
value_of (const void *base, const struct metric *m)
{
  uint64_t v;
  memcpy (&v, (const char *) base + m->off, sizeof v);
  return v;
}

static void
put_single (struct buf *out, const char *name, const char *help, uint64_t v)
{
  put_head (out, name, "gauge", help);
  buf_printf (out, "%s %llu\n", name, (unsigned long long) v);
}

/* The names in labels are of our own alphabet (DESIGN 2): nothing in them needs escaping. */
static void
put_view (struct buf *out, const struct control_view *v)
{
  for (size_t i = 0; i < COUNT (mount_metrics); i++) {
    const struct metric *m = &mount_metrics[i];
    put_head (out, m->name, m->type, m->help);
    buf_printf (out, "%s %llu\n", m->name, value_of (&v->stats, m));
  }
  put_single (out, "coffer_answers_held", "Writes whose answer is held back.", v->held);
  put_single (out, "coffer_writers", "Files open for writing.", v->writers);
  for (size_t i = 0; i < COUNT (region_metrics); i++) {
    const struct metric *m = &region_metrics[i];
    put_head (out, m->name, m->type, m->help);
    for (size_t k = 0; k < v->stats.region_count; k++)
      buf_printf (out, "%s{region=\"%s\"} %llu\n", m->name, v->stats.regions[k].name,
                  value_of (&v->stats.regions[k], m));
  }
  put_head (out, "coffer_region_up", "gauge", "1 where the store is there and the breaker closed.");
  for (size_t k = 0; k < v->stats.region_count; k++) {
    const struct mount_region_stats *r = &v->stats.regions[k];
    buf_printf (out, "coffer_region_up{region=\"%s\"} %d\n", r->name,
                !r->away && (!r->breaker[0] || strcmp (r->breaker, "closed") == 0));
  }
}

static void
put_requests (struct buf *out, struct fs *fs)
{
#define OP_NAME(name) #name,
  static const char *const names[] = { FS_OPS (OP_NAME) };
  put_head (out, "coffer_requests_total", "counter", "Requests of the kernel, by kind.");
  for (int i = 0; i < OP_COUNT; i++)
    buf_printf (out, "coffer_requests_total{op=\"%s\"} %llu\n", names[i],
                (unsigned long long) fs->ops[i]);
}

static void
put_snapshots (struct buf *out, const struct control_view *v)
{
  for (size_t i = 0; i < COUNT (snapshot_metrics); i++) {
    const struct metric *m = &snapshot_metrics[i];
    put_head (out, m->name, m->type, m->help);
    for (size_t k = 0; k < v->snapshot_count; k++) {
      const struct snapshot_info *s = &v->snapshots[k];
      buf_printf (out, "%s{region=\"%s\",vault=\"%s\",snapshot=\"%s\",state=\"%s\"} %llu\n",
                  m->name,
                  s->region, s->vault, s->name, snapshot_state_str (s->state), value_of (s, m));
    }
  }
}

int
control_fill_metrics (struct fs *fs, struct buf *out)
{
  const struct fs_control *up = &fs->opts.control;
  struct control_view v;
  int rc = control_view_get (fs, &v);
  if (rc < 0)
    return rc;
  put_view (out, &v);
  put_requests (out, fs);
  put_snapshots (out, &v);
  control_view_release (&v);
  if (up->metrics)
    rc = up->metrics (up->ctx, out);
  return rc < 0 ? rc : buf_error (out);
}
