/* SPDX-License-Identifier: Apache-2.0 */
/* replay - runs one fuzz target over files, without a fuzzer: what `make check` does.
 *
 * Without arguments: tests/fuzz/corpus/<decoder>/ and tests/golden/v1/codec/<decoder>/ below
 * $srcdir. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "targets.h"

static int files;

static void
replay_file (const char *path)
{
  FILE *f = fopen (path, "rb");
  struct stat st;
  if (!f || fstat (fileno (f), &st) < 0) {
    perror (path);
    exit (1);
  }
  size_t n = (size_t) st.st_size;
  uint8_t *p = malloc (n ? n : 1); /* exactly as long: an over-read is seen */
  if (!p || fread (p, 1, n, f) != n) {
    perror (path);
    exit (1);
  }
  fclose (f);
  LLVMFuzzerTestOneInput (p, n);
  free (p);
  files++;
}

static void
replay (const char *path)
{
  DIR *d = opendir (path);
  if (!d) {
    if (errno == ENOTDIR)
      replay_file (path);
    return; /* not every target has both directories */
  }
  for (struct dirent *e; (e = readdir (d));) {
    char name[4096];
    if (e->d_name[0] == '.')
      continue;
    snprintf (name, sizeof name, "%s/%s", path, e->d_name);
    replay (name);
  }
  closedir (d);
}

int
main (int argc, char **argv)
{
  const char *srcdir = getenv ("srcdir");
  char path[4096];
  for (int i = 1; i < argc; i++)
    replay (argv[i]);
  if (argc == 1) {
    snprintf (path, sizeof path, "%s/tests/fuzz/corpus/%s", srcdir ? srcdir : ".", fuzz_name);
    replay (path);
    snprintf (path, sizeof path, "%s/tests/golden/v1/codec/%s", srcdir ? srcdir : ".", fuzz_name);
    replay (path);
  }
  printf ("%s: %d inputs\n", fuzz_name, files);
  return files ? 0 : 1;
}
