# SPDX-License-Identifier: Apache-2.0
noinst_LTLIBRARIES += libsnapshot.la
libsnapshot_la_CFLAGS = $(AM_CFLAGS) $(SQLITE_CFLAGS) $(JANSSON_CFLAGS)
libsnapshot_la_LIBADD = libstore.la libcache.la $(SQLITE_LIBS) $(JANSSON_LIBS)
libsnapshot_la_SOURCES =
