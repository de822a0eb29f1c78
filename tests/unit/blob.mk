# SPDX-License-Identifier: Apache-2.0
blob_tests = \
	tests/unit/blob_sigv4_test
check_PROGRAMS += $(blob_tests)
TESTS += $(blob_tests)
tests_unit_blob_sigv4_test_SOURCES = %D%/blob_sigv4_test.c
tests_unit_blob_sigv4_test_LDADD = libblob.la $(CMOCKA_LIBS) $(JANSSON_LIBS)
tests_unit_blob_sigv4_test_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS) $(JANSSON_CFLAGS)
EXTRA_DIST += tests/data/signing-vectors
