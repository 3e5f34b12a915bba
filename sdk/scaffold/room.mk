# SPDX-License-Identifier: Apache-2.0
# kos-new and what it writes from: the examples themselves, and the small host that unit tests of plugins run under.
sdkdir = $(pkgdatadir)/sdk
dist_sdk_DATA = sdk/examples/handler_ping.c sdk/examples/transport_plain.c sdk/examples/discovery_list.c sdk/examples/bridge_files.c \
  sdk/examples/vector_brute.c sdk/examples/poll_host.c sdk/examples/poll_host.h sdk/scaffold/kos_test.h
kosnewdir = $(sdkdir)/kos-new
dist_kosnew_DATA = sdk/scaffold/c++.sed sdk/scaffold/project.mk sdk/scaffold/project.ac sdk/scaffold/project.am \
  sdk/scaffold/project.md sdk/scaffold/project.klp-policy sdk/scaffold/handler_test.c sdk/scaffold/transport_test.c \
  sdk/scaffold/discovery_test.c sdk/scaffold/bridge_test.c sdk/scaffold/vector_test.c
aclocaldir = $(datadir)/aclocal
dist_aclocal_DATA = sdk/scaffold/kos.m4

bin_SCRIPTS = sdk/scaffold/kos-new
EXTRA_DIST += sdk/scaffold/kos-new.in
CLEANFILES += sdk/scaffold/kos-new
sdk/scaffold/kos-new: sdk/scaffold/kos-new.in Makefile
	$(AM_V_GEN)$(MKDIR_P) $(@D) && from=$$(realpath -ms --relative-to='$(bindir)' '$(sdkdir)') && \
	  sed -e 's|@VERSION[@]|$(PACKAGE_VERSION)|g' -e 's|@sdkdir[@]|$(sdkdir)|g' -e "s|@fromhere[@]|$$from|g" \
	    $(srcdir)/sdk/scaffold/kos-new.in > $@.tmp && chmod +x $@.tmp && mv $@.tmp $@
