# SPDX-License-Identifier: Apache-2.0
noinst_LTLIBRARIES += libsnapshot.la
libsnapshot_la_CFLAGS = $(AM_CFLAGS) $(SQLITE_CFLAGS) $(JANSSON_CFLAGS) $(CRYPTO_CFLAGS)
libsnapshot_la_LIBADD = libstore.la libcache.la $(SQLITE_LIBS) $(JANSSON_LIBS) $(CRYPTO_LIBS)
libsnapshot_la_SOURCES = \
	%D%/extmap.c %D%/extmap.h \
	%D%/file.h \
	%D%/mount.h \
	%D%/names.c %D%/names.h \
	%D%/worktree.c %D%/worktree.h \
	%D%/worktree_db.c %D%/worktree_db.h \
	%D%/worktree_names.c \
	%D%/worktree_xattr.c
