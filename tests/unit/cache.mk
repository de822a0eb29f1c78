# SPDX-License-Identifier: Apache-2.0
check_PROGRAMS += tests/unit/cache_blockcache_test
TESTS += tests/unit/cache_blockcache_test
tests_unit_cache_blockcache_test_SOURCES = %D%/cache_blockcache_test.c %D%/cache_util.c \
	%D%/cache_util.h
tests_unit_cache_blockcache_test_LDADD = libcache.la $(CMOCKA_LIBS)
tests_unit_cache_blockcache_test_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_cache_blockcache_test_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/tests

check_PROGRAMS += tests/unit/cache_fault_test
TESTS += tests/unit/cache_fault_test
tests_unit_cache_fault_test_SOURCES = %D%/cache_fault_test.c %D%/cache_util.c %D%/cache_util.h
tests_unit_cache_fault_test_LDADD = libcache.la $(CMOCKA_LIBS)
tests_unit_cache_fault_test_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_cache_fault_test_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/tests

check_PROGRAMS += tests/unit/cache_reader_test
TESTS += tests/unit/cache_reader_test
tests_unit_cache_reader_test_SOURCES = %D%/cache_reader_test.c %D%/cache_util.c %D%/cache_util.h \
	%D%/store_reader_util.c %D%/store_reader_util.h %D%/store_keys_helper.h
tests_unit_cache_reader_test_LDADD = libcache.la libstore.la $(CMOCKA_LIBS)
tests_unit_cache_reader_test_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_cache_reader_test_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/tests \
	-I$(top_srcdir)/tests/unit
