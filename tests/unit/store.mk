# SPDX-License-Identifier: Apache-2.0
store_tests = \
	tests/unit/store_chunker_test \
	tests/unit/store_crypto_test \
	tests/unit/store_index_test \
	tests/unit/store_keys_test \
	tests/unit/store_seal_test
check_PROGRAMS += $(store_tests)
TESTS += $(store_tests)
store_test_cflags = $(AM_CFLAGS) $(CMOCKA_CFLAGS) $(CRYPTO_CFLAGS) $(ZSTD_CFLAGS)
store_test_libs = libstore.la $(CMOCKA_LIBS) $(CRYPTO_LIBS) $(ZSTD_LIBS)

tests_unit_store_crypto_test_SOURCES = %D%/store_crypto_test.c %D%/store_keys_helper.h
tests_unit_store_crypto_test_CFLAGS = $(store_test_cflags)
tests_unit_store_crypto_test_LDADD = $(store_test_libs)

tests_unit_store_seal_test_SOURCES = %D%/store_seal_test.c %D%/store_keys_helper.h
tests_unit_store_seal_test_CFLAGS = $(store_test_cflags)
tests_unit_store_seal_test_LDADD = $(store_test_libs)

tests_unit_store_chunker_test_SOURCES = %D%/store_chunker_test.c
tests_unit_store_chunker_test_CFLAGS = $(store_test_cflags)
tests_unit_store_chunker_test_LDADD = $(store_test_libs)

tests_unit_store_keys_test_SOURCES = %D%/store_keys_test.c
tests_unit_store_keys_test_CFLAGS = $(store_test_cflags)
tests_unit_store_keys_test_LDADD = $(store_test_libs)

check_PROGRAMS += tests/unit/store_reader_test
TESTS += tests/unit/store_reader_test
tests_unit_store_reader_test_SOURCES = %D%/store_reader_test.c %D%/store_reader_util.c \
	%D%/store_reader_util.h %D%/store_keys_helper.h
tests_unit_store_reader_test_CFLAGS = $(store_test_cflags)
tests_unit_store_reader_test_LDADD = $(store_test_libs)

check_PROGRAMS += tests/unit/store_reader_ahead_test
TESTS += tests/unit/store_reader_ahead_test
tests_unit_store_reader_ahead_test_SOURCES = %D%/store_reader_ahead_test.c %D%/store_reader_util.c \
	%D%/store_reader_util.h %D%/store_keys_helper.h
tests_unit_store_reader_ahead_test_CFLAGS = $(store_test_cflags)
tests_unit_store_reader_ahead_test_LDADD = $(store_test_libs)

tests_unit_store_index_test_SOURCES = %D%/store_index_test.c
tests_unit_store_index_test_CFLAGS = $(store_test_cflags)
tests_unit_store_index_test_LDADD = $(store_test_libs)

check_PROGRAMS += tests/unit/store_check_test
TESTS += tests/unit/store_check_test
tests_unit_store_check_test_SOURCES = %D%/store_check_test.c %D%/store_reader_util.c \
	%D%/store_reader_util.h %D%/store_keys_helper.h
tests_unit_store_check_test_CFLAGS = $(store_test_cflags)
tests_unit_store_check_test_LDADD = $(store_test_libs)

check_PROGRAMS += tests/unit/store_lanes_test
TESTS += tests/unit/store_lanes_test
tests_unit_store_lanes_test_SOURCES = %D%/store_lanes_test.c %D%/store_keys_helper.h
tests_unit_store_lanes_test_CFLAGS = $(store_test_cflags)
tests_unit_store_lanes_test_LDADD = $(store_test_libs)
