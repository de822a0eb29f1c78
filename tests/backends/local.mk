# SPDX-License-Identifier: Apache-2.0
# One program against every backend.  `make check` runs it on a directory and in memory; run.sh
# starts the servers and runs it on each.
check_PROGRAMS += tests/backends/conformance tests/backends/faults
tests_backends_faults_SOURCES = %D%/faults.c
tests_backends_faults_LDADD = libblob.la
tests_backends_conformance_SOURCES = \
	%D%/conformance.c %D%/conformance.h %D%/conformance_tests.c
tests_backends_conformance_LDADD = libblob.la
dist_check_SCRIPTS += %D%/local.sh
TESTS += %D%/local.sh
EXTRA_DIST += %D%/run.sh
