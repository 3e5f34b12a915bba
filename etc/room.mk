# SPDX-License-Identifier: Apache-2.0
pkgconfig_DATA = etc/kos-sdk.pc etc/klp.pc
# The manifest that `kosctl init` puts into a new instance.
policydir = $(pkgdatadir)/policy.d
dist_policy_DATA = etc/policy.d/default.klp-policy

EXTRA_DIST += etc/kosd.service.in etc/kos.sysusers.in etc/kos.tmpfiles.in etc/kosctl.bash etc/kos-new.bash etc/kos-conform.bash
bashcompletion_DATA = etc/bash/kosctl etc/bash/kos-new etc/bash/kos-conform
if SYSTEMD
systemdsystemunit_DATA = etc/kosd.service
sysusers_DATA = etc/sysusers.d/kos.conf
tmpfiles_DATA = etc/tmpfiles.d/kos.conf
endif
CLEANFILES += etc/kosd.service etc/sysusers.d/kos.conf etc/tmpfiles.d/kos.conf etc/bash/kosctl etc/bash/kos-new etc/bash/kos-conform

# Directories are known to make alone. systemd makes those of /var and /etc itself; of another prefix tmpfiles does.
etc_sed = $(AM_V_GEN)$(MKDIR_P) $(@D) && \
  case '$(localstatedir)' in /var) state='StateDirectory=kos\nStateDirectoryMode=0700' ;; \
    *) state='ReadWritePaths=$(localstatedir)/lib/kos' ;; esac && \
  case '$(sysconfdir)' in /etc) configuration='ConfigurationDirectory=kos\nConfigurationDirectoryMode=0750' ;; \
    *) configuration='\# Settings: $(sysconfdir)/kos' ;; esac && \
  sed -e 's|@sbindir[@]|$(sbindir)|g' -e 's|@confdir[@]|$(sysconfdir)/kos|g' -e 's|@statedir[@]|$(localstatedir)/lib/kos|g' \
    -e "s|@STATE[@]|$$state|" -e "s|@CONFIGURATION[@]|$$configuration|"
etc/kosd.service: etc/kosd.service.in Makefile
	$(etc_sed) $(srcdir)/etc/kosd.service.in > $@.tmp && mv $@.tmp $@
etc/sysusers.d/kos.conf: etc/kos.sysusers.in Makefile
	$(etc_sed) $(srcdir)/etc/kos.sysusers.in > $@.tmp && mv $@.tmp $@
etc/tmpfiles.d/kos.conf: etc/kos.tmpfiles.in Makefile
	$(etc_sed) $(srcdir)/etc/kos.tmpfiles.in > $@.tmp && mv $@.tmp $@
etc/bash/kosctl: etc/kosctl.bash
	$(AM_V_GEN)$(MKDIR_P) etc/bash && cp $(srcdir)/etc/kosctl.bash $@.tmp && mv $@.tmp $@
etc/bash/kos-new: etc/kos-new.bash
	$(AM_V_GEN)$(MKDIR_P) etc/bash && cp $(srcdir)/etc/kos-new.bash $@.tmp && mv $@.tmp $@
etc/bash/kos-conform: etc/kos-conform.bash
	$(AM_V_GEN)$(MKDIR_P) etc/bash && cp $(srcdir)/etc/kos-conform.bash $@.tmp && mv $@.tmp $@

# Directories of our own go with the last file in them.
uninstall-hook:
	@for dir in $(policydir) $(kosnewdir) $(sdkdir) $(pkgdatadir) $(plugindir) $(pkglibdir) $(pkglibexecdir) $(kosincludedir)/kos $(kosincludedir)/klp; do \
	  rmdir "$(DESTDIR)$$dir" 2>/dev/null || :; \
	done
