# SPDX-License-Identifier: Apache-2.0
libkos_la_SOURCES += runtime/host/host.h runtime/host/hosting.c runtime/host/services.h runtime/host/services.c runtime/host/rights.c \
  runtime/host/wiring.c \
  runtime/host/describe.c runtime/host/cell.h runtime/host/cell.c runtime/host/reload.c \
  runtime/host/open.c runtime/host/secret.c runtime/host/tx.c runtime/host/carrier.c runtime/host/sink.c \
  runtime/host/control.c runtime/host/agents.c runtime/host/ops.c runtime/host/discovery.c runtime/host/bridge.c \
  runtime/host/http.c runtime/host/stream.c

if HAVE_CHECK
# Modules of the tests: one source, a variant each. Linked as plugins are, but that bad-UNDEFINED must link.
HOST_BAD = MAJOR SYMBOL ABI NULL SIZE TABLE_NULL TABLE_SIZE CRASH HANG UNDEFINED SLY NAME KIND SETTING RIGHT INIT EXIT
HOST_MODULES = $(HOST_BAD:%=runtime/host/testing/bad-%.so) runtime/host/testing/probe.so runtime/host/testing/twin.so
HOST_MODULE_CC = $(CC) -D_GNU_SOURCE= -I$(srcdir)/sdk $(AM_CFLAGS) $(CFLAGS) $(AM_LDFLAGS) $(LDFLAGS) -shared -fPIC
check_DATA += $(HOST_MODULES)
CLEANFILES += $(HOST_MODULES)
EXTRA_DIST += runtime/host/testing/bad.c runtime/host/testing/probe.c
runtime/host/testing/bad-%.so: runtime/host/testing/bad.c $(kosheaders_HEADERS)
	@$(MKDIR_P) runtime/host/testing
	$(AM_V_CCLD)$(HOST_MODULE_CC) -DBAD=BAD_$* -o $@ $(srcdir)/runtime/host/testing/bad.c
runtime/host/testing/probe.so: runtime/host/testing/probe.c $(kosheaders_HEADERS)
	@$(MKDIR_P) runtime/host/testing
	$(AM_V_CCLD)$(HOST_MODULE_CC) -o $@ $(srcdir)/runtime/host/testing/probe.c -lpthread
runtime/host/testing/twin.so: runtime/host/testing/probe.c $(kosheaders_HEADERS)
	@$(MKDIR_P) runtime/host/testing
	$(AM_V_CCLD)$(HOST_MODULE_CC) -DPROBE='"twin"' -o $@ $(srcdir)/runtime/host/testing/probe.c -lpthread

check_PROGRAMS += runtime/host/host_test runtime/host/bad_test runtime/host/kinds_test
TESTS += runtime/host/host_test runtime/host/bad_test runtime/host/kinds_test
runtime_host_host_test_SOURCES = runtime/host/host_test.c runtime/host/testing/fakes.c runtime/host/testing/fakes.h
runtime_host_host_test_CPPFLAGS = $(TEST_CPPFLAGS)
runtime_host_host_test_LDADD = $(TEST_LIBS)
EXTRA_runtime_host_host_test_DEPENDENCIES = $(HOST_MODULES) kos-cell $(plugin_LTLIBRARIES)
runtime_host_kinds_test_SOURCES = runtime/host/kinds_test.c runtime/host/testing/fakes.c runtime/host/testing/fakes.h
runtime_host_kinds_test_CPPFLAGS = $(TEST_CPPFLAGS)
runtime_host_kinds_test_LDADD = $(TEST_LIBS)
EXTRA_runtime_host_kinds_test_DEPENDENCIES = $(HOST_MODULES) kos-cell $(plugin_LTLIBRARIES)
runtime_host_bad_test_SOURCES = runtime/host/bad_test.c runtime/host/testing/fakes.c runtime/host/testing/fakes.h
runtime_host_bad_test_CPPFLAGS = $(TEST_CPPFLAGS)
runtime_host_bad_test_LDADD = $(TEST_LIBS)
EXTRA_runtime_host_bad_test_DEPENDENCIES = $(HOST_MODULES) kos-cell
check_PROGRAMS += runtime/host/cell_test
TESTS += runtime/host/cell_test
runtime_host_cell_test_SOURCES = runtime/host/cell_test.c runtime/host/testing/fakes.c runtime/host/testing/fakes.h
runtime_host_cell_test_CPPFLAGS = $(TEST_CPPFLAGS)
runtime_host_cell_test_LDADD = $(TEST_LIBS)
EXTRA_runtime_host_cell_test_DEPENDENCIES = $(HOST_MODULES) kos-cell
endif
