# SPDX-License-Identifier: Apache-2.0
noinst_LTLIBRARIES += libfs.la
libfs_la_CFLAGS = $(AM_CFLAGS) $(FUSE_CFLAGS)
libfs_la_LIBADD = libsnapshot.la $(FUSE_LIBS)
libfs_la_SOURCES =
