/* SPDX-License-Identifier: Apache-2.0 */
#include "harden.h"

#include <fcntl.h>
#include <malloc.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"

void
harden_process (void)
{
  umask (077);
  /* A heap per thread would hold on to what each thread once used; large pieces (chunks, pages of
   * a tree) go back to the system at once, and fixed thresholds stay as they are. */
  mallopt (M_ARENA_MAX, 2);
  mallopt (M_MMAP_THRESHOLD, 512 << 10);
  mallopt (M_TRIM_THRESHOLD, 2 << 20);
#ifndef WITH_SANITIZER
  prctl (PR_SET_DUMPABLE, 0, 0, 0, 0);
  setrlimit (RLIMIT_CORE, &(struct rlimit){ 0, 0 });
#endif
}

void
notify_service (const char *state)
{
  const char *path = getenv ("NOTIFY_SOCKET");
  struct sockaddr_un to = { .sun_family = AF_UNIX };
  size_t n = path ? strlen (path) : 0;
  if (n < 2 || n >= sizeof to.sun_path || (*path != '/' && *path != '@'))
    return;
  memcpy (to.sun_path, path, n);
  if (*path == '@')
    to.sun_path[0] = 0; /* the abstract name space */
  AUTO_FD fd = socket (AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0)
    return;
  ssize_t sent = sendto (fd, state, strlen (state), MSG_NOSIGNAL, (struct sockaddr *) &to,
                         (socklen_t) (offsetof (struct sockaddr_un, sun_path) + n));
  (void) sent; /* systemd's own time limit tells of a message that was lost */
}

void
detach_from_terminal (void)
{
  AUTO_FD fd = open ("/dev/null", O_RDWR | O_CLOEXEC);
  if (fd < 0)
    return;
  for (int i = 0; i < 3; i++)
    dup2 (fd, i);
}
