# SPDX-License-Identifier: Apache-2.0
noinst_LTLIBRARIES += libsnapshot.la
libsnapshot_la_CFLAGS = $(AM_CFLAGS) $(SQLITE_CFLAGS) $(JANSSON_CFLAGS) $(CRYPTO_CFLAGS)
libsnapshot_la_LIBADD = libstore.la libcache.la $(SQLITE_LIBS) $(JANSSON_LIBS) $(CRYPTO_LIBS)
libsnapshot_la_SOURCES = \
	%D%/catalog.c %D%/catalog.h \
	%D%/checkpoint.c \
	%D%/commit.c \
	%D%/extmap.c %D%/extmap.h \
	%D%/file.c %D%/file_all.c %D%/file_changes.c %D%/file.h %D%/file_priv.h \
	%D%/file_read.c \
	%D%/file_window.c \
	%D%/history.c %D%/history.h \
	%D%/finish.c \
	%D%/index_load.c \
	%D%/manifest_load.c \
	%D%/join.c %D%/join.h \
	%D%/merge.c \
	%D%/offline.c \
	%D%/mount.c %D%/mount.h \
	%D%/names.c %D%/names.h \
	%D%/ops_control.c \
	%D%/ops_dir.c \
	%D%/ops_file.c \
	%D%/ops_link.c \
	%D%/ops_name.c \
	%D%/ops_xattr.c \
	%D%/overlay.c %D%/overlay.h \
	%D%/proof.c \
	%D%/parts.c %D%/parts.h \
	%D%/read.c \
	%D%/recover.c \
	%D%/seal.c \
	%D%/sealed.c %D%/sealed.h \
	%D%/sealed_file.c \
	%D%/seen.c %D%/seen.h \
	%D%/snap.c %D%/snap.h \
	%D%/snapshot_priv.h \
	%D%/tree_build.c %D%/tree_build.h %D%/tree_build_priv.h \
	%D%/tree_external.c \
	%D%/vault.c %D%/vault.h \
	%D%/where.h \
	%D%/worktree_log.c \
	%D%/worktree.c %D%/worktree.h \
	%D%/worktree_copy.c \
	%D%/worktree_db.c %D%/worktree_db.h \
	%D%/worktree_names.c \
	%D%/worktree_xattr.c
