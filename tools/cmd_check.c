/* SPDX-License-Identifier: Apache-2.0 */
#include <fnmatch.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#define LOG_MODULE "check"
#include "base/log.h"
#include "check.h"
#include "commands.h"
#include "out.h"
#include "snaplist.h"
#include "snapshot/catalog.h"
#include "snapshot/sealed.h"
#include "walk.h"

/* A snapshot under check. */
struct subject {
  struct check *c;
  char name[256];
  struct sealed *tree;
  bool is_bad;     /* something of it is */
  json_t *entry;   /* with --json */
};

void
check_bad_object (struct check *c, const char *key, const char *reason)
{
  c->bad_objects++;
  progress_end (&c->progress);
  if (c->bad)
    json_array_append_new (c->bad, json_pack ("{s:s, s:s, s:s}", "region", c->store->name,
                                              "object", key, "reason", reason));
  else
    printf ("damaged  %s  %s: %s\n", c->store->name, key, reason);
}

static void
hit_snapshot (struct subject *s, const char *reason)
{
  struct check *c = s->c;
  if (!s->is_bad)
    c->bad_snapshots++;
  s->is_bad = true;
  if (!c->bad) {
    printf ("hit      %s: %s\n", s->name, reason);
    return;
  }
  if (!s->entry) {
    s->entry = json_pack ("{s:s, s:[], s:[]}", "snapshot", s->name, "reasons", "files");
    json_array_append_new (c->bad, s->entry);
  }
  json_array_append_new (json_object_get (s->entry, "reasons"), json_string (reason));
}

static void
hit_file (struct subject *s, const char *path, uint64_t off, const char *reason)
{
  struct check *c = s->c;
  char at[64];
  c->bad_files++;
  if (!s->is_bad)
    hit_snapshot (s, "files in it are damaged");
  snprintf (at, sizeof at, "from byte %llu", (unsigned long long) off);
  if (!c->bad) {
    char shown[4 * PATH_MAX]; /* a report of one line a file, whoever reads it */
    printf ("         %s/%s, %s: %s\n", s->name, text_show (path, shown, sizeof shown), at, reason);
    return;
  }
  json_t *o = json_pack ("{s:I, s:s}", "offset", (json_int_t) off, "reason", reason);
  out_json_name (o, "path", path);
  json_array_append_new (json_object_get (s->entry, "files"), o);
}

static void
on_damage (void *ctx, const char *path, int rc)
{
  struct subject *s = ctx;
  char reason[5000], shown[4096];
  if (err_is_transient (rc) || rc == ERR_NOMEM || rc == ERR_CANCELLED || rc == ERR_DENIED)
    s->c->transient = rc;
  snprintf (reason, sizeof reason, "a page of the tree cannot be read, all below \"%s\" is lost: "
                                   "%s", text_show (path, shown, sizeof shown), err_str (rc));
  hit_snapshot (s, reason);
}

/* Reads the chunk as a restore would. */
static const char *
try_chunk (struct subject *s, const struct chunk_ref *ref, const uint8_t pack[PACK_NAME_LEN])
{
  struct vault *v = s->tree->vault;
  struct chunk_want want = { .src = &v->source, .ref = *ref, .type = UNIT_DATA };
  struct chunk_view *view;
  memcpy (want.pack, pack, PACK_NAME_LEN);
  int rc = reader_load (v->region->mount->reader, &want, 1, READER_ONCE | READER_NO_CACHE, &view);
  if (rc == 0)
    chunk_view_unref (view);
  else if (err_is_transient (rc))
    s->c->transient = rc;
  return rc == 0 ? NULL : "its chunk does not open";
}

/* Each extent: its pack is there, it lies in it, its chunk was not found bad. */
static int
check_extents (struct subject *s, const struct walk_entry *e)
{
  AUTO (sealed_file) f = NULL;
  int rc = sealed_file_open (s->tree, e->row, 0, &f);
  for (uint64_t off = 0; rc == 0 && off < e->size;) {
    struct mapped m;
    uint8_t pack[PACK_NAME_LEN];
    rc = sealed_file_get (f, off, 0, &m, pack);
    if (rc < 0)
      break;
    const char *fault = NULL;
    bool is_suspect = false;
    if (m.e.kind == EXTENT_DATA)
      fault = check_chunk_fault (&s->c->packs, pack, m.e.ref.off, m.e.ref.sealed_len,
                                 &is_suspect);
    if (!fault && is_suspect)
      fault = try_chunk (s, &m.e.ref, pack);
    if (!fault && s->c->read_data && m.e.kind == EXTENT_DATA)
      rc = check_chunk_listed (s->c, &m.e.ref, pack, &fault);
    if (rc < 0)
      break;
    if (fault) {
      hit_file (s, e->path, off, fault);
      return 0; /* the first place is enough to name the file */
    }
    if (m.e.len == 0 || m.off > off)
      return ERR_FORMAT;
    off = m.off + m.e.len;
  }
  return rc;
}

static int
on_entry (void *ctx, const struct walk_entry *e)
{
  struct subject *s = ctx;
  if (e->kind != NODE_FILE)
    return 0;
  s->c->files++;
  int rc = check_extents (s, e);
  if (rc < 0) {
    if (err_is_transient (rc) || rc == ERR_NOMEM)
      return rc;
    hit_file (s, e->path, 0, "the list of its extents cannot be read");
  }
  return 0;
}

/* The packs that the manifest names: all there? */
static int
check_pack_list (struct subject *s)
{
  struct vault *v = s->tree->vault;
  AUTO_PART part = NULL;
  int held = sealed_hold (s->tree, SEALED_MANIFEST, 0, &part);
  if (held < 0)
    return held;
  const struct manifest *m = &part->manifest;
  size_t missing = 0;
  for (size_t i = 0; i < m->pack_count; i++) {
    AUTO_BUF plain;
    AUTO_MEM struct pack_use *uses = NULL;
    size_t n = 0;
    struct chunk_want want = { .src = &v->source, .ref = m->packs[i].ref, .type = UNIT_PACK_LIST };
    memcpy (want.pack, m->packs[i].pack, PACK_NAME_LEN);
    buf_init (&plain, unit_plain_max (UNIT_PACK_LIST));
    int rc = reader_unit (v->region->mount->reader, &want, &plain);
    if (rc >= 0)
      rc = pack_list_decode (plain.data, plain.len, &uses, &n);
    if (rc < 0)
      return rc;
    for (size_t k = 0; k < n; k++) {
      const struct check_pack *p = check_packs_find (&s->c->packs, uses[k].name);
      if (!p) {
        char hex[65], reason[128];
        hex_encode (uses[k].name, PACK_NAME_LEN, hex);
        snprintf (reason, sizeof reason, "pack %.16s... is missing", hex);
        if (missing++ < 10)
          hit_snapshot (s, reason);
      }
    }
  }
  return 0;
}

static int
check_tree (struct subject *s)
{
  int rc = check_pack_list (s);
  if (err_is_transient (rc))
    return rc;
  if (rc < 0)
    hit_snapshot (s, "the list of its packs cannot be read");
  return walk_tree (s->tree, 0, on_entry, on_damage, s);
}

/* Those that the manifest names as sealed before it are shown by the store (ruling 21). */
static void
check_named (struct subject *s)
{
  struct check *c = s->c;
  AUTO_PART part = NULL;
  if (sealed_hold (s->tree, SEALED_MANIFEST, 0, &part) < 0) {
    hit_snapshot (s, "its manifest cannot be read a second time");
    return;
  }
  const struct manifest *m = &part->manifest;
  for (size_t i = 0; i < m->newest_count; i++) {
    char hex[2 * DIGEST_LEN + 1], key[BLOB_KEY_MAX], reason[512];
    bool is_known = false;
    hex_encode (m->newest[i], DIGEST_LEN, hex);
    for (size_t k = 0; !is_known && k < c->item_count; k++)
      is_known = c->items[k].is_sealed && strcmp (c->items[k].digest, hex) == 0;
    for (size_t at = 0; !is_known && at < c->lacking.len; at += DIGEST_LEN)
      is_known = memcmp (c->lacking.data + at, m->newest[i], DIGEST_LEN) == 0;
    if (is_known)
      continue;
    buf_put (&c->lacking, m->newest[i], DIGEST_LEN);
    snprintf (key, sizeof key, "vaults/%s/snapshots/*.%s.sealed", c->vault, hex);
    snprintf (reason, sizeof reason, "it is not there, and %s names it as sealed before: the store "
                                     "was rolled back, or it was removed behind coffer", s->name);
    check_bad_object (c, key, reason);
  }
}

static int
check_snapshot (struct check *c, const struct catalog_item *item)
{
  struct subject s = { .c = c };
  struct vault *v;
  char key[BLOB_KEY_MAX];
  c->snapshots++;
  snprintf (s.name, sizeof s.name, "%s/%s/%s", c->store->name, c->vault, item->name.ts);
  if (c->cli->verbosity)
    cli_say (c->cli, "checking %s", s.name);
  int rc = wire_vault (c->store, c->vault, &v);
  if (rc == 0)
    rc = sealed_open (v, item->name.ts, item->digest, &s.tree);
  if (rc == 0) {
    check_named (&s);
    rc = check_tree (&s);
    sealed_free (s.tree);
  } else if (!err_is_transient (rc) && rc != ERR_NOMEM) {
    snprintf (key, sizeof key, "vaults/%s/snapshots/%s.%s.sealed", c->vault, item->name.ts,
              item->digest);
    check_bad_object (c, key, "the manifest, or the index of its tree, cannot be read");
    hit_snapshot (&s, "all of it");
    rc = 0;
  }
  return rc;
}

static int
check_vault (struct check *c, const struct snap_filter *f)
{
  AUTO_MEM struct catalog_item *items = NULL;
  size_t n = 0, matching = 0, skip = 0;
  c->vaults++;
  /* Snapshots first: whatever they refer to was there before them. */
  int rc = catalog_list (c->store->blob, c->vault, "", &items, &n);
  if (rc == 0)
    rc = check_packs_load (c);
  c->items = items;
  c->item_count = n;
  buf_init (&c->lacking, 1u << 20);
  for (size_t i = 0; i < n; i++)
    matching += items[i].is_sealed;
  if (f->last && matching > f->last)
    skip = matching - f->last;
  for (size_t i = 0; rc == 0 && i < n; i++)
    if (items[i].is_sealed && !(skip && skip--)
        && (!f->since || items[i].name.instant >= f->since)
        && (!f->until || items[i].name.instant <= f->until))
      rc = check_snapshot (c, &items[i]);
  check_packs_release (&c->packs);
  buf_release (&c->lacking);
  return rc;
}

static int
check_store (struct check *c, const struct snap_filter *f)
{
  AUTO_BUF vaults;
  buf_init (&vaults, 64u << 20);
  int rc = catalog_vaults (c->store->blob, &vaults);
  for (const char *p = (const char *) vaults.data, *end = p + vaults.len; rc == 0 && p < end;
       p += strlen (p) + 1) {
    AUTO (vault_keys) keys = NULL;
    if (f->vault && fnmatch (f->vault, p, 0) != 0)
      continue;
    rc = vault_keys_new (c->store->keys, p, &keys);
    if (rc == ERR_DENIED) {
      cli_say (c->cli, "not checked, this key does not open it: %s/%s", c->store->name, p);
      rc = 0;
      continue;
    }
    c->vault = p;
    if (rc == 0)
      rc = check_vault (c, f);
  }
  return rc < 0 ? wire_fail (c->cli, c->store, rc, "check the store") : 0;
}

static int
report (struct check *c, int worst)
{
  bool is_bad = c->bad_objects || c->bad_snapshots;
  int status = is_bad ? EXIT_DAMAGE : worst ? worst : c->transient ? cli_exit_of (c->transient) : 0;
  if (c->bad) {
    out_json (c->cli, json_pack ("{s:b, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "ok",
                                 status == 0, "read_data", c->read_data, "databases",
                                 (json_int_t) c->vaults, "snapshots", (json_int_t) c->snapshots,
                                 "files", (json_int_t) c->files, "packs",
                                 (json_int_t) c->packs_seen, "bad_objects",
                                 (json_int_t) c->bad_objects, "bad_snapshots",
                                 (json_int_t) c->bad_snapshots, "bad_files",
                                 (json_int_t) c->bad_files, "bad", c->bad));
    return status;
  }
  if (!c->cli->is_quiet)
    printf ("checked  %llu databases, %llu snapshots, %llu files, %llu packs%s\n",
            (unsigned long long) c->vaults, (unsigned long long) c->snapshots,
            (unsigned long long) c->files, (unsigned long long) c->packs_seen,
            c->read_data ? ", all data read" : "; data not read (--read-data)");
  if (is_bad)
    cli_refuse (c->cli, EXIT_DAMAGE,
                "damage: %llu objects; %llu snapshots and %llu files are hit. Put the objects "
                "back from a copy of the store if there is one; what is not named above is whole",
                (unsigned long long) c->bad_objects, (unsigned long long) c->bad_snapshots,
                (unsigned long long) c->bad_files);
  else if (c->transient)
    cli_refuse (c->cli, (enum exit_status) status, "not all could be read (%s): check again",
                err_str (c->transient));
  else if (!worst && !c->cli->is_quiet)
    printf ("no damage found\n");
  return status;
}

/* So that `.coffer/history` tells when the store was last checked, and what came of it. */
static void
note_check (const struct check *c, const struct mounted *m, int status)
{
  char reply[512], line[8192];
  json_t *o = json_pack ("{s:s, s:b, s:i, s:s, s:I, s:I, s:I, s:I, s:I, s:I}", "event", "check",
                         "read_data", c->read_data, "status", status, "result",
                         status == 0 ? "done" : status == EXIT_DAMAGE ? "damage"
                         : status == EXIT_TRANSIENT ? "transient" : "failed",
                         "snapshots", (json_int_t) c->snapshots, "files", (json_int_t) c->files,
                         "packs", (json_int_t) c->packs_seen, "bad_objects",
                         (json_int_t) c->bad_objects, "bad_snapshots",
                         (json_int_t) c->bad_snapshots, "bad_files", (json_int_t) c->bad_files);
  char *text = json_dumps (o, JSON_COMPACT | JSON_PRESERVE_ORDER);
  snprintf (line, sizeof line, "note %s", text ? text : "");
  if (mounted_command (m, line, reply, sizeof reply) < 0) /* who may not order may check */
    log_debug ("the check is not noted in the history reply=\"%s\"", reply);
  free (text);
  json_decref (o);
}

/* A path in a mount means the stores behind it: .coffer/config says which and with which keys. */
static int
config_of_mount (const struct cli *cli, const struct mounted *m, struct config **out)
{
  AUTO_BUF why;
  AUTO (config) c = NULL;
  char path[2 * PATH_MAX];
  buf_init (&why, 1 << 16);
  snprintf (path, sizeof path, "%s/.coffer/config", m->top);
  int rc = config_new (&c);
  if (rc == 0)
    rc = config_load (c, path, &why);
  if (rc < 0)
    return cli_refuse (cli, EXIT_FAILED, "cannot read the settings of the mount: %.*s. Give the "
                                         "store's URL and key instead", (int) why.len,
                       why.data ? (const char *) why.data : "");
  *out = STEAL (c);
  return 0;
}

static int
run (struct cli *cli)
{
  AUTO_PLACE p = { .config = NULL };
  struct snap_filter f;
  int status = snap_filter_read (cli, &f);
  if (status == 0)
    status = place_find (cli, cli->arg_count ? cli->args[0] : NULL, &p);
  if (status == 0 && p.is_mount)
    status = config_of_mount (cli, &p.mount, &p.config);
  if (status)
    return status;
  struct check c = { .cli = cli, .read_data = cli_has (cli, "read-data") };
  if (cli->is_json)
    c.bad = json_array ();
  int worst = 0;
  for (size_t i = 0; i < config_regions (p.config); i++) {
    if (f.region && fnmatch (f.region, config_region_name (p.config, i), 0) != 0)
      continue;
    AUTO_STORE s = { .blob = NULL };
    c.store = &s;
    status = wire_open_store (cli, p.config, (int) i, &s);
    if (status == 0)
      status = check_store (&c, &f);
    worst = status ? status : worst;
  }
  status = report (&c, worst);
  if (p.is_mount)
    note_check (&c, &p.mount, status);
  if (p.is_mount && mounted_shows_less (&p.mount))
    return cli_refuse (cli, EXIT_DAMAGE, "the store shows less than this host has seen before: "
                                         "coffer status --health %s tells where", p.mount.top);
  return status;
}

static const struct option_row options[] = {
  { "read-data", 0, NULL, "read and prove every byte of every pack, not only that it is there" },
  SNAP_FILTER_OPTIONS,
  { NULL, 0, NULL, NULL },
};
const struct command cmd_check = {
  .name = "check",
  .args = "[URL|MOUNT]",
  .brief = "Look for damage: bad objects, and the snapshots and files they hit.",
  .detail = "Without --read-data: manifests, trees, and that all packs are there. Exit status 4 if "
            "there is damage.",
  .options = options,
  .flags = COMMAND_STORE,
  .max_args = 1,
  .run = run,
};
