# SPDX-License-Identifier: Apache-2.0
if PLUGIN_BRIDGE_NATS
plugin_LTLIBRARIES += plugins/bridge/nats/nats.la
endif
plugins_bridge_nats_nats_la_SOURCES = plugins/bridge/nats/plugin.c plugins/bridge/nats/settings.c plugins/bridge/nats/subject.c \
  plugins/bridge/nats/outward.c plugins/bridge/nats/inward.c plugins/bridge/nats/lane.c plugins/bridge/nats/status.c \
  plugins/bridge/nats/link.c plugins/bridge/nats/stream.c plugins/bridge/nats/auth.c plugins/bridge/nats/nats.h \
  plugins/bridge/nats/link.h
plugins_bridge_nats_nats_la_CPPFLAGS = -D_GNU_SOURCE= -I$(srcdir)/sdk $(NATS_CFLAGS) $(SODIUM_CFLAGS)
plugins_bridge_nats_nats_la_LDFLAGS = $(PLUGIN_LDFLAGS)
plugins_bridge_nats_nats_la_LIBADD = $(PLUGIN_KLP) $(NATS_LIBS) $(OPENSSL_LIBS) $(SODIUM_LIBS) -lpthread -lresolv

if HAVE_CHECK
if PLUGIN_BRIDGE_NATS
check_PROGRAMS += plugins/bridge/nats/nats_test tests/interop/nats_drive
TESTS += plugins/bridge/nats/nats_test tests/interop/nats.py tests/integration/nats.py
endif
plugins_bridge_nats_nats_test_SOURCES = plugins/bridge/nats/nats_test.c $(plugins_bridge_nats_nats_la_SOURCES) \
  sdk/examples/poll_host.c sdk/examples/poll_host.h
plugins_bridge_nats_nats_test_CPPFLAGS = $(plugins_bridge_nats_nats_la_CPPFLAGS) -I$(srcdir)/tests $(CHECK_CFLAGS)
plugins_bridge_nats_nats_test_LDADD = $(plugins_bridge_nats_nats_la_LIBADD) $(CHECK_LIBS)
tests_interop_nats_drive_SOURCES = tests/interop/nats_drive.c $(plugins_bridge_nats_nats_la_SOURCES) \
  sdk/examples/poll_host.c sdk/examples/poll_host.h
tests_interop_nats_drive_CPPFLAGS = $(plugins_bridge_nats_nats_la_CPPFLAGS)
tests_interop_nats_drive_LDADD = $(plugins_bridge_nats_nats_la_LIBADD)
endif
EXTRA_DIST += tests/integration/nats.py tests/interop/nats.py tests/interop/nats_server.py tests/interop/README.md
