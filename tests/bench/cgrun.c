/* SPDX-License-Identifier: Apache-2.0 */
/* cgrun - runs a command in a control group and says what all processes of the group cost.
 *
 *   cgrun [-g GROUP] [-x] [-o FILE] [--] COMMAND [ARG...]
 *   cgrun -d GROUP
 *
 * Without -g the group is new and removed afterwards.  With it the group is made if missing and
 * kept: a daemon started by one cgrun -g is counted in the next one of the same name, which is how
 * the work a FUSE daemon does for `cp` is charged to `cp`.  -d removes a group; it fails, naming
 * the processes, if any is left in it.  With -x the command stays outside of the group: what is
 * reported is what the group alone, say a daemon, did meanwhile.
 *
 * FILE (default standard error) gets one JSON object:
 *   wall            seconds from fork to exit of the command
 *   cpu             CPU seconds of all processes of the group in that time
 *   peak_memory     bytes: the most the group held, less file cache (shared memory stays counted)
 *   peak_anon       bytes: the most anonymous memory the group held
 *   status          exit status of the command (128 + N: killed by signal N); also cgrun's own
 *
 * Memory is sampled every 10 ms: `memory.peak` of the kernel would count the file cache too.
 * Works with control groups version 2 (cpu.stat is in each group; memory where the controller is
 * enabled), version 1 (cpuacct and memory) and both at once.  Needs root. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SAMPLE_NS 10000000
#define CGROUP "/sys/fs/cgroup"

/* Directories of the group; an empty string: not there. */
struct group {
  char cpu[PATH_MAX], memory[PATH_MAX];
  bool cpu_is_v2, memory_is_v2;
};

struct memory {
  uint64_t total, anon;
};

static void
die (const char *what, const char *on)
{
  fprintf (stderr, "cgrun: %s %s: %s\n", what, on, strerror (errno));
  exit (125);
}

static bool
exists (const char *dir, const char *file)
{
  char path[PATH_MAX + 64];
  snprintf (path, sizeof path, "%s/%s", dir, file);
  return access (path, F_OK) == 0;
}

/* Whole of a small file, NUL-terminated; false if it cannot be read. */
static bool
slurp (const char *dir, const char *file, char *buf, size_t cap)
{
  char path[PATH_MAX + 64];
  snprintf (path, sizeof path, "%s/%s", dir, file);
  int fd = open (path, O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    return false;
  size_t n = 0;
  for (ssize_t got; n < cap - 1 && (got = read (fd, buf + n, cap - 1 - n)) > 0;)
    n += (size_t) got;
  buf[n] = 0;
  close (fd);
  return true;
}

static bool
spill (const char *dir, const char *file, const char *text)
{
  char path[PATH_MAX + 64];
  snprintf (path, sizeof path, "%s/%s", dir, file);
  int fd = open (path, O_WRONLY | O_CLOEXEC);
  bool is_written = fd >= 0 && write (fd, text, strlen (text)) == (ssize_t) strlen (text);
  int saved = errno;
  if (fd >= 0)
    close (fd);
  errno = saved;
  return is_written;
}

/* The number after KEY and a blank at the start of a line; 0 if it is not there. */
static uint64_t
field (const char *text, const char *key)
{
  size_t n = strlen (key);
  for (const char *p = text; p != NULL; p = strchr (p, '\n'), p = p ? p + 1 : NULL)
    if (strncmp (p, key, n) == 0 && p[n] == ' ')
      return strtoull (p + n, NULL, 10);
  return 0;
}

static void
make_dir (const char *dir)
{
  if (mkdir (dir, 0755) != 0 && errno != EEXIST)
    die ("cannot make the group", dir);
}

static void
group_find (struct group *g, const char *name)
{
  char text[4096];
  const char *v2 = exists (CGROUP, "cgroup.controllers")         ? CGROUP
                   : exists (CGROUP "/unified", "cgroup.procs") ? CGROUP "/unified"
                                                                 : NULL;
  memset (g, 0, sizeof *g);
  if (exists (CGROUP "/cpuacct", "cgroup.procs"))
    snprintf (g->cpu, sizeof g->cpu, CGROUP "/cpuacct/%s", name);
  else if (v2 != NULL) {
    snprintf (g->cpu, sizeof g->cpu, "%s/%s", v2, name);
    g->cpu_is_v2 = true;
  }
  if (exists (CGROUP "/memory", "cgroup.procs"))
    snprintf (g->memory, sizeof g->memory, CGROUP "/memory/%s", name);
  else if (v2 != NULL && slurp (v2, "cgroup.controllers", text, sizeof text)
           && strstr (text, "memory") != NULL) {
    (void) spill (v2, "cgroup.subtree_control", "+memory"); /* refused: seen below as no memory */
    snprintf (g->memory, sizeof g->memory, "%s/%s", v2, name);
    g->memory_is_v2 = true;
  }
  if (g->cpu[0] == 0) {
    fprintf (stderr, "cgrun: no control groups with CPU accounting below " CGROUP "\n");
    exit (125);
  }
}

static void
group_make (struct group *g)
{
  make_dir (g->cpu);
  if (g->memory[0] != 0)
    make_dir (g->memory);
  if (g->memory_is_v2 && !exists (g->memory, "memory.current"))
    g->memory[0] = 0;
}

/* Called by the child between fork and exec. */
static void
group_enter (const struct group *g)
{
  if (!spill (g->cpu, "cgroup.procs", "0"))
    die ("cannot enter", g->cpu);
  if (g->memory[0] != 0 && !spill (g->memory, "cgroup.procs", "0"))
    die ("cannot enter", g->memory);
}

static int
group_remove (const struct group *g)
{
  /* A process that has just been reaped may still count for a moment. */
  for (int i = 0; i < 100; i++) {
    int bad = rmdir (g->cpu) != 0 && errno == EBUSY;
    bad |= g->memory[0] != 0 && rmdir (g->memory) != 0 && errno == EBUSY;
    if (!bad)
      return 0;
    nanosleep (&(struct timespec){ .tv_nsec = 20000000 }, NULL);
  }
  char text[4096];
  if (slurp (g->cpu, "cgroup.procs", text, sizeof text))
    for (char *p = text; (p = strchr (p, '\n')) != NULL;)
      *p = ' ';
  fprintf (stderr, "cgrun: %s is not empty: %s\n", g->cpu, text);
  return 1;
}

static double
group_cpu (const struct group *g)
{
  char text[4096];
  if (!slurp (g->cpu, g->cpu_is_v2 ? "cpu.stat" : "cpuacct.usage", text, sizeof text))
    die ("cannot read", g->cpu);
  return g->cpu_is_v2 ? (double) field (text, "usage_usec") / 1e6
                      : (double) strtoull (text, NULL, 10) / 1e9;
}

static void
group_memory (const struct group *g, struct memory *peak)
{
  char text[16384];
  if (g->memory[0] == 0)
    return;
  const char *now = g->memory_is_v2 ? "memory.current" : "memory.usage_in_bytes";
  if (!slurp (g->memory, now, text, sizeof text))
    return;
  uint64_t total = strtoull (text, NULL, 10);
  if (!slurp (g->memory, "memory.stat", text, sizeof text))
    return;
  uint64_t cache = field (text, g->memory_is_v2 ? "file" : "total_cache");
  uint64_t shared = field (text, g->memory_is_v2 ? "shmem" : "total_shmem");
  uint64_t anon = field (text, g->memory_is_v2 ? "anon" : "total_rss");
  total = total + shared > cache ? total + shared - cache : 0; /* not one moment: may underflow */
  peak->total = total > peak->total ? total : peak->total;
  peak->anon = anon > peak->anon ? anon : peak->anon;
}

static double
now (void)
{
  struct timespec t;
  clock_gettime (CLOCK_MONOTONIC, &t);
  return (double) t.tv_sec + (double) t.tv_nsec / 1e9;
}

static int
measure (const struct group *g, bool is_outside, char **command, const char *out)
{
  struct memory peak = { 0 };
  double cpu = group_cpu (g), start = now (), end;
  sigset_t chld;
  sigemptyset (&chld);
  sigaddset (&chld, SIGCHLD);
  sigprocmask (SIG_BLOCK, &chld, NULL);
  pid_t pid = fork ();
  if (pid < 0)
    die ("cannot start", command[0]);
  if (pid == 0) {
    sigprocmask (SIG_UNBLOCK, &chld, NULL);
    if (!is_outside)
      group_enter (g);
    execvp (command[0], command);
    die ("cannot run", command[0]);
  }
  int status;
  for (;;) {
    pid_t done = waitpid (pid, &status, WNOHANG);
    end = now ();
    group_memory (g, &peak);
    if (done == pid)
      break;
    (void) sigtimedwait (&chld, NULL, &(struct timespec){ .tv_nsec = SAMPLE_NS });
  }
  int rc = WIFEXITED (status) ? WEXITSTATUS (status) : 128 + WTERMSIG (status);
  FILE *f = out != NULL ? fopen (out, "w") : stderr;
  if (f == NULL)
    die ("cannot write", out);
  fprintf (f, "{\"wall\": %.3f, \"cpu\": %.3f, \"peak_memory\": %llu, \"peak_anon\": %llu,"
              " \"status\": %d}\n",
           end - start, group_cpu (g) - cpu, (unsigned long long) peak.total,
           (unsigned long long) peak.anon, rc);
  if (f != stderr && fclose (f) != 0)
    die ("cannot write", out);
  return rc;
}

int
main (int argc, char **argv)
{
  const char *name = NULL, *drop = NULL, *out = NULL;
  char own[64];
  struct group g;
  bool is_outside = false;
  int c;
  while ((c = getopt (argc, argv, "+g:xo:d:")) != -1)
    switch (c) {
    case 'g': name = optarg; break;
    case 'x': is_outside = true; break;
    case 'o': out = optarg; break;
    case 'd': drop = optarg; break;
    default: return 125;
    }
  if ((drop == NULL) == (optind == argc) || (name && strchr (name, '/'))) {
    fprintf (stderr, "usage: cgrun [-g GROUP [-x]] [-o FILE] [--] COMMAND... | cgrun -d GROUP\n");
    return 125;
  }
  if (drop != NULL) {
    group_find (&g, drop);
    return group_remove (&g);
  }
  snprintf (own, sizeof own, "cgrun-%d", (int) getpid ());
  group_find (&g, name != NULL ? name : own);
  group_make (&g);
  int rc = measure (&g, is_outside, argv + optind, out);
  if (name == NULL)
    (void) group_remove (&g); /* said why; a process left behind is the command's affair */
  return rc;
}
