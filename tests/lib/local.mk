# SPDX-License-Identifier: Apache-2.0
check_PROGRAMS += tests/lib/delayproxy
tests_lib_delayproxy_SOURCES = %D%/delayproxy.c
