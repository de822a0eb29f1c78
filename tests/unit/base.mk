# SPDX-License-Identifier: Apache-2.0
check_PROGRAMS += tests/unit/base_config_test
TESTS += tests/unit/base_config_test
tests_unit_base_config_test_SOURCES = %D%/base_config_test.c
tests_unit_base_config_test_LDADD = libbase.la $(CMOCKA_LIBS)
tests_unit_base_config_test_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)

check_PROGRAMS += tests/unit/base_text_test
TESTS += tests/unit/base_text_test
tests_unit_base_text_test_SOURCES = %D%/base_text_test.c
tests_unit_base_text_test_LDADD = libbase.la $(CMOCKA_LIBS)
tests_unit_base_text_test_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)

check_PROGRAMS += tests/unit/base_bufpool_test
TESTS += tests/unit/base_bufpool_test
tests_unit_base_bufpool_test_SOURCES = %D%/base_bufpool_test.c
tests_unit_base_bufpool_test_LDADD = libbase.la $(CMOCKA_LIBS)
tests_unit_base_bufpool_test_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
