# SPDX-License-Identifier: Apache-2.0
# Every test speaks TAP on stdout; the integration tests are Python programs of tests/integration.
LOG_DRIVER = env AM_TAP_AWK='$(AWK)' $(SHELL) $(top_srcdir)/build-aux/tap-driver.sh
TEST_EXTENSIONS = .py
PY_LOG_DRIVER = $(LOG_DRIVER)
PY_LOG_COMPILER = python3
AM_TESTS_ENVIRONMENT = CK_TAP_LOG_FILE_NAME=-; CK_VERBOSITY=silent; CK_DEFAULT_TIMEOUT=120; \
  export CK_TAP_LOG_FILE_NAME CK_VERBOSITY CK_DEFAULT_TIMEOUT; \
  KOS_SRCDIR='$(abs_top_srcdir)'; KOS_BUILDDIR='$(abs_top_builddir)'; export KOS_SRCDIR KOS_BUILDDIR;
noinst_HEADERS += tests/unit.h
include tests/vectors/room.mk
EXTRA_DIST += tests/rooms.py tests/summary tests/skips tools/packages tools/bootstrap
TESTS += tests/rooms.py

INTEGRATION = tests/integration/task.py \
  tests/integration/wire.py \
  tests/integration/restart.py \
  tests/integration/policy.py
TESTS += $(INTEGRATION)
EXTRA_DIST += $(INTEGRATION) tests/integration/kit.py
TESTS += tests/plugins_test.sh
EXTRA_DIST += tests/plugins_test.sh
