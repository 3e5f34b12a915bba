# SPDX-License-Identifier: Apache-2.0
if PLUGIN_DISCOVERY_STATIC
plugin_LTLIBRARIES += plugins/discovery/static/static.la
endif
plugins_discovery_static_static_la_SOURCES = plugins/discovery/static/static.c
plugins_discovery_static_static_la_CPPFLAGS = -D_GNU_SOURCE= -I$(srcdir)/sdk
plugins_discovery_static_static_la_LDFLAGS = $(PLUGIN_LDFLAGS)
plugins_discovery_static_static_la_LIBADD = $(PLUGIN_KLP)

if HAVE_CHECK
check_PROGRAMS += plugins/discovery/static/static_test
TESTS += plugins/discovery/static/static_test
plugins_discovery_static_static_test_SOURCES = plugins/discovery/static/static_test.c plugins/discovery/static/static.c \
  sdk/examples/poll_host.c sdk/examples/poll_host.h
plugins_discovery_static_static_test_CPPFLAGS = -D_GNU_SOURCE= -I$(srcdir)/sdk -I$(srcdir)/tests $(CHECK_CFLAGS)
plugins_discovery_static_static_test_LDADD = sdk/klp/libklp.la $(CHECK_LIBS)
endif
