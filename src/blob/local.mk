# SPDX-License-Identifier: Apache-2.0
noinst_LTLIBRARIES += libblob.la
libblob_la_CFLAGS = $(AM_CFLAGS) $(CURL_CFLAGS) $(CRYPTO_CFLAGS) $(EXPAT_CFLAGS) $(JANSSON_CFLAGS)
libblob_la_LIBADD = libbase.la $(CURL_LIBS) $(CRYPTO_LIBS) $(EXPAT_LIBS) $(JANSSON_LIBS)
libblob_la_SOURCES = \
	%D%/blob.c %D%/blob.h \
	%D%/breaker.c %D%/breaker.h \
	%D%/creds.c %D%/creds.h %D%/creds_priv.h \
	%D%/creds_files.c \
	%D%/creds_metadata.c \
	%D%/fault.c %D%/fault.h \
	%D%/fault_rules.c %D%/fault_rules.h \
	%D%/fdcache.c %D%/fdcache.h \
	%D%/file.c %D%/file.h %D%/file_priv.h \
	%D%/file_dirs.c \
	%D%/file_list.c \
	%D%/http.c %D%/http.h %D%/http_priv.h \
	%D%/http_callbacks.c \
	%D%/memory.c %D%/memory.h \
	%D%/meter.c %D%/meter.h \
	%D%/retry.c %D%/retry.h \
	%D%/s3.c %D%/s3.h %D%/s3_priv.h \
	%D%/s3_list.c \
	%D%/s3_parts.c \
	%D%/s3_request.c \
	%D%/s3_xml.c %D%/s3_xml.h \
	%D%/schedule.c %D%/schedule.h \
	%D%/sigv4.c %D%/sigv4.h \
	%D%/throttle.c %D%/throttle.h \
	%D%/throttled.c %D%/throttled.h \
	%D%/url.c %D%/url.h
