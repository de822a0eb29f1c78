/* SPDX-License-Identifier: Apache-2.0 */
/* Key files and passphrase files on the local disk. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define LOG_MODULE "keys"
#include "base/log.h"
#include "store/seal.h"
#include "store/slots_priv.h"

#define KEY_FILE_MAX 16384

struct passphrase {
  size_t len;
  uint8_t bytes[PASSPHRASE_MAX + 2];
};

/* Opens PATH for reading; refuses a regular file that others may read. */
static int
open_private (const char *path, const char *what, int *out)
{
  struct stat st;
  AUTO_FD fd = open (path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
  if (fd < 0 || fstat (fd, &st) < 0) {
    int rc = errno == ENOENT ? ERR_MISSING : err_from_errno (errno);
    log_err ("cannot read the %s file, check the path and its owner path=%s err=\"%s\"", what, path,
             strerror (errno));
    return rc;
  }
  if (S_ISREG (st.st_mode) && (st.st_mode & 077)) {
    log_err ("others may read this %s file, not using it: run chmod 600 on it path=%s mode=%04o",
             what, path, (unsigned) (st.st_mode & 07777));
    return ERR_DENIED;
  }
  *out = fd;
  fd = -1;
  return 0;
}

/* All of FD, at most CAP bytes; ERR_LIMIT if there is more. */
static int
read_all (int fd, void *out, size_t cap, size_t *len)
{
  size_t n = 0;
  for (;;) {
    uint8_t probe;
    ssize_t got = n < cap ? read (fd, (uint8_t *) out + n, cap - n) : read (fd, &probe, 1);
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0)
      return err_from_errno (errno);
    if (got == 0)
      break;
    if (n == cap)
      return ERR_LIMIT;
    n += (size_t) got;
  }
  *len = n;
  return 0;
}

static int
parse_key (const char *path, const char *text, size_t n, struct secret **out)
{
  uint8_t secret[KEY_LEN], check[4], sum[32];
  int check_len, rc = key_file_decode (text, n, secret, check, &check_len);
  if (rc == 0) {
    sha256_once (secret, sizeof secret, sum);
    if (memcmp (sum, check, (size_t) check_len) != 0)
      rc = ERR_FORMAT;
  }
  if (rc == 0)
    rc = secret_new (secret, out);
  else
    log_err ("no whole key in this file, or a character of it is wrong: compare it with your copy "
             "path=%s err=\"%s\"",
             path, err_str (rc));
  explicit_bzero (secret, sizeof secret);
  return rc;
}

int
key_file_load (const char *path, struct secret **out)
{
  AUTO_FD fd = -1;
  char text[KEY_FILE_MAX];
  size_t n = 0;
  int rc = open_private (path, "key", &fd);
  if (rc < 0)
    return rc;
  rc = read_all (fd, text, sizeof text, &n);
  if (rc == 0)
    rc = parse_key (path, text, n, out);
  else
    log_err ("cannot read the key file path=%s err=\"%s\"", path, err_str (rc));
  explicit_bzero (text, sizeof text);
  return rc;
}

static void
put_comment (struct buf *b, const char *comment)
{
  while (comment && *comment) {
    size_t n = strcspn (comment, "\r\n");
    buf_printf (b, "# %.*s\n", (int) n, comment);
    comment += n;
    comment += strspn (comment, "\r\n");
  }
}

static int
write_all (int fd, const uint8_t *p, size_t n)
{
  while (n) {
    ssize_t put = write (fd, p, n);
    if (put < 0 && errno == EINTR)
      continue;
    if (put < 0)
      return err_from_errno (errno);
    p += put;
    n -= (size_t) put;
  }
  return fsync (fd) < 0 ? err_from_errno (errno) : 0;
}

/* A new name in a directory lasts only once the directory is synced. */
static int
sync_parent (const char *path)
{
  char dir[4096];
  const char *slash = strrchr (path, '/');
  int n = slash ? (int) (slash - path) : 0;
  if (n >= (int) sizeof dir)
    return ERR_NAMETOOLONG;
  snprintf (dir, sizeof dir, "%.*s", n, path);
  AUTO_FD fd = open (slash ? (n ? dir : "/") : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  return fd < 0 || fsync (fd) < 0 ? err_from_errno (errno) : 0;
}

int
key_file_save (const char *path, const struct secret *s, const char *comment)
{
  uint8_t sum[32];
  struct buf text;
  buf_init (&text, KEY_FILE_MAX);
  sha256_once (secret_bytes (s), KEY_LEN, sum);
  put_comment (&text, comment);
  key_file_encode (secret_bytes (s), sum, &text);
  int rc = buf_error (&text);
  AUTO_FD fd = -1;
  if (rc == 0) {
    fd = open (path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
      rc = errno == EEXIST ? ERR_EXISTS : err_from_errno (errno);
    else {
      rc = write_all (fd, text.data, text.len);
      if (rc == 0)
        rc = sync_parent (path);
      if (rc < 0)
        unlink (path);
    }
  }
  buf_wipe_release (&text);
  if (rc == ERR_EXISTS)
    log_err ("will not write a key over an existing file: name another, or use this one path=%s",
             path);
  else if (rc < 0)
    log_err ("cannot write the key file path=%s err=\"%s\"", path, err_str (rc));
  return rc;
}

static void
passphrase_free (struct passphrase *p)
{
  if (!p)
    return;
  explicit_bzero (p, sizeof *p);
  free (p);
}
DEFINE_FREEP (passphrase);

const uint8_t *
passphrase_bytes (const struct passphrase *p, size_t *n)
{
  *n = p->len;
  return p->bytes;
}

static int
passphrase_load (const char *path, struct passphrase **out)
{
  AUTO (passphrase) p = calloc (1, sizeof *p);
  if (!p)
    return ERR_NOMEM;
  AUTO_FD file = -1;
  bool is_stdin = strcmp (path, "-") == 0;
  int rc = is_stdin ? 0 : open_private (path, "passphrase", &file);
  if (rc < 0)
    return rc;
  rc = read_all (is_stdin ? STDIN_FILENO : file, p->bytes, PASSPHRASE_MAX + 1, &p->len);
  if (rc == 0 && p->len && p->bytes[p->len - 1] == '\n')
    p->len--;
  if (rc == 0 && p->len > PASSPHRASE_MAX)
    rc = ERR_LIMIT;
  if (rc == 0 && p->len == 0)
    rc = ERR_INVALID;
  if (rc == 0)
    *out = STEAL (p);
  else
    log_err ("no passphrase of 1 to %d bytes here path=%s err=\"%s\"", PASSPHRASE_MAX, path,
             err_str (rc));
  return rc;
}

int
credentials_load (const struct unlock *u, struct credentials *out)
{
  struct credentials c = { 0 };
  if (!u->key_file && !u->passphrase_file) {
    log_err ("no key given: name a key file (key-file=) or a passphrase file (passphrase-file=)");
    return ERR_INVALID;
  }
  int rc = u->key_file ? key_file_load (u->key_file, &c.key) : 0;
  if (rc == 0 && u->passphrase_file)
    rc = passphrase_load (u->passphrase_file, &c.passphrase);
  if (rc == 0)
    *out = c;
  else
    credentials_release (&c);
  return rc;
}

void
credentials_release (struct credentials *c)
{
  secret_free (c->key);
  passphrase_free (c->passphrase);
  *c = (struct credentials){ 0 };
}
