# SPDX-License-Identifier: Apache-2.0
noinst_LTLIBRARIES += libcache.la
libcache_la_CFLAGS = $(AM_CFLAGS) $(SQLITE_CFLAGS) $(CRYPTO_CFLAGS)
libcache_la_LIBADD = libformat.la $(SQLITE_LIBS) $(CRYPTO_LIBS)
libcache_la_SOURCES =
