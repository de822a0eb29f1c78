# SPDX-License-Identifier: Apache-2.0
blob_tests = \
	tests/unit/blob_fault_test \
	tests/unit/blob_file_test \
	tests/unit/blob_retry_test \
	tests/unit/blob_s3_test \
	tests/unit/blob_sigv4_test \
	tests/unit/blob_throttle_test \
	tests/unit/blob_url_test
check_PROGRAMS += $(blob_tests)
TESTS += $(blob_tests)
tests_unit_blob_fault_test_SOURCES = %D%/blob_fault_test.c
tests_unit_blob_fault_test_LDADD = libblob.la $(CMOCKA_LIBS)
tests_unit_blob_fault_test_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_blob_file_test_SOURCES = %D%/blob_file_test.c
tests_unit_blob_file_test_LDADD = libblob.la $(CMOCKA_LIBS)
tests_unit_blob_file_test_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_blob_retry_test_SOURCES = %D%/blob_retry_test.c
tests_unit_blob_retry_test_LDADD = libblob.la $(CMOCKA_LIBS)
tests_unit_blob_retry_test_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_blob_s3_test_SOURCES = %D%/blob_s3_test.c tests/lib/canned.c tests/lib/canned.h
tests_unit_blob_s3_test_LDADD = libblob.la $(CMOCKA_LIBS)
tests_unit_blob_s3_test_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_blob_sigv4_test_SOURCES = %D%/blob_sigv4_test.c
tests_unit_blob_sigv4_test_LDADD = libblob.la $(CMOCKA_LIBS) $(JANSSON_LIBS)
tests_unit_blob_sigv4_test_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS) $(JANSSON_CFLAGS)
tests_unit_blob_throttle_test_SOURCES = %D%/blob_throttle_test.c
tests_unit_blob_throttle_test_LDADD = libblob.la $(CMOCKA_LIBS)
tests_unit_blob_throttle_test_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_blob_url_test_SOURCES = %D%/blob_url_test.c
tests_unit_blob_url_test_LDADD = libblob.la $(CMOCKA_LIBS)
tests_unit_blob_url_test_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
EXTRA_DIST += tests/data/signing-vectors
