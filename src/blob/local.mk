# SPDX-License-Identifier: Apache-2.0
noinst_LTLIBRARIES += libblob.la
libblob_la_CFLAGS = $(AM_CFLAGS) $(CURL_CFLAGS) $(CRYPTO_CFLAGS) $(EXPAT_CFLAGS) $(JANSSON_CFLAGS)
libblob_la_LIBADD = libbase.la $(CURL_LIBS) $(CRYPTO_LIBS) $(EXPAT_LIBS) $(JANSSON_LIBS)
libblob_la_SOURCES = \
	%D%/blob.c %D%/blob.h
