# SPDX-License-Identifier: Apache-2.0
# The objects alone, so that tests may put a double where libsnapshot is.
noinst_LTLIBRARIES += libfsonly.la libfs.la
libfsonly_la_CFLAGS = $(AM_CFLAGS) $(FUSE_CFLAGS) $(JANSSON_CFLAGS)
libfsonly_la_LIBADD = $(FUSE_LIBS) $(JANSSON_LIBS)
libfsonly_la_SOURCES = \
	%D%/acl.c %D%/acl.h \
	%D%/answer.c %D%/answer.h \
	%D%/call.c \
	%D%/control.c %D%/control.h %D%/control_priv.h \
	%D%/control_command.c \
	%D%/control_json.c \
	%D%/control_metrics.c \
	%D%/control_rates.c \
	%D%/control_status.c \
	%D%/defer.c %D%/defer.h \
	%D%/fs_priv.h \
	%D%/held.c %D%/held.h \
	%D%/loop.c %D%/loop.h \
	%D%/notify.c %D%/notify.h \
	%D%/mountpoint.c %D%/mountpoint.h \
	%D%/op_dir.c \
	%D%/op_file.c \
	%D%/op_make.c \
	%D%/op_node.c \
	%D%/op_sync.c \
	%D%/op_xattr.c \
	%D%/serve.c %D%/serve.h \
	%D%/session.c %D%/session.h
libfs_la_SOURCES =
libfs_la_LIBADD = libfsonly.la libsnapshot.la
