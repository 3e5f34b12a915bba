# SPDX-License-Identifier: Apache-2.0
if PLUGIN_TRANSPORT_TCP
plugin_LTLIBRARIES += plugins/transport/tcp/tcp.la
endif
plugins_transport_tcp_tcp_la_SOURCES = plugins/transport/tcp/tcp.c plugins/transport/tcp/link.c plugins/transport/tcp/tcp.h
plugins_transport_tcp_tcp_la_CPPFLAGS = -D_GNU_SOURCE= -I$(srcdir)/sdk
plugins_transport_tcp_tcp_la_LDFLAGS = $(PLUGIN_LDFLAGS)

if HAVE_CHECK
check_PROGRAMS += plugins/transport/tcp/tcp_test
TESTS += plugins/transport/tcp/tcp_test
plugins_transport_tcp_tcp_test_SOURCES = plugins/transport/tcp/tcp_test.c $(plugins_transport_tcp_tcp_la_SOURCES) \
  sdk/examples/poll_host.c sdk/examples/poll_host.h
plugins_transport_tcp_tcp_test_CPPFLAGS = -D_GNU_SOURCE= -I$(srcdir)/sdk -I$(srcdir)/tests $(CHECK_CFLAGS)
plugins_transport_tcp_tcp_test_LDADD = $(CHECK_LIBS)
endif
