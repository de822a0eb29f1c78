# SPDX-License-Identifier: Apache-2.0
# ramount: src/fs over an in-memory double of the layer below it.
check_PROGRAMS += tests/fs/ramount
tests_fs_ramount_SOURCES = \
	%D%/double.h %D%/double_priv.h \
	%D%/double_files.c %D%/double_names.c %D%/double_tree.c %D%/ramount.c
tests_fs_ramount_CFLAGS = $(AM_CFLAGS) -I$(srcdir)/tests/fs
tests_fs_ramount_LDADD = libfsonly.la libbase.la
