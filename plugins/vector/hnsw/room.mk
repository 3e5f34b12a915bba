# SPDX-License-Identifier: Apache-2.0
if PLUGIN_VECTOR_HNSW
plugin_LTLIBRARIES += plugins/vector/hnsw/hnsw.la
endif
plugins_vector_hnsw_hnsw_la_SOURCES = plugins/vector/hnsw/plugin.c plugins/vector/hnsw/hnsw.c plugins/vector/hnsw/collection.c plugins/vector/hnsw/write.c \
  plugins/vector/hnsw/read.c plugins/vector/hnsw/rebuild.c plugins/vector/hnsw/save.c plugins/vector/hnsw/folder.c \
  plugins/vector/hnsw/wal.c plugins/vector/hnsw/table.c plugins/vector/hnsw/order.c plugins/vector/hnsw/pool.c \
  plugins/vector/hnsw/distance.c plugins/vector/hnsw/graph.cc plugins/vector/hnsw/graph.h plugins/vector/hnsw/hnsw.h
plugins_vector_hnsw_hnsw_la_CPPFLAGS = -D_GNU_SOURCE=1 -I$(srcdir)/sdk $(SODIUM_CFLAGS)
plugins_vector_hnsw_hnsw_la_LDFLAGS = $(PLUGIN_LDFLAGS) -Wl,--version-script=$(srcdir)/plugins/vector/hnsw/hnsw.map
EXTRA_plugins_vector_hnsw_hnsw_la_DEPENDENCIES = plugins/vector/hnsw/hnsw.map
EXTRA_DIST += plugins/vector/hnsw/hnsw.map
plugins_vector_hnsw_hnsw_la_LIBADD = $(PLUGIN_KLP) $(SODIUM_LIBS) -lpthread -lm

if PLUGIN_VECTOR_HNSW
if HAVE_CHECK
HNSW_TESTS = plugins/vector/hnsw/hnsw_test plugins/vector/hnsw/crash_test
check_PROGRAMS += $(HNSW_TESTS)
TESTS += $(HNSW_TESTS)
HNSW_TEST_CPPFLAGS = -D_GNU_SOURCE=1 -I$(srcdir)/sdk -I$(srcdir)/tests $(CHECK_CFLAGS)
HNSW_MODULES = plugins/vector/hnsw/hnsw.la sdk/examples/vector_brute.la
plugins_vector_hnsw_hnsw_test_SOURCES = plugins/vector/hnsw/hnsw_test.c plugins/vector/hnsw/testing.h \
  sdk/examples/poll_host.c sdk/examples/poll_host.h
plugins_vector_hnsw_hnsw_test_CPPFLAGS = $(HNSW_TEST_CPPFLAGS)
plugins_vector_hnsw_hnsw_test_LDADD = $(CHECK_LIBS) -ldl -lpthread -lm
EXTRA_plugins_vector_hnsw_hnsw_test_DEPENDENCIES = $(HNSW_MODULES)
plugins_vector_hnsw_crash_test_SOURCES = plugins/vector/hnsw/crash_test.c plugins/vector/hnsw/testing.h \
  sdk/examples/poll_host.c sdk/examples/poll_host.h
plugins_vector_hnsw_crash_test_CPPFLAGS = $(HNSW_TEST_CPPFLAGS)
plugins_vector_hnsw_crash_test_LDADD = $(CHECK_LIBS) -ldl -lpthread -lm
EXTRA_plugins_vector_hnsw_crash_test_DEPENDENCIES = $(HNSW_MODULES)
endif
endif
