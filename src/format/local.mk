# SPDX-License-Identifier: Apache-2.0
noinst_LTLIBRARIES += libformat.la
libformat_la_CFLAGS = $(AM_CFLAGS) $(JANSSON_CFLAGS)
libformat_la_LIBADD = libbase.la $(JANSSON_LIBS)
libformat_la_SOURCES =
