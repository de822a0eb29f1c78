/* SPDX-License-Identifier: Apache-2.0 */
/* pipeline - the write pipeline without FUSE, one thread, stage by stage: what each costs in CPU
 * seconds per GiB of input (ruling 7).  It uses the units of src/store in the order in which the
 * daemon does, so a change that makes one dearer is seen before a benchmark of the whole is run.
 *
 *   pipeline [-r REPEATS] [-l LEVEL] [-o DIR] [-b MIB] NAME=FILE[,FILE...]...
 *
 * Each set is read REPEATS times (3) and the minimum of each stage is kept: the first touch of
 * memory in a virtual machine can cost a second per GiB.  Packs and the index go below DIR (/tmp)
 * and are removed.  The table is Markdown, for doc/benchmarks.md. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "format/pack.h"
#include "store/chunker.h"
#include "store/index.h"
#include "store/keys_priv.h"
#include "store/seal.h"
#include "store/sha_pair.h"

#define READ_BYTES (1u << 20) /* a large WRITE of FUSE */
#define SETS_MAX 8

enum stage {
  READ, CRC, CUT, COPY, ID, LOOKUP, ZSTD_, GCM, VERIFY, SHA, WRITE, STAGES
};
static const char *const stage_names[] = {
  "read from the page cache", "CRC-32C", "gear, cut", "copy into the chunk",
  "chunk id (HMAC-SHA-256); pack's name beside", "dedup lookup and insert", "zstd", "AES-256-GCM",
  "open again and compare", "the rest of the pack's name (SHA-256)", "write and fsync",
};

struct result {
  double cpu[STAGES];
  double bytes, stored, chunks, hits;
};

struct run {
  struct vault_keys *keys;
  struct sealer *sealer;
  struct sha256 *sha;
  struct gear gear;
  struct index *index;
  char dir[256];
  int level;
  uint64_t limit;
  uint8_t *in, *chunk, *pack;
  size_t chunk_len, pack_len, hashed; /* hashed: of the pack, beside ids */
  struct sha_stream name;
  uint32_t pack_no, packs, crc;
  bool is_pack_open;
  struct result now;
};

static void
die (const char *what)
{
  fprintf (stderr, "pipeline: %s: %s\n", what, strerror (errno));
  exit (1);
}

static void
must (int rc, const char *what)
{
  if (rc >= 0)
    return;
  fprintf (stderr, "pipeline: %s: %s\n", what, err_str (rc));
  exit (1);
}

static double
cpu_now (void)
{
  struct timespec t;
  clock_gettime (CLOCK_THREAD_CPUTIME_ID, &t);
  return (double) t.tv_sec + (double) t.tv_nsec * 1e-9;
}

/* Runs CODE and charges its CPU time to STAGE. */
#define TIMED(run, stage, code)                                               \
  do {                                                                        \
    double timed_from = cpu_now ();                                           \
    code;                                                                     \
    (run)->now.cpu[stage] += cpu_now () - timed_from;                         \
  } while (0)

static void
write_pack (struct run *r, const uint8_t name[32])
{
  char path[512], hex[65];
  hex_encode (name, 32, hex);
  snprintf (path, sizeof path, "%s/%s", r->dir, hex);
  int fd = open (path, O_WRONLY | O_CREAT | O_EXCL, 0600);
  if (fd < 0)
    die (path);
  for (size_t at = 0; at < r->pack_len;) {
    ssize_t put = write (fd, r->pack + at, r->pack_len - at);
    if (put < 0)
      die (path);
    at += (size_t) put;
  }
  if (fsync (fd) < 0 || close (fd) < 0 || unlink (path) < 0)
    die (path);
}

static void
end_pack (struct run *r)
{
  uint8_t name[32];
  if (!r->is_pack_open)
    return;
  TIMED (r, SHA, {
    if (sha_pair_is_there ()) {
      sha_stream_update (&r->name, r->pack + r->hashed, r->pack_len - r->hashed);
      sha_stream_final (&r->name, name);
    } else {
      sha256_reset (r->sha);
      sha256_update (r->sha, r->pack, r->pack_len);
      sha256_final (r->sha, name);
    }
  });
  TIMED (r, WRITE, write_pack (r, name));
  TIMED (r, LOOKUP, must (index_pack_done (r->index, r->pack_no, name, r->pack_len), "index"));
  r->now.stored += (double) r->pack_len;
  r->is_pack_open = false;
}

static void
begin_pack (struct run *r)
{
  uint8_t salt[PACK_SALT_LEN];
  random_bytes (salt, sizeof salt);
  pack_header_encode (PACK_DATA, salt, r->pack);
  r->pack_len = PACK_HEADER_LEN;
  r->hashed = 0;
  sha_stream_init (&r->name);
  must (index_pack_begin (r->index, PACK_DATA, &r->pack_no), "index");
  r->is_pack_open = true;
}

/* As find_id of pipeline.c. */
static void
chunk_id (struct run *r, uint8_t id[ID_LEN])
{
  size_t n = r->is_pack_open ? r->pack_len - r->hashed : 0;
  if (!sha_pair_is_there () || n == 0) {
    must (seal_id (r->sealer, r->keys, UNIT_DATA, r->chunk, r->chunk_len, id), "id");
    return;
  }
  if (n > r->chunk_len)
    n = r->chunk_len;
  seal_id_beside (r->keys, UNIT_DATA, r->chunk, r->chunk_len, id, &r->name, r->pack + r->hashed, n);
  r->hashed += n;
}

static void
end_chunk (struct run *r)
{
  struct chunk_ref ref = { .plain_len = (uint32_t) r->chunk_len }, known;
  struct seal_plan plan;
  bool is_known;
  if (r->chunk_len == 0)
    return;
  TIMED (r, ID, chunk_id (r, ref.id));
  TIMED (r, LOOKUP,
         is_known = index_find (r->index, UNIT_DATA, ref.id, ref.plain_len, &known));
  r->now.chunks++;
  r->now.hits += is_known;
  if (!is_known) {
    TIMED (r, ZSTD_,
           must (seal_prepare (r->sealer, UNIT_DATA, r->chunk, r->chunk_len, r->level, &plan),
                 "zstd"));
    ref.sealed_len = (uint32_t) seal_plan_len (&plan);
    if (r->is_pack_open && r->pack_len + ref.sealed_len > PACK_TARGET_BYTES)
      end_pack (r);
    if (!r->is_pack_open)
      begin_pack (r);
    ref.pack = r->pack_no;
    ref.off = (uint32_t) r->pack_len;
    uint8_t *at = r->pack + r->pack_len;
    TIMED (r, GCM, must (seal_finish (r->sealer, r->keys, ref.id, &plan, at), "seal"));
    TIMED (r, VERIFY,
           must (seal_verify (r->sealer, r->keys, UNIT_DATA, ref.id, at, ref.sealed_len, r->crc),
                 "verify"));
    r->pack_len += ref.sealed_len;
    TIMED (r, LOOKUP, must (index_add (r->index, UNIT_DATA, &ref), "index"));
  }
  r->chunk_len = 0;
  r->crc = 0;
}

static void
feed (struct run *r, struct chunker *c, const uint8_t *p, size_t n)
{
  while (n) {
    bool is_cut;
    size_t k;
    TIMED (r, CUT, k = chunker_scan (c, p, n, &is_cut));
    TIMED (r, CRC, r->crc = crc32c (r->crc, p, k));
    TIMED (r, COPY, memcpy (r->chunk + r->chunk_len, p, k));
    r->chunk_len += k;
    if (is_cut)
      end_chunk (r);
    p += k;
    n -= k;
  }
}

static void
one_file (struct run *r, const char *path)
{
  int fd = open (path, O_RDONLY);
  if (fd < 0)
    die (path);
  const char *slash = strrchr (path, '/');
  struct chunker c;
  for (uint64_t off = 0; r->limit == 0 || r->now.bytes < (double) r->limit;) {
    ssize_t got;
    TIMED (r, READ, got = pread (fd, r->in, READ_BYTES, (off_t) off));
    if (got < 0)
      die (path);
    if (got == 0)
      break;
    if (off == 0) {
      size_t head = got < 65536 ? (size_t) got : 65536;
      enum chunk_class class = class_of_file (slash ? slash + 1 : path, r->in, head);
      chunker_init (&c, &r->gear, class, 0);
    }
    feed (r, &c, r->in, (size_t) got);
    off += (uint64_t) got;
    r->now.bytes += (double) got;
  }
  end_chunk (r);
  close (fd);
}

/* "a,b,c": each file once. */
static void
one_set (struct run *r, const char *files)
{
  char path[4096];
  while (*files) {
    size_t n = strcspn (files, ",");
    if (n >= sizeof path)
      die ("path too long");
    memcpy (path, files, n);
    path[n] = 0;
    if (n)
      one_file (r, path);
    files += n + (files[n] == ',');
  }
  end_pack (r);
}

static void
keys_of_bench (struct run *r)
{
  uint8_t bytes[32] = { 1 };
  struct keyring k = { .scope = SCOPE_MASTER, .slot = "bench" };
  must (secret_new (bytes, &k.key), "keys");
  must (vault_keys_new (&k, "bench", &r->keys), "keys");
  secret_free (k.key);
  must (gear_init (&r->gear, vault_keys_chunker (r->keys)), "gear");
}

static void
remove_index (const char *dir)
{
  char command[600];
  snprintf (command, sizeof command, "rm -rf '%s'", dir);
  if (system (command) != 0)
    fprintf (stderr, "pipeline: could not remove %s\n", dir);
}

/* The minimum of each stage over the repeats; every repeat begins with an empty index. */
static void
measure (struct run *r, const char *files, int repeats, struct result *out)
{
  for (int i = 0; i < repeats; i++) {
    char dir[300];
    snprintf (dir, sizeof dir, "%s/index", r->dir);
    if (mkdir (dir, 0700) < 0)
      die (dir);
    r->now = (struct result){ .bytes = 0 };
    must (index_open (dir, &r->index), "index");
    one_set (r, files);
    index_free (r->index);
    remove_index (dir);
    if (r->now.bytes == 0)
      die ("no data in the set");
    for (int s = 0; s < STAGES; s++) {
      double cost = r->now.cpu[s] / (r->now.bytes / (1u << 30));
      if (i == 0 || cost < out->cpu[s])
        out->cpu[s] = cost;
    }
    out->bytes = r->now.bytes;
    out->stored = r->now.stored;
    out->chunks = r->now.chunks;
    out->hits = r->now.hits;
  }
}

static void
print_row (const char *name, const double *values, int n, int digits)
{
  printf ("| %s |", name);
  for (int i = 0; i < n; i++)
    printf (" %.*f |", digits, values[i]);
  printf ("\n");
}

static void
print_table (const struct result *results, char *const *names, int n)
{
  double row[SETS_MAX], sum[SETS_MAX] = { 0 };
  printf ("| stage, CPU s/GiB |");
  for (int i = 0; i < n; i++)
    printf (" %.*s |", (int) strcspn (names[i], "="), names[i]);
  printf ("\n| --- |");
  for (int i = 0; i < n; i++)
    printf (" --: |");
  printf ("\n");
  for (int s = 0; s < STAGES; s++) {
    for (int i = 0; i < n; i++)
      sum[i] += row[i] = results[i].cpu[s];
    print_row (stage_names[s], row, n, 3);
  }
  print_row ("**sum**", sum, n, 2);
  for (int i = 0; i < n; i++)
    row[i] = results[i].stored / results[i].bytes;
  print_row ("stored / read", row, n, 4);
  for (int i = 0; i < n; i++)
    row[i] = results[i].bytes / results[i].chunks / 1024;
  print_row ("mean chunk, KiB", row, n, 0);
  for (int i = 0; i < n; i++)
    row[i] = results[i].bytes / (1u << 20);
  print_row ("MiB read", row, n, 0);
}

int
main (int argc, char **argv)
{
  struct run r = { .level = 1 };
  const char *base = "/tmp";
  int opt, repeats = 3;
  while ((opt = getopt (argc, argv, "r:l:o:b:")) != -1)
    switch (opt) {
    case 'r': repeats = (int) strtol (optarg, NULL, 10); break;
    case 'l': r.level = (int) strtol (optarg, NULL, 10); break;
    case 'o': base = optarg; break;
    case 'b': r.limit = strtoull (optarg, NULL, 10) << 20; break;
    default: repeats = 0;
    }
  int sets = argc - optind;
  if (repeats < 1 || sets < 1 || sets > SETS_MAX) {
    fprintf (stderr, "usage: pipeline [-r REPEATS] [-l LEVEL] [-o DIR] [-b MIB] NAME=FILE,...\n");
    return 2;
  }
  snprintf (r.dir, sizeof r.dir, "%s/coffer-pipeline.XXXXXX", base);
  if (!mkdtemp (r.dir))
    die (base);
  r.in = malloc (READ_BYTES);
  r.chunk = malloc (CHUNK_MAX_BYTES);
  r.pack = malloc (PACK_TARGET_BYTES + CHUNK_MAX_BYTES);
  if (!r.in || !r.chunk || !r.pack)
    die ("memory");
  keys_of_bench (&r);
  must (sealer_new (&r.sealer), "sealer");
  must (sha256_new (&r.sha), "sha256");
  struct result results[SETS_MAX];
  for (int i = 0; i < sets; i++) {
    const char *files = strchr (argv[optind + i], '=');
    measure (&r, files ? files + 1 : argv[optind + i], repeats, &results[i]);
  }
  print_table (results, argv + optind, sets);
  vault_keys_free (r.keys);
  sealer_free (r.sealer);
  sha256_free (r.sha);
  free (r.in);
  free (r.chunk);
  free (r.pack);
  return rmdir (r.dir) < 0;
}
