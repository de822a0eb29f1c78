# SPDX-License-Identifier: Apache-2.0
# A double of the layer below src/fs, and ramount: src/fs over it.
check_LTLIBRARIES += libfsdouble.la
libfsdouble_la_SOURCES = \
	%D%/double.h %D%/double_priv.h \
	%D%/double_files.c %D%/double_names.c %D%/double_tree.c
libfsdouble_la_CFLAGS = $(AM_CFLAGS) -I$(srcdir)/tests/fs
check_PROGRAMS += tests/fs/ramount
tests_fs_ramount_SOURCES = %D%/ramount.c
tests_fs_ramount_CFLAGS = $(AM_CFLAGS) -I$(srcdir)/tests/fs
tests_fs_ramount_LDADD = libfsonly.la libfsdouble.la libbase.la
