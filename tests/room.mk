# SPDX-License-Identifier: Apache-2.0
# Every test speaks TAP on stdout; the integration tests are Python programs of tests/integration.
LOG_DRIVER = env AM_TAP_AWK='$(AWK)' $(SHELL) $(top_srcdir)/build-aux/tap-driver.sh
TEST_EXTENSIONS = .py
PY_LOG_DRIVER = $(LOG_DRIVER)
PY_LOG_COMPILER = python3
AM_TESTS_ENVIRONMENT = CK_TAP_LOG_FILE_NAME=-; CK_VERBOSITY=silent; CK_DEFAULT_TIMEOUT=120; \
  export CK_TAP_LOG_FILE_NAME CK_VERBOSITY CK_DEFAULT_TIMEOUT; \
  KOS_SRCDIR='$(abs_top_srcdir)'; KOS_BUILDDIR='$(abs_top_builddir)'; KOS_CELL='$(abs_top_builddir)/kos-cell'; \
  export KOS_SRCDIR KOS_BUILDDIR KOS_CELL; \
  PYTHONDONTWRITEBYTECODE=1; export PYTHONDONTWRITEBYTECODE;
noinst_HEADERS += tests/unit.h
include tests/vectors/room.mk
EXTRA_PROGRAMS =
include tests/bench/room.mk
include tests/sim/room.mk
include tests/crash/room.mk
include tests/radio/room.mk
include tests/bad/room.mk
include tests/pressure/room.mk
include tests/fuzz/room.mk

# Of the tree itself: rooms, manuals, plugins.
CHECKS = tests/rooms.py tests/man.py tests/plugins_test.sh
TESTS += $(CHECKS)
EXTRA_DIST += $(CHECKS) tests/summary tests/skips tests/cppcheck.h tests/cppcheck-suppressions tools/packages tools/bootstrap

# Real processes. One line each.
INTEGRATION =
include tests/attack/room.mk
INTEGRATION += tests/integration/task.py
INTEGRATION += tests/integration/restart.py
INTEGRATION += tests/integration/store.py
INTEGRATION += tests/integration/wire.py
INTEGRATION += tests/integration/policy.py
INTEGRATION += tests/integration/agents.py
INTEGRATION += tests/integration/control.py
INTEGRATION += tests/integration/bad_input.py
INTEGRATION += tests/integration/pressure.py
INTEGRATION += tests/integration/three.py
INTEGRATION += tests/integration/lora.py
INTEGRATION += tests/integration/cells.py
INTEGRATION += tests/integration/kos_new.py
INTEGRATION += tests/integration/http_cell.py
INTEGRATION += tests/integration/static.py
INTEGRATION += tests/integration/bad.py
INTEGRATION += tests/integration/stream.py
INTEGRATION += tests/integration/harden.py
if PLUGIN_VECTOR_HNSW
INTEGRATION += tests/integration/hnsw.py
endif
TESTS += $(INTEGRATION)
# What takes longest begins first, so that none of it is left alone at the end.
LONGEST = tests/integration/http_cell.py runtime/store/crash_test tests/sim/sim.py tests/integration/lora.py tests/crash/crash.py \
  tests/integration/restart.py tests/integration/kos_new.py tests/integration/bad.py tests/integration/three.py tests/integration/cells.py
list-tests:
	@rest=; for test in $(TESTS); do case " $(LONGEST) " in *" $$test "*) ;; *) rest="$$rest $$test" ;; esac; done; echo $(LONGEST) $$rest
.PHONY: list-tests
EXTRA_DIST += $(INTEGRATION) tests/integration/hnsw.py tests/integration/kit.py
