/* SPDX-License-Identifier: Apache-2.0 */
/* cleanup - scope-bound release of locals.
 *
 *   AUTO (packer) p = NULL;     calls packer_freep (&p) when p goes out of scope
 *   *out = STEAL (p);           reads p and sets it to NULL, so the cleanup does nothing
 *
 * A type takes part by DEFINE_FREEP (packer), which needs `void packer_free (struct packer *)`.
 */
#ifndef COFFER_BASE_CLEANUP_H
#define COFFER_BASE_CLEANUP_H

#include <stdlib.h>
#include <unistd.h>

#define DEFINE_FREEP(name)                                                    \
  static inline void name##_freep (struct name **p)                           \
  {                                                                           \
    name##_free (*p);                                                         \
  }                                                                           \
  struct name

#define AUTO(name) __attribute__ ((cleanup (name##_freep))) struct name *

#define STEAL(p)                                                              \
  ({                                                                          \
    __typeof__ (p) steal_tmp = (p);                                           \
    (p) = NULL;                                                               \
    steal_tmp;                                                                \
  })

static inline void
free_charp (char **p)
{
  free (*p);
}
static inline void
free_voidp (void *p)
{
  free (*(void **) p);
}
static inline void
close_fdp (int *fd)
{
  if (*fd >= 0)
    close (*fd);
}
#define AUTO_STR __attribute__ ((cleanup (free_charp))) char *
#define AUTO_MEM __attribute__ ((cleanup (free_voidp)))
#define AUTO_FD __attribute__ ((cleanup (close_fdp))) int

#endif
