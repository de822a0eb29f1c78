# SPDX-License-Identifier: Apache-2.0
noinst_LTLIBRARIES += libcache.la
libcache_la_CFLAGS = $(AM_CFLAGS) $(SQLITE_CFLAGS) $(CRYPTO_CFLAGS)
libcache_la_LIBADD = libformat.la $(SQLITE_LIBS) $(CRYPTO_LIBS)
libcache_la_SOURCES = \
	%D%/blockcache.c %D%/blockcache.h %D%/blockcache_priv.h \
	%D%/blockcache_db.c \
	%D%/blockcache_evict.c \
	%D%/blockcache_seg.c \
	%D%/blockcache_writer.c
