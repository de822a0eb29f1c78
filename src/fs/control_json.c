/* SPDX-License-Identifier: Apache-2.0 */
/* control_json - status.json.  Sizes are bytes, times seconds since the epoch; names are kept. */
#include <jansson.h>
#include <stdlib.h>

#include "base/text.h"
#include "fs/control_priv.h"

static void
set_u64 (json_t *o, const char *key, uint64_t v)
{
  json_object_set_new (o, key, json_integer ((json_int_t) v));
}

/* Text of others may not be UTF-8, which JSON cannot hold. */
static void
set_str (json_t *o, const char *key, const char *s)
{
  char shown[2048];
  json_object_set_new (o, key, json_string (text_is_utf8 (s) ? s
                                            : text_show (s, shown, sizeof shown)));
}

static json_t *
region_json (const struct mount_region_stats *r)
{
  json_t *o = json_object ();
  set_str (o, "name", r->name);
  set_u64 (o, "put_bytes", r->put_bytes);
  set_u64 (o, "get_bytes", r->get_bytes);
  set_u64 (o, "puts", r->puts);
  set_u64 (o, "gets", r->gets);
  set_u64 (o, "lists", r->lists);
  set_u64 (o, "retries", r->retries);
  set_str (o, "breaker", r->breaker[0] ? r->breaker : "closed");
  set_str (o, "last_error", r->last_error);
  set_str (o, "away", r->away ? err_str (r->away) : "");
  json_object_set_new (o, "shows_less", json_boolean (r->shows_less));
  set_u64 (o, "last_error_time", (uint64_t) (r->last_error_time / NS_PER_S));
  return o;
}

static json_t *
snapshot_json (const struct snapshot_info *s, double rate)
{
  json_t *o = json_object ();
  set_str (o, "region", s->region);
  set_str (o, "vault", s->vault);
  set_str (o, "name", s->name);
  set_str (o, "state", snapshot_state_str (s->state));
  json_object_set_new (o, "interrupted", json_boolean (s->is_interrupted));
  set_str (o, "error", s->error ? err_str (s->error) : "");
  set_str (o, "error_text", s->error_text);
  set_u64 (o, "created", (uint64_t) (s->created / NS_PER_S));
  set_u64 (o, "changed", (uint64_t) (s->changed / NS_PER_S));
  set_u64 (o, "files", s->files);
  set_u64 (o, "dirs", s->dirs);
  set_u64 (o, "logical", s->logical);
  set_u64 (o, "received", s->received);
  set_u64 (o, "new", s->fresh);
  set_u64 (o, "deduplicated", s->dedup);
  set_u64 (o, "stored", s->stored);
  set_u64 (o, "pending", s->pending);
  set_u64 (o, "overlay", s->overlay);
  set_u64 (o, "writers", s->writers);
  set_u64 (o, "rate", (uint64_t) rate);
  json_object_set_new (o, "eta", json_integer ((json_int_t) snapshot_eta_s (s, rate)));
  double ratio = s->received ? (double) s->dedup / (double) s->received : 0;
  json_object_set_new (o, "dedup_ratio", json_real (ratio));
  set_str (o, "parent", s->parent);
  set_str (o, "part", s->part);
  set_str (o, "correlation_id", s->correlation_id);
  return o;
}

static json_t *
part_json (const struct part_info *p)
{
  json_t *o = json_object ();
  set_str (o, "region", p->region);
  set_str (o, "vault", p->vault);
  set_str (o, "name", p->name);
  set_str (o, "part", p->id);
  set_str (o, "host", p->host);
  set_str (o, "state", part_state_str (p->state));
  set_u64 (o, "changed", (uint64_t) (p->changed / NS_PER_S));
  set_u64 (o, "files", p->files);
  set_u64 (o, "received", p->received);
  return o;
}

static json_t *
memory_json (const struct control_view *v)
{
  const struct mount_stats *s = &v->stats;
  json_t *o = json_object ();
  set_u64 (o, "buffers", s->arena_used);
  set_u64 (o, "buffers_max", s->arena_max);
  set_u64 (o, "packs_filling", s->packs_filling);
  set_u64 (o, "packs_in_flight", s->packs_flying);
  set_u64 (o, "answers_held", v->held);
  set_u64 (o, "overlay", s->overlay_bytes);
  set_u64 (o, "overlay_max", s->overlay_max);
  return o;
}

static json_t *
cache_json (const struct mount_stats *s)
{
  json_t *o = json_object ();
  set_u64 (o, "bytes", s->cache_bytes);
  set_u64 (o, "max", s->cache_max);
  set_u64 (o, "hits", s->cache_hits);
  set_u64 (o, "misses", s->cache_misses);
  set_u64 (o, "damaged", s->cache_damaged);
  set_u64 (o, "memory_hits", s->memory_hits);
  set_u64 (o, "fetches", s->reader_gets);
  set_u64 (o, "fetched", s->reader_get_bytes);
  return o;
}

int
control_fill_json (struct fs *fs, struct buf *out)
{
  struct control_view v;
  int rc = control_view_get (fs, &v);
  if (rc < 0)
    return rc;
  json_t *o = json_object (), *regions = json_array (), *snapshots = json_array ();
  json_t *parts = json_array ();
  for (size_t i = 0; i < v.stats.region_count; i++)
    json_array_append_new (regions, region_json (&v.stats.regions[i]));
  for (size_t i = 0; i < v.snapshot_count; i++)
    json_array_append_new (snapshots, snapshot_json (&v.snapshots[i], v.rates[i]));
  for (size_t i = 0; i < v.part_count; i++)
    json_array_append_new (parts, part_json (&v.parts[i]));
  set_str (o, "version", PACKAGE_VERSION);
  set_str (o, "mountpoint", fs->mountpoint);
  set_u64 (o, "time", (uint64_t) (v.now / NS_PER_S));
  set_u64 (o, "started", (uint64_t) (fs->started / NS_PER_S));
  set_u64 (o, "writers", v.writers);
  json_object_set_new (o, "regions", regions);
  json_object_set_new (o, "snapshots", snapshots);
  json_object_set_new (o, "parts_of_others", parts);
  json_object_set_new (o, "memory", memory_json (&v));
  json_object_set_new (o, "cache", cache_json (&v.stats));
  char *text = json_dumps (o, JSON_INDENT (1) | JSON_PRESERVE_ORDER);
  if (text)
    buf_printf (out, "%s\n", text);
  free (text);
  json_decref (o);
  control_view_release (&v);
  return text ? buf_error (out) : ERR_NOMEM;
}
