/* SPDX-License-Identifier: Apache-2.0 */
/* file_priv - what the files of the directory backend share. */
#ifndef COFFER_BLOB_FILE_PRIV_H
#define COFFER_BLOB_FILE_PRIV_H

#include <stdatomic.h>

#include "blob/blob.h"
#include "blob/fdcache.h"

#define FILE_TMP ".tmp"
#define FILE_SYNCED_MAX 4096 /* directories known to be durable; past this they are learnt again */

struct blob_file {
  struct blob blob;
  /* immutable after open */
  char *root; /* for messages */
  int root_fd;
  /* any thread */
  _Atomic bool is_cancelled;
  _Atomic uint64_t tmp_counter;
  struct fdcache fds;
  struct lock lock; /* guards what follows */
  uint64_t *synced;
  size_t synced_count;
};

/* The blob error for an errno of a call on the store. */
int file_err (int errnum);
/* Makes the directories above KEY; 0 or a negative error. */
int file_make_parents (struct blob_file *f, const char *key);
/* Syncs the entry of KEY: its directory, and those above that are not known to be durable. */
int file_sync_parents (struct blob_file *f, const char *key);
/* Removes directories above KEY that have become empty. */
void file_prune_parents (struct blob_file *f, const char *key);
/* Removes temporary files older than a day. */
void file_sweep_tmp (struct blob_file *f);

int file_list (struct blob *b, const char *prefix, const char *start_after, bool is_delimited,
               blob_list_fn fn, void *ctx);

#endif
