# SPDX-License-Identifier: Apache-2.0
bin_PROGRAMS += coffer
coffer_SOURCES = \
	%D%/cli.c %D%/cli.h \
	%D%/cmd_adopt.c \
	%D%/cmd_cache.c \
	%D%/cmd_check.c %D%/check.h \
	%D%/check_packs.c \
	%D%/cmd_find.c \
	%D%/cmd_init.c \
	%D%/cmd_key.c \
	%D%/cmd_mount.c \
	%D%/cmd_seal.c \
	%D%/cmd_show.c \
	%D%/cmd_snapshots.c \
	%D%/cmd_status.c \
	%D%/cmd_throttle.c \
	%D%/cmd_umount.c \
	%D%/cmd_version.c \
	%D%/commands.h \
	%D%/harden.c %D%/harden.h \
	%D%/traffic.c %D%/traffic.h \
	%D%/help.c \
	%D%/main.c \
	%D%/mounted.c %D%/mounted.h \
	%D%/out.c %D%/out.h \
	%D%/places.c %D%/places.h \
	%D%/snaplist.c %D%/snaplist.h %D%/snaplist_priv.h \
	%D%/snaplist_mount.c \
	%D%/snaplist_store.c \
	%D%/walk.c %D%/walk.h \
	%D%/wire.c %D%/wire.h \
	%D%/wire_config.c \
	%D%/wire_store.c
coffer_CFLAGS = $(AM_CFLAGS) $(JANSSON_CFLAGS)
coffer_LDADD = libfs.la libsnapshot.la $(JANSSON_LIBS)
