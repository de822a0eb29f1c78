# SPDX-License-Identifier: Apache-2.0
check_PROGRAMS += tests/lib/delayproxy
tests_lib_delayproxy_SOURCES = %D%/delayproxy.c
EXTRA_DIST += \
	%D%/canned.c %D%/canned.h \
	%D%/faultproxy.py \
	%D%/servers/common.sh \
	%D%/servers/minio.sh \
	%D%/servers/radosgw.sh \
	%D%/servers/versitygw.sh
