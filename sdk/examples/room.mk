# SPDX-License-Identifier: Apache-2.0
# One small plugin per kind, built as any plugin is, against sdk/ alone; not installed.
EXAMPLE_LDFLAGS = $(PLUGIN_LDFLAGS) -rpath $(abs_builddir)/sdk/examples
EXAMPLE_CPPFLAGS = -D_GNU_SOURCE= -I$(srcdir)/sdk
EXAMPLES = sdk/examples/transport_loop.la sdk/examples/discovery_file.la sdk/examples/bridge_files.la sdk/examples/handler_ping.la \
  sdk/examples/vector_brute.la sdk/examples/transport_plain.la sdk/examples/discovery_list.la sdk/examples/bridge_web.la sdk/examples/stream_mirror.la
check_LTLIBRARIES += $(EXAMPLES)
sdk_examples_transport_loop_la_SOURCES = sdk/examples/transport_loop.c
sdk_examples_transport_loop_la_CPPFLAGS = $(EXAMPLE_CPPFLAGS)
sdk_examples_transport_loop_la_LDFLAGS = $(EXAMPLE_LDFLAGS)
sdk_examples_transport_plain_la_SOURCES = sdk/examples/transport_plain.c
sdk_examples_transport_plain_la_CPPFLAGS = $(EXAMPLE_CPPFLAGS)
sdk_examples_transport_plain_la_LDFLAGS = $(EXAMPLE_LDFLAGS)
sdk_examples_discovery_list_la_SOURCES = sdk/examples/discovery_list.c
sdk_examples_discovery_list_la_CPPFLAGS = $(EXAMPLE_CPPFLAGS)
sdk_examples_discovery_list_la_LDFLAGS = $(EXAMPLE_LDFLAGS)
sdk_examples_discovery_file_la_SOURCES = sdk/examples/discovery_file.c
sdk_examples_discovery_file_la_CPPFLAGS = $(EXAMPLE_CPPFLAGS)
sdk_examples_discovery_file_la_LDFLAGS = $(EXAMPLE_LDFLAGS)
sdk_examples_bridge_files_la_SOURCES = sdk/examples/bridge_files.c
sdk_examples_bridge_files_la_CPPFLAGS = $(EXAMPLE_CPPFLAGS)
sdk_examples_bridge_files_la_LDFLAGS = $(EXAMPLE_LDFLAGS)
sdk_examples_bridge_web_la_SOURCES = sdk/examples/bridge_web.c
sdk_examples_bridge_web_la_CPPFLAGS = $(EXAMPLE_CPPFLAGS) $(SODIUM_CFLAGS)
sdk_examples_bridge_web_la_LDFLAGS = $(EXAMPLE_LDFLAGS)
sdk_examples_bridge_web_la_LIBADD = $(PLUGIN_KLP) $(SODIUM_LIBS)
sdk_examples_stream_mirror_la_SOURCES = sdk/examples/stream_mirror.c
sdk_examples_stream_mirror_la_CPPFLAGS = $(EXAMPLE_CPPFLAGS)
sdk_examples_stream_mirror_la_LDFLAGS = $(EXAMPLE_LDFLAGS)
sdk_examples_handler_ping_la_SOURCES = sdk/examples/handler_ping.c
sdk_examples_handler_ping_la_CPPFLAGS = $(EXAMPLE_CPPFLAGS)
sdk_examples_handler_ping_la_LDFLAGS = $(EXAMPLE_LDFLAGS)
sdk_examples_vector_brute_la_SOURCES = sdk/examples/vector_brute.c
sdk_examples_vector_brute_la_CPPFLAGS = $(EXAMPLE_CPPFLAGS) $(OPENSSL_CFLAGS)
sdk_examples_vector_brute_la_LDFLAGS = $(EXAMPLE_LDFLAGS)
sdk_examples_vector_brute_la_LIBADD = $(OPENSSL_LIBS) -lm
EXTRA_DIST += sdk/examples/README.md

if HAVE_CHECK
check_PROGRAMS += sdk/examples/examples_test
TESTS += sdk/examples/examples_test
sdk_examples_examples_test_SOURCES = sdk/examples/examples_test.c sdk/examples/poll_host.c sdk/examples/poll_host.h
sdk_examples_examples_test_CPPFLAGS = $(EXAMPLE_CPPFLAGS) -I$(srcdir)/tests $(CHECK_CFLAGS)
sdk_examples_examples_test_LDADD = $(CHECK_LIBS) -ldl
EXTRA_sdk_examples_examples_test_DEPENDENCIES = $(EXAMPLES)
endif

# Links nothing of this tree, so that it runs confined from where it was built.
noinst_PROGRAMS += sdk/examples/agents/kos-agent-count
sdk_examples_agents_kos_agent_count_SOURCES = sdk/examples/agents/kos-agent-count.c
sdk_examples_agents_kos_agent_count_CPPFLAGS = $(AM_CPPFLAGS) $(JANSSON_CFLAGS) $(OPENSSL_CFLAGS)
sdk_examples_agents_kos_agent_count_LDADD = $(JANSSON_LIBS) $(OPENSSL_LIBS)
