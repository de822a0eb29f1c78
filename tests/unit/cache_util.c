/* SPDX-License-Identifier: Apache-2.0 */
#include "unit/cache_util.h"

#include <dirent.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

const uint8_t unit_store[STORE_ID_LEN] = "a store";

static uint64_t
mix (uint64_t x)
{
  x ^= x >> 31;
  x *= 0x7fb5d329728ea185u;
  x ^= x >> 27;
  x *= 0x81dadef4bc2dd44du;
  return x ^ x >> 33;
}

void
unit_pack (uint32_t n, uint8_t out[PACK_NAME_LEN])
{
  for (int i = 0; i < PACK_NAME_LEN; i += 8)
    put_le64 (out + i, mix (n * 4 + (uint64_t) i / 8 + 1));
}

static void
unit_bytes (uint32_t pack, uint32_t off, uint32_t len, uint8_t *out)
{
  uint64_t x = mix ((uint64_t) pack << 32 | off);
  for (uint32_t i = 0; i < len; i++) {
    if (i % 8 == 0)
      x = mix (x + 1);
    out[i] = (uint8_t) (x >> i % 8 * 8);
  }
}

void
put_unit (struct blockcache *c, uint32_t pack, uint32_t off, uint32_t len)
{
  uint8_t name[PACK_NAME_LEN], *p = malloc (len);
  unit_pack (pack, name);
  unit_bytes (pack, off, len, p);
  blockcache_put (c, unit_store, name, off, len, p);
  free (p);
}

bool
has_unit (struct blockcache *c, uint32_t pack, uint32_t off, uint32_t len)
{
  uint8_t name[PACK_NAME_LEN], *p = malloc (len), *want = malloc (len);
  unit_pack (pack, name);
  bool is_hit = blockcache_get (c, unit_store, name, off, len, p);
  unit_bytes (pack, off, len, want);
  bool is_same = !is_hit || memcmp (p, want, len) == 0;
  free (p);
  free (want);
  if (!is_same) {
    fprintf (stderr, "a hit with wrong content: pack %u off %u len %u\n", pack, off, len);
    _exit (1);
  }
  return is_hit;
}

struct blockcache *
cache_at (const char *dir, uint64_t max)
{
  struct blockcache *c = NULL;
  if (blockcache_open (dir, max, &c) != 0) {
    fprintf (stderr, "cannot open %s\n", dir);
    _exit (1);
  }
  return c;
}

uint64_t
dir_bytes (const char *dir)
{
  uint64_t n = 0;
  DIR *d = opendir (dir);
  for (struct dirent *e; d && (e = readdir (d));) {
    char path[4096];
    struct stat st;
    snprintf (path, sizeof path, "%s/%s", dir, e->d_name);
    if (e->d_name[0] != '.' && stat (path, &st) == 0)
      n += (uint64_t) st.st_size;
  }
  if (d)
    closedir (d);
  return n;
}

static int
remove_one (const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
  return remove (path);
}

void
remove_tree (const char *path)
{
  nftw (path, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

int
dir_make (void **state)
{
  const char *tmp = getenv ("TMPDIR");
  char *dir = malloc (256);
  snprintf (dir, 256, "%s/coffer-cache-XXXXXX", tmp ? tmp : "/tmp");
  *state = mkdtemp (dir);
  return *state ? 0 : -1;
}

int
dir_remove (void **state)
{
  remove_tree (*state);
  free (*state);
  return 0;
}
