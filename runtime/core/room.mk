# SPDX-License-Identifier: Apache-2.0
libkosbase_la_SOURCES += runtime/core/env.h runtime/core/env.c runtime/core/loop.h runtime/core/loop.c \
  runtime/core/manual.h runtime/core/manual.c runtime/core/buf.h runtime/core/buf.c runtime/core/files.c runtime/core/files.h \
  runtime/core/pool.c runtime/core/pool.h runtime/core/turn.c runtime/core/turn.h runtime/core/manual_files.c runtime/core/manual_files.h \
  runtime/core/manual_disk.c runtime/core/manual_disk.h runtime/core/plain.h runtime/core/plain.c

if HAVE_CHECK
check_PROGRAMS += runtime/core/manual_test runtime/core/loop_test
TESTS += runtime/core/manual_test runtime/core/loop_test
runtime_core_manual_test_SOURCES = runtime/core/manual_test.c
runtime_core_manual_test_CPPFLAGS = $(TEST_CPPFLAGS)
runtime_core_manual_test_LDADD = $(TEST_LIBS)
runtime_core_loop_test_SOURCES = runtime/core/loop_test.c
runtime_core_loop_test_CPPFLAGS = $(TEST_CPPFLAGS)
runtime_core_loop_test_LDADD = $(TEST_LIBS)
endif
