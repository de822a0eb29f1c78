/* SPDX-License-Identifier: Apache-2.0 */
/* Stores, slots and key files: the right key opens, nothing else does, and nothing is overwritten.
 * */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "blob/memory.h"
#include "store/keys.h"
#include "store/seal.h"

struct fixture {
  char dir[64], key[96], other[96], phrase[96];
  struct blob *blob;
};

static void
put_file (const char *path, mode_t mode, const char *text)
{
  unlink (path);
  int fd = open (path, O_WRONLY | O_CREAT | O_EXCL, 0600);
  assert_true (fd >= 0);
  assert_int_equal (write (fd, text, strlen (text)), strlen (text));
  assert_int_equal (fchmod (fd, mode), 0);
  close (fd);
}

static void
make_key (const char *path)
{
  AUTO (secret) s = NULL;
  assert_int_equal (secret_random (&s), 0);
  assert_int_equal (key_file_save (path, s, "test\nkey"), 0);
}

static int
setup (void **state)
{
  struct fixture *f = calloc (1, sizeof *f);
  snprintf (f->dir, sizeof f->dir, "/tmp/coffer-keys.XXXXXX");
  if (!mkdtemp (f->dir) || blob_memory_new (&f->blob) < 0)
    return -1;
  snprintf (f->key, sizeof f->key, "%s/key", f->dir);
  snprintf (f->other, sizeof f->other, "%s/other", f->dir);
  snprintf (f->phrase, sizeof f->phrase, "%s/phrase", f->dir);
  make_key (f->key);
  make_key (f->other);
  put_file (f->phrase, 0600, "correct horse\n");
  *state = f;
  return 0;
}

static int
teardown (void **state)
{
  struct fixture *f = *state;
  unlink (f->key);
  unlink (f->other);
  unlink (f->phrase);
  rmdir (f->dir);
  blob_free (f->blob);
  free (f);
  return 0;
}

static struct keyring *
must_init (struct fixture *f)
{
  struct keyring *k = NULL;
  assert_int_equal (store_init (f->blob, &(struct unlock){ .key_file = f->key }, "first", &k), 0);
  return k;
}

/* The id of one chunk in vault DB: equal exactly when the keys are. */
static void
fingerprint (const struct keyring *k, const char *db, uint8_t id[ID_LEN])
{
  AUTO (vault_keys) v = NULL;
  AUTO (sealer) s = NULL;
  assert_int_equal (vault_keys_new (k, db, &v), 0);
  assert_int_equal (sealer_new (&s), 0);
  assert_int_equal (seal_id (s, v, UNIT_DATA, "x", 1, id), 0);
}

static void
assert_same_keys (const struct keyring *a, const struct keyring *b, const char *db)
{
  uint8_t ia[ID_LEN], ib[ID_LEN];
  fingerprint (a, db, ia);
  fingerprint (b, db, ib);
  assert_memory_equal (ia, ib, ID_LEN);
}

/* Guards: a store opens again with its key, and gives the same keys. */
static void
a_store_opens_with_its_key (void **state)
{
  struct fixture *f = *state;
  AUTO (keyring) a = must_init (f);
  AUTO (keyring) b = NULL;
  assert_int_equal (blob_memory_count (f->blob), 2);
  assert_int_equal (store_open (f->blob, &(struct unlock){ .key_file = f->key }, &b), 0);
  assert_same_keys (a, b, "orders");
  assert_string_equal (keyring_scope (b), "master");
  assert_string_equal (keyring_slot (a), keyring_slot (b));
  assert_int_equal (keyring_format (b), 1);
  assert_memory_equal (keyring_store_id (a), keyring_store_id (b), STORE_ID_LEN);
}

/* Guards: a wrong key is ERR_AUTH and writes nothing; init never goes over what is there. */
static void
a_wrong_key_opens_nothing (void **state)
{
  struct fixture *f = *state;
  keyring_free (must_init (f));
  struct keyring *b = NULL;
  struct unlock wrong = { .key_file = f->other };
  assert_int_equal (store_open (f->blob, &wrong, &b), ERR_AUTH);
  assert_int_equal (
    store_open (f->blob, &(struct unlock){ .passphrase_file = f->phrase }, &b), ERR_AUTH);
  assert_int_equal (store_open (f->blob, &(struct unlock){ 0 }, &b), ERR_INVALID);
  assert_int_equal (store_init (f->blob, &wrong, "", &b), ERR_EXISTS);
  assert_null (b);
  assert_int_equal (blob_memory_count (f->blob), 2);
}

/* Guards: what is not a store is ERR_MISSING; vaults without a superblock are not built over. */
static void
what_is_no_store_is_left_alone (void **state)
{
  struct fixture *f = *state;
  struct unlock u = { .key_file = f->key };
  struct keyring *k = NULL;
  assert_int_equal (store_open (f->blob, &u, &k), ERR_MISSING);
  assert_int_equal (blob_put (f->blob, "vaults/orders/packs/aa/x", "x", 1, NULL), 0);
  assert_int_equal (store_init (f->blob, &u, "", &k), ERR_EXISTS);
  assert_int_equal (blob_memory_count (f->blob), 1);
  assert_int_equal (blob_put (f->blob, "coffer.json", "{}", 2, NULL), 0);
  assert_int_equal (store_open (f->blob, &u, &k), ERR_FORMAT);
  assert_int_equal (store_init (f->blob, &u, "", &k), ERR_EXISTS);
}

/* Replaces FROM by TO in object KEY. */
static void
alter (struct blob *b, const char *key, const char *from, const char *to)
{
  AUTO_BUF json;
  buf_init (&json, 65536);
  assert_int_equal (blob_get_all (b, key, &json), 0);
  buf_put (&json, "", 1);
  char *at = strstr ((char *) json.data, from);
  assert_non_null (at);
  AUTO_BUF out;
  buf_init (&out, 65536);
  buf_put (&out, json.data, (size_t) (at - (char *) json.data));
  buf_put (&out, to, strlen (to));
  buf_put (&out, at + strlen (from), strlen (at + strlen (from)));
  assert_int_equal (blob_put (b, key, out.data, out.len, NULL), 0);
}

/* Guards: an altered superblock is ERR_FORMAT though the key is right, a newer format ERR_VERSION.
 * */
static void
an_altered_superblock_is_refused (void **state)
{
  struct fixture *f = *state;
  struct unlock u = { .key_file = f->key };
  keyring_free (must_init (f));
  struct keyring *k = NULL;
  AUTO_BUF good;
  buf_init (&good, 65536);
  assert_int_equal (blob_get_all (f->blob, "coffer.json", &good), 0);
  alter (f->blob, "coffer.json", "\"created\": \"2", "\"created\": \"3");
  assert_int_equal (store_open (f->blob, &u, &k), ERR_FORMAT);
  assert_int_equal (blob_put (f->blob, "coffer.json", good.data, good.len, NULL), 0);
  alter (f->blob, "coffer.json", "\"read\": []", "\"read\": [\"new\"]");
  assert_int_equal (store_open (f->blob, &u, &k), ERR_FORMAT);
  assert_int_equal (blob_put (f->blob, "coffer.json", good.data, good.len, NULL), 0);
  alter (f->blob, "coffer.json", "\"format\": 1", "\"format\": 2");
  assert_int_equal (store_open (f->blob, &u, &k), ERR_VERSION);
  assert_int_equal (blob_put (f->blob, "coffer.json", good.data, good.len / 2, NULL), 0);
  assert_int_equal (store_open (f->blob, &u, &k), ERR_FORMAT);
  assert_null (k);
}

/* Guards: an altered slot opens nothing: its scope and cost stand under the commitment. */
static void
an_altered_slot_is_refused (void **state)
{
  struct fixture *f = *state;
  struct unlock u = { .key_file = f->key };
  AUTO (keyring) a = must_init (f);
  struct keyring *k = NULL;
  char name[32];
  snprintf (name, sizeof name, "keys/%s", keyring_slot (a));
  alter (f->blob, name, "\"scope\": \"master\"", "\"scope\": \"vault:a\"");
  assert_int_equal (store_open (f->blob, &u, &k), ERR_AUTH);
  alter (f->blob, name, "\"scope\": \"vault:a\"", "\"scope\": \"master\"");
  alter (f->blob, name, "\"label\": \"first\"", "\"label\": \"secnd\"");
  assert_int_equal (store_open (f->blob, &u, &k), ERR_AUTH);
  alter (f->blob, name, "\"label\": \"secnd\"", "\"label\": \"first\"");
  assert_int_equal (store_open (f->blob, &u, &k), 0);
  keyring_free (k);
  k = NULL;
  alter (f->blob, name, "\"label\"", "\"lable\"");
  assert_int_equal (store_open (f->blob, &u, &k), ERR_FORMAT);
  assert_null (k);
}

/* Guards: a passphrase slot (scrypt) opens the same keys; damaged slots beside it do not matter. */
static void
a_passphrase_opens_too (void **state)
{
  struct fixture *f = *state;
  AUTO (keyring) a = must_init (f);
  AUTO (keyring) b = NULL;
  struct unlock u = { .passphrase_file = f->phrase };
  char id[17];
  assert_int_equal (slot_add (f->blob, a, &u, "dba", NULL, id), 0);
  assert_int_equal (blob_put (f->blob, "keys/0000000000000000", "junk", 4, NULL), 0);
  assert_int_equal (blob_put (f->blob, "keys/README", "junk", 4, NULL), 0);
  put_file (f->phrase, 0600, "correct horse"); /* the newline is not part of it */
  assert_int_equal (store_open (f->blob, &u, &b), 0);
  assert_same_keys (a, b, "orders");
  assert_string_equal (keyring_slot (b), id);
  put_file (f->phrase, 0600, "correct horse \n");
  struct keyring *none = NULL;
  assert_int_equal (store_open (f->blob, &u, &none), ERR_AUTH);
  put_file (f->phrase, 0600, "\n");
  assert_int_equal (store_open (f->blob, &u, &none), ERR_INVALID);
  assert_null (none);
}

/* Guards: a slot for one vault gives that vault's keys and no other's, and cannot make wider ones.
 * */
static void
a_vault_slot_opens_its_vault_only (void **state)
{
  struct fixture *f = *state;
  AUTO (keyring) a = must_init (f);
  AUTO (keyring) b = NULL;
  struct unlock u = { .key_file = f->other };
  char id[17];
  assert_int_equal (slot_add (f->blob, a, &u, "host", "vault:orders", id), 0);
  assert_int_equal (slot_add (f->blob, a, &u, "host", "vault:Not a name", id), ERR_INVALID);
  assert_int_equal (slot_add (f->blob, a, &u, "host", "everything", id), ERR_DENIED);
  assert_int_equal (store_open (f->blob, &u, &b), 0);
  assert_string_equal (keyring_scope (b), "vault:orders");
  assert_same_keys (a, b, "orders");
  struct vault_keys *v = NULL;
  assert_int_equal (vault_keys_new (b, "billing", &v), ERR_DENIED);
  assert_int_equal (slot_add (f->blob, b, &u, "", "master", id), ERR_DENIED);
  assert_int_equal (slot_add (f->blob, b, &u, "", NULL, id), 0);
}

/* Guards: a paper key, typed in by hand into a file, opens the store; a typing error is told. */
static void
a_paper_key_is_the_way_back (void **state)
{
  struct fixture *f = *state;
  AUTO (keyring) a = must_init (f);
  AUTO (keyring) b = NULL;
  char paper[80], id[17];
  struct unlock u = { .key_file = f->other };
  assert_int_equal (slot_add_paper (f->blob, a, "safe", paper, id), 0);
  assert_int_equal (strlen (paper), 56 + 13);
  for (char *c = paper; *c; c++) /* as a tired person types it */
    *c = *c == '-' ? ' ' : *c == 'O' ? '0' : *c == 'B' ? '8' : *c;
  put_file (f->other, 0600, paper);
  assert_int_equal (store_open (f->blob, &u, &b), 0);
  assert_same_keys (a, b, "orders");
  paper[0] = paper[0] == 'A' ? 'C' : 'A';
  put_file (f->other, 0600, paper);
  struct keyring *none = NULL;
  assert_int_equal (store_open (f->blob, &u, &none), ERR_FORMAT);
  assert_null (none);
}

/* Guards: slots are listed and removed, but never the last one that holds the master key. */
static void
the_last_master_slot_stays (void **state)
{
  struct fixture *f = *state;
  AUTO (keyring) a = must_init (f);
  char id[17], paper[80];
  AUTO_MEM struct slot_info *slots = NULL;
  size_t n;
  struct unlock u = { .key_file = f->other };
  assert_int_equal (slot_add (f->blob, a, &u, "host", "vault:orders", id), 0);
  assert_int_equal (slot_remove (f->blob, a, keyring_slot (a)), ERR_STATE);
  assert_int_equal (slot_add_paper (f->blob, a, "safe", paper, id), 0);
  assert_int_equal (slot_list (f->blob, &slots, &n), 0);
  assert_int_equal (n, 3);
  assert_int_equal (slot_remove (f->blob, a, "0123456789abcdef"), ERR_MISSING);
  assert_int_equal (slot_remove (f->blob, a, "../coffer.json"), ERR_MISSING);
  assert_int_equal (slot_remove (f->blob, a, keyring_slot (a)), 0);
  struct keyring *none = NULL;
  assert_int_equal (store_open (f->blob, &(struct unlock){ .key_file = f->key }, &none), ERR_AUTH);
  assert_int_equal (slot_remove (f->blob, a, id), ERR_STATE);
}

/* Guards: a key file that others can read is not used, an existing one not written over, and what
 * was saved is loaded. */
static void
key_files_are_private (void **state)
{
  struct fixture *f = *state;
  AUTO (secret) s = NULL;
  AUTO (secret) t = NULL;
  char path[128];
  snprintf (path, sizeof path, "%s/new", f->dir);
  assert_int_equal (secret_random (&s), 0);
  assert_int_equal (key_file_save (path, s, "made by a test\nwith two lines"), 0);
  struct stat st;
  assert_int_equal (stat (path, &st), 0);
  assert_int_equal (st.st_mode & 07777, 0600);
  assert_int_equal (key_file_save (path, s, NULL), ERR_EXISTS);
  assert_int_equal (key_file_load (path, &t), 0);
  assert_memory_equal (secret_bytes (s), secret_bytes (t), 32);
  struct secret *none = NULL;
  static const mode_t loose[] = { 0640, 0604, 0620, 0610, 0601 };
  for (size_t i = 0; i < sizeof loose / sizeof *loose; i++) {
    assert_int_equal (chmod (path, loose[i]), 0);
    assert_int_equal (key_file_load (path, &none), ERR_DENIED);
  }
  put_file (path, 0600, "# nothing but a comment\n");
  assert_int_equal (key_file_load (path, &none), ERR_FORMAT);
  unlink (path);
  assert_int_equal (key_file_load (path, &none), ERR_MISSING);
  assert_int_equal (chmod (f->phrase, 0644), 0);
  struct keyring *k = NULL;
  assert_int_equal (
    store_init (f->blob, &(struct unlock){ .passphrase_file = f->phrase }, "", &k), ERR_DENIED);
  assert_int_equal (blob_memory_count (f->blob), 0);
  assert_null (none);
}

/* Guards: a secret's page is not dumped into a core. */
static void
secrets_are_not_dumped (void **state)
{
  (void) state;
  AUTO (secret) s = NULL;
  assert_int_equal (secret_random (&s), 0);
  FILE *maps = fopen ("/proc/self/smaps", "r");
  assert_non_null (maps);
  char line[512];
  unsigned long from, to, at = (unsigned long) (uintptr_t) secret_bytes (s);
  bool is_ours = false, is_checked = false;
  while (fgets (line, sizeof line, maps)) {
    if (sscanf (line, "%lx-%lx ", &from, &to) == 2 && strchr (line, '-') < strchr (line, ' '))
      is_ours = from <= at && at < to;
    if (is_ours && strncmp (line, "VmFlags:", 8) == 0) {
      assert_non_null (strstr (line, " dd")); /* do not dump */
      is_checked = true;
    }
  }
  fclose (maps);
  assert_true (is_checked);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup_teardown (a_store_opens_with_its_key, setup, teardown),
    cmocka_unit_test_setup_teardown (a_wrong_key_opens_nothing, setup, teardown),
    cmocka_unit_test_setup_teardown (what_is_no_store_is_left_alone, setup, teardown),
    cmocka_unit_test_setup_teardown (an_altered_superblock_is_refused, setup, teardown),
    cmocka_unit_test_setup_teardown (an_altered_slot_is_refused, setup, teardown),
    cmocka_unit_test_setup_teardown (a_passphrase_opens_too, setup, teardown),
    cmocka_unit_test_setup_teardown (a_vault_slot_opens_its_vault_only, setup, teardown),
    cmocka_unit_test_setup_teardown (a_paper_key_is_the_way_back, setup, teardown),
    cmocka_unit_test_setup_teardown (the_last_master_slot_stays, setup, teardown),
    cmocka_unit_test_setup_teardown (key_files_are_private, setup, teardown),
    cmocka_unit_test_setup_teardown (secrets_are_not_dumped, setup, teardown),
  };
  return cmocka_run_group_tests (tests, NULL, NULL);
}
