# SPDX-License-Identifier: Apache-2.0
noinst_LTLIBRARIES += libstore.la
libstore_la_CFLAGS = $(AM_CFLAGS) $(CRYPTO_CFLAGS) $(ZSTD_CFLAGS) $(SQLITE_CFLAGS) $(JANSSON_CFLAGS)
libstore_la_LIBADD = libformat.la libblob.la $(CRYPTO_LIBS) $(ZSTD_LIBS) $(SQLITE_LIBS)
libstore_la_SOURCES =
