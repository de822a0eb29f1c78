/* SPDX-License-Identifier: Apache-2.0 */
/* writeload - writes many files from several threads, as databases and mail spools do.
 *
 *   writeload [-t THREADS] [-n FILES] [-z SIZE] [-b BLOCK] [-s] [-d SECONDS] [-r SEED] DIR
 *     -t  threads (1); each takes the next file that nobody has taken
 *     -n  number of files (1), named DIR/f000000 and so on
 *     -z  bytes in each (0)          -b  bytes in each write (1M)
 *     -s  fsync each file before its close
 *     -d  stop writing after so many seconds, whatever was asked
 *     -r  seed of the incompressible contents
 *
 * Prints one JSON object: wall seconds, files, bytes, and the longest time of a single write,
 * fsync and close in milliseconds.  Exit 1 on the first error. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define FILES_MAX 10000000
#define BLOCK_MAX (16u << 20)

static struct {
  const char *dir;
  long threads, files, seconds;
  uint64_t size, block, seed;
  bool is_synced;
} job = { .threads = 1, .files = 1, .block = 1 << 20, .seed = 1 };

static atomic_long next_file;
static atomic_int failed;
static atomic_uint_fast64_t bytes_done, files_done;
static double deadline;

struct worst {
  double write_ms, fsync_ms, close_ms;
};

static double
now (void)
{
  struct timespec t;
  clock_gettime (CLOCK_MONOTONIC, &t);
  return (double) t.tv_sec + (double) t.tv_nsec / 1e9;
}

/* Milliseconds since FROM go into *worst if they are more. */
static void
note (double from, double *worst)
{
  double ms = (now () - from) * 1e3;
  if (ms > *worst)
    *worst = ms;
}

static void
fail (const char *what, const char *path)
{
  fprintf (stderr, "writeload: %s %s: %s\n", what, path, strerror (errno));
  atomic_store (&failed, 1);
}

/* splitmix64 over the block: every file and every block differs. */
static void
fill (uint8_t *p, size_t n, uint64_t *seed)
{
  for (size_t i = 0; i + 8 <= n; i += 8) {
    uint64_t z = *seed += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    z ^= z >> 31;
    memcpy (p + i, &z, 8);
  }
}

static bool
write_file (const char *path, int fd, uint8_t *block, uint64_t *seed, struct worst *worst)
{
  for (uint64_t off = 0; off < job.size && !(deadline > 0 && now () > deadline);) {
    size_t n = job.size - off < job.block ? (size_t) (job.size - off) : (size_t) job.block;
    fill (block, n, seed);
    double t = now ();
    ssize_t done = write (fd, block, n);
    note (t, &worst->write_ms);
    if (done < 0) {
      fail ("write", path);
      return false;
    }
    off += (uint64_t) done;
    atomic_fetch_add (&bytes_done, (uint64_t) done);
  }
  double t = now ();
  if (job.is_synced && fsync (fd) != 0) {
    fail ("fsync", path);
    return false;
  }
  note (t, &worst->fsync_ms);
  return true;
}

static void *
run (void *arg)
{
  struct worst *worst = arg;
  uint8_t *block = calloc (1, job.block);
  long i;
  while (block != NULL && !failed && (i = atomic_fetch_add (&next_file, 1)) < job.files) {
    char path[4096];
    uint64_t seed = job.seed * 0x100000001b3u + (uint64_t) i * 0x632be59bd9b4e019u;
    snprintf (path, sizeof path, "%s/f%06ld", job.dir, i);
    int fd = open (path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (fd < 0) {
      fail ("open", path);
      break;
    }
    bool is_written = write_file (path, fd, block, &seed, worst);
    double t = now ();
    if (close (fd) != 0 && is_written)
      fail ("close", path);
    note (t, &worst->close_ms);
    if (is_written)
      atomic_fetch_add (&files_done, 1);
  }
  free (block);
  return NULL;
}

static uint64_t
parse (const char *s, uint64_t max)
{
  char *end;
  errno = 0;
  uint64_t n = strtoull (s, &end, 10);
  int shift = *end == 'K' ? 10 : *end == 'M' ? 20 : *end == 'G' ? 30 : 0;
  if (errno != 0 || end == s || end[shift != 0] != 0 || n > max >> shift) {
    fprintf (stderr, "writeload: not a number up to %llu: %s\n", (unsigned long long) max, s);
    exit (2);
  }
  return n << shift;
}

static void
options (int argc, char **argv)
{
  int c;
  while ((c = getopt (argc, argv, "t:n:z:b:sd:r:")) != -1)
    switch (c) {
    case 't': job.threads = (long) parse (optarg, 1024); break;
    case 'n': job.files = (long) parse (optarg, FILES_MAX); break;
    case 'z': job.size = parse (optarg, UINT64_MAX / 2); break;
    case 'b': job.block = parse (optarg, BLOCK_MAX); break;
    case 's': job.is_synced = true; break;
    case 'd': job.seconds = (long) parse (optarg, 86400); break;
    case 'r': job.seed = parse (optarg, UINT64_MAX); break;
    default: exit (2);
    }
  if (optind != argc - 1 || job.threads == 0 || job.block == 0) {
    fprintf (stderr, "usage: writeload [-t THREADS] [-n FILES] [-z SIZE] [-b BLOCK] [-s]"
                     " [-d SECONDS] [-r SEED] DIR\n");
    exit (2);
  }
  job.dir = argv[optind];
}

int
main (int argc, char **argv)
{
  options (argc, argv);
  pthread_t *threads = calloc ((size_t) job.threads, sizeof *threads);
  struct worst *worst = calloc ((size_t) job.threads, sizeof *worst), all = { 0 };
  if (threads == NULL || worst == NULL)
    return 1;
  double start = now ();
  deadline = job.seconds > 0 ? start + (double) job.seconds : 0;
  for (long i = 0; i < job.threads; i++)
    if (pthread_create (&threads[i], NULL, run, &worst[i]) != 0) {
      fprintf (stderr, "writeload: cannot start thread %ld\n", i);
      return 1;
    }
  for (long i = 0; i < job.threads; i++) {
    pthread_join (threads[i], NULL);
    all.write_ms = worst[i].write_ms > all.write_ms ? worst[i].write_ms : all.write_ms;
    all.fsync_ms = worst[i].fsync_ms > all.fsync_ms ? worst[i].fsync_ms : all.fsync_ms;
    all.close_ms = worst[i].close_ms > all.close_ms ? worst[i].close_ms : all.close_ms;
  }
  printf ("{\"wall\": %.3f, \"files\": %llu, \"bytes\": %llu, \"worst_write_ms\": %.1f,"
          " \"worst_fsync_ms\": %.1f, \"worst_close_ms\": %.1f}\n",
          now () - start, (unsigned long long) files_done, (unsigned long long) bytes_done,
          all.write_ms, all.fsync_ms, all.close_ms);
  free (threads);
  free (worst);
  return failed;
}
