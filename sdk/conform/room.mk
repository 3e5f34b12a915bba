# SPDX-License-Identifier: Apache-2.0
# kos-conform: a host that judges plugins.
bin_PROGRAMS += kos-conform
kos_conform_SOURCES = sdk/conform/conform.h sdk/conform/rules.h sdk/conform/report.h sdk/conform/main.c sdk/conform/report.c \
  sdk/conform/test.c sdk/conform/host.c sdk/conform/judge.c sdk/conform/judge_link.c sdk/conform/answer.c \
  sdk/conform/answer_tx.c sdk/conform/open.c sdk/conform/cell.c sdk/conform/suites.c sdk/conform/suite_plugin.c \
  sdk/conform/suite_transport.c sdk/conform/suite_handler.c sdk/conform/suite_control.c sdk/conform/suite_discovery.c \
  sdk/conform/suite_bridge.c sdk/conform/suite_vector.c sdk/conform/suite_service.c sdk/conform/suite_stream.c sdk/conform/model.c sdk/conform/model.h
kos_conform_CPPFLAGS = $(libkos_la_CPPFLAGS)
# With all of ours within itself, as kos-cell: it runs wherever it is put.
kos_conform_SOURCES += runtime/conf/doc.c runtime/conf/scan.c runtime/conf/units.c runtime/conf/check.c runtime/conf/bind.c \
  runtime/conf/values.c
kos_conform_LDADD = libkosbase.la sdk/klp/libklpall.la $(EVENT_LIBS) $(CONFIG_LIBS) $(SODIUM_LIBS) $(JANSSON_LIBS) \
  $(SECCOMP_LIBS) -lpthread -ldl -lm

# Plugins that break one sentence each: one module for each kind, KOS_MUTANT says which.
CONFORM_MUTANTS = sdk/conform/mutants/plugin.so sdk/conform/mutants/transport.so sdk/conform/mutants/discovery.so \
  sdk/conform/mutants/bridge.so sdk/conform/mutants/vector.so sdk/conform/mutants/control.so sdk/conform/mutants/service.so \
  sdk/conform/mutants/stream.so
CONFORM_CC = $(CC) -D_GNU_SOURCE= -I$(srcdir)/sdk $(AM_CFLAGS) $(CFLAGS) $(AM_LDFLAGS) $(LDFLAGS) -shared -fPIC
check_DATA += $(CONFORM_MUTANTS)
CLEANFILES += $(CONFORM_MUTANTS)
sdk/conform/mutants/%.so: sdk/conform/mutants/%.c sdk/conform/mutants/mutant.h $(kosheaders_HEADERS) $(EXAMPLES)
	@$(MKDIR_P) sdk/conform/mutants
	$(AM_V_CCLD)$(CONFORM_CC) $(OPENSSL_CFLAGS) -o $@ $(srcdir)/sdk/conform/mutants/$*.c $(OPENSSL_LIBS) -lm -lpthread -ldl

# The first on kos-conform itself, the second with it on every plugin of the tree.
CONFORM_TESTS = sdk/conform/conform_test.py sdk/conform/plugins_test.py
TESTS += $(CONFORM_TESTS)
EXTRA_DIST += $(CONFORM_TESTS) sdk/conform/mutants/mutant.h sdk/conform/mutants/plugin.c sdk/conform/mutants/transport.c \
  sdk/conform/mutants/discovery.c sdk/conform/mutants/bridge.c sdk/conform/mutants/vector.c sdk/conform/mutants/control.c \
  sdk/conform/mutants/service.c sdk/conform/mutants/stream.c
