# SPDX-License-Identifier: Apache-2.0
# The rules of the house, checked by machine: layers, style, headers that stand alone.
dist_check_SCRIPTS += \
	tools/check-layers \
	tools/check-style \
	tests/build/checks_test.sh
TESTS += \
	tools/check-layers \
	tools/check-style \
	tests/build/checks_test.sh
EXTRA_DIST += tools/check-headers tools/dist-files src/LAYERS

check-headers:
	@$(srcdir)/tools/check-headers $(srcdir) $(CC) $(AM_CPPFLAGS) $(CPPFLAGS) $(AM_CFLAGS) \
	  $(FUSE_CFLAGS) $(CURL_CFLAGS) $(CRYPTO_CFLAGS) $(ZSTD_CFLAGS) $(SQLITE_CFLAGS) \
	  $(JANSSON_CFLAGS) $(CONFUSE_CFLAGS) $(CFLAGS)
check-local: check-headers
.PHONY: check-headers

dist-hook:
	$(srcdir)/tools/check-layers $(srcdir)
	$(srcdir)/tools/check-style $(srcdir)
	$(srcdir)/tools/dist-files $(srcdir) $(distdir)
