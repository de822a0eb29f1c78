/* SPDX-License-Identifier: Apache-2.0 */
/* make_seeds DIR - writes every example to DIR/<decoder>/<name>.  For new golden files; those
 * that are shipped are never changed. */
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

#include "examples.h"

int
main (int argc, char **argv)
{
  if (argc != 2) {
    fprintf (stderr, "usage: make_seeds DIR\n");
    return 2;
  }
  for (const struct example *e = examples; e->decoder; e++) {
    char path[4096];
    AUTO_BUF b;
    buf_init (&b, 1u << 20);
    snprintf (path, sizeof path, "%s/%s", argv[1], e->decoder);
    if (mkdir (path, 0777) < 0 && errno != EEXIST) {
      perror (path);
      return 1;
    }
    snprintf (path, sizeof path, "%s/%s/%s", argv[1], e->decoder, e->name);
    FILE *f = e->build (&b) == 0 ? fopen (path, "wb") : NULL;
    if (!f || fwrite (b.data, 1, b.len, f) != b.len || fclose (f) != 0) {
      perror (path);
      return 1;
    }
  }
  return 0;
}
