/* SPDX-License-Identifier: Apache-2.0 */
/* gendata - reproducible data for the benchmark, to standard output.
 *
 *   gendata [-s SEED] bytes SIZE          incompressible bytes (SIZE takes K, M, G)
 *   gendata [-s SEED] rows COUNT          COUNT rows of a table in the manner of sysbench's OLTP
 *                                         tables: id, k, c, pad, separated by tabs
 *   gendata [-s SEED] updates COUNT MAX   COUNT SQL transactions, each changing one random row of
 *                                         sbtest1 among the ids 1..MAX
 *
 * c is ten groups of eleven digits in 120 characters, pad five of them in 60, so that the pages
 * compress as such a table's do.  The same seed gives the same output on every machine. */
#include <errno.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BLOCK (1 << 20)

/* xoshiro256**, seeded by splitmix64: both public domain algorithms. */
static uint64_t state[4];

static void
seed_random (uint64_t seed)
{
  for (int i = 0; i < 4; i++) {
    uint64_t z = seed += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    state[i] = z ^ z >> 31;
  }
}

static uint64_t
rotl (uint64_t x, int k)
{
  return x << k | x >> (64 - k);
}

static inline uint64_t
next_random (void)
{
  uint64_t result = rotl (state[1] * 5, 7) * 9, t = state[1] << 17;
  state[2] ^= state[0];
  state[3] ^= state[1];
  state[1] ^= state[2];
  state[0] ^= state[3];
  state[2] ^= t;
  state[3] = rotl (state[3], 45);
  return result;
}

static int
write_all (const void *p, size_t n)
{
  for (const char *at = p; n > 0;) {
    ssize_t done = write (STDOUT_FILENO, at, n);
    if (done < 0 && errno != EINTR) {
      perror ("gendata: write");
      return 1;
    }
    if (done > 0) {
      at += done;
      n -= (size_t) done;
    }
  }
  return 0;
}

static int
emit_bytes (uint64_t size)
{
  static uint64_t block[BLOCK / sizeof (uint64_t)];
  while (size > 0) {
    for (size_t i = 0; i < BLOCK / sizeof *block; i++)
      block[i] = next_random ();
    size_t n = size < BLOCK ? size : BLOCK;
    if (write_all (block, n) != 0)
      return 1;
    size -= n;
  }
  return 0;
}

/* COUNT groups of eleven digits, joined by '-'; returns the end. */
static char *
put_groups (char *p, int count)
{
  for (int i = 0; i < count; i++) {
    uint64_t r = next_random ();
    if (i > 0)
      *p++ = '-';
    for (int digit = 0; digit < 11; digit++) {
      *p++ = (char) ('0' + r % 10);
      r /= 10;
    }
  }
  return p;
}

static int
emit_rows (uint64_t count)
{
  static char block[BLOCK];
  char *p = block;
  for (uint64_t id = 1; id <= count; id++) {
    p += snprintf (p, 64, "%" PRIu64 "\t%" PRIu64 "\t", id, next_random () % count + 1);
    p = put_groups (p, 10);
    *p++ = '\t';
    p = put_groups (p, 5);
    *p++ = '\n';
    if (p > block + BLOCK - 512) {
      if (write_all (block, (size_t) (p - block)) != 0)
        return 1;
      p = block;
    }
  }
  return write_all (block, (size_t) (p - block));
}

static int
emit_updates (uint64_t count, uint64_t max)
{
  char c[120];
  while (count-- > 0) {
    *put_groups (c, 10) = 0;
    printf ("UPDATE sbtest1 SET k = k + 1, c = '%s' WHERE id = %" PRIu64 ";\n", c,
            next_random () % max + 1);
  }
  return fflush (stdout) != 0;
}

static uint64_t
parse_size (const char *s)
{
  char *end;
  errno = 0;
  uint64_t n = strtoull (s, &end, 10);
  int shift = *end == 'K' ? 10 : *end == 'M' ? 20 : *end == 'G' ? 30 : 0;
  if (errno != 0 || end == s || (shift && end[1]) || (!shift && *end) || n > UINT64_MAX >> shift) {
    fprintf (stderr, "gendata: not a size: %s\n", s);
    exit (2);
  }
  return n << shift;
}

int
main (int argc, char **argv)
{
  uint64_t seed = 1;
  int opt;
  while ((opt = getopt (argc, argv, "s:")) == 's')
    seed = parse_size (optarg);
  argv += optind;
  argc -= optind;
  seed_random (seed);
  if (opt == -1 && argc == 2 && strcmp (argv[0], "bytes") == 0)
    return emit_bytes (parse_size (argv[1]));
  if (opt == -1 && argc == 2 && strcmp (argv[0], "rows") == 0)
    return emit_rows (parse_size (argv[1]));
  if (opt == -1 && argc == 3 && strcmp (argv[0], "updates") == 0 && parse_size (argv[2]) > 0)
    return emit_updates (parse_size (argv[1]), parse_size (argv[2]));
  fprintf (stderr, "usage: gendata [-s SEED] bytes SIZE | rows COUNT | updates COUNT MAX\n");
  return 2;
}
