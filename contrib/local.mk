# SPDX-License-Identifier: Apache-2.0
dist_bin_SCRIPTS += %D%/coffer-extract

bashcompletiondir = $(datadir)/bash-completion/completions
dist_bashcompletion_DATA = %D%/completion/coffer
EXTRA_DIST += %D%/quickstart.sh \
	%D%/systemd/coffer@.service \
	%D%/systemd/coffer-backup@.service \
	%D%/systemd/coffer-backup@.timer \
	%D%/systemd/fstab.example

# mount(8) looks for mount.TYPE in /sbin and /usr/sbin: configure with --sbindir=/usr/sbin, or put a
# link there.
install-exec-hook:
	$(MKDIR_P) "$(DESTDIR)$(sbindir)"
	$(LN_S) -f "$(bindir)/coffer" "$(DESTDIR)$(sbindir)/mount.coffer"
uninstall-hook:
	rm -f "$(DESTDIR)$(sbindir)/mount.coffer"
