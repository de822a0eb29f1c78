# SPDX-License-Identifier: Apache-2.0
noinst_LTLIBRARIES += libbase.la
libbase_la_CFLAGS = $(AM_CFLAGS) $(CONFUSE_CFLAGS)
libbase_la_LIBADD = $(CONFUSE_LIBS)
libbase_la_SOURCES = \
	%D%/buf.c %D%/buf.h \
	%D%/bufpool.c %D%/bufpool.h \
	%D%/cleanup.h \
	%D%/clock.c %D%/clock.h \
	%D%/config.c %D%/config.h %D%/config_priv.h %D%/config_table.h \
	%D%/config_file.c \
	%D%/config_text.c \
	%D%/config_value.c \
	%D%/err.c %D%/err.h \
	%D%/lock.c %D%/lock.h \
	%D%/log.c %D%/log.h \
	%D%/openssl.h \
	%D%/map.c %D%/map.h \
	%D%/pool.c %D%/pool.h \
	%D%/text.c %D%/text.h
