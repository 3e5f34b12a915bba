# SPDX-License-Identifier: Apache-2.0
# Real processes, killed and robbed of what they did not flush. tests/crash/README.md.
check_LTLIBRARIES += tests/crash/ledger.la
tests_crash_ledger_la_SOURCES = tests/crash/ledger.c
tests_crash_ledger_la_CPPFLAGS = $(AM_CPPFLAGS)
tests_crash_ledger_la_LDFLAGS = $(PLUGIN_LDFLAGS) -rpath /nowhere
tests_crash_ledger_la_LIBADD = $(PLUGIN_KLP)
# Preloaded into processes that may have a sanitizer; has none itself.
CLEANFILES += tests/crash/loss.so
check_DATA += tests/crash/loss.so
EXTRA_DIST += tests/crash/loss.c
tests/crash/loss.so: tests/crash/loss.c
	@$(MKDIR_P) tests/crash
	$(AM_V_CCLD)$(CC) -D_GNU_SOURCE= $(AM_CFLAGS) $(CFLAGS) -U_FORTIFY_SOURCE -fno-sanitize=all -fvisibility=default -shared -fPIC -o $@ $(srcdir)/tests/crash/loss.c -ldl

TESTS += tests/crash/crash.py
EXTRA_DIST += tests/crash/crash.py tests/crash/loss.py tests/crash/judge.py tests/crash/README.md

# Many more, with a bar: make crash KILLS=5000 SEED=1 MODE=kill|loss|lie
KILLS = 1000
SEED = 1
MODE = loss
crash: all tests/crash/ledger.la tests/crash/loss.so
	$(AM_TESTS_ENVIRONMENT) python3 $(srcdir)/tests/crash/crash.py --mode $(MODE) --kills $(KILLS) --seed $(SEED) --progress
.PHONY: crash
