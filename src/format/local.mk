# SPDX-License-Identifier: Apache-2.0
noinst_LTLIBRARIES += libformat.la
libformat_la_CFLAGS = $(AM_CFLAGS) $(JANSSON_CFLAGS)
libformat_la_LIBADD = libbase.la $(JANSSON_LIBS)
libformat_la_SOURCES = \
	%D%/checkpoint.c %D%/checkpoint.h \
	%D%/config_objects.c %D%/config_objects.h \
	%D%/extent_page.c \
	%D%/format.c %D%/format.h %D%/format_priv.h \
	%D%/index_delta.c %D%/index_delta.h \
	%D%/json.c %D%/json_priv.h \
	%D%/key_text.c \
	%D%/manifest.c %D%/manifest.h \
	%D%/pack.c %D%/pack.h \
	%D%/pack_list.c \
	%D%/ref.c \
	%D%/tree.h \
	%D%/tree_page.c \
	%D%/tree_row.c
