# SPDX-License-Identifier: Apache-2.0
libkos_la_SOURCES += runtime/store/store.h runtime/store/store.c runtime/store/internal.h runtime/store/space.c \
  runtime/store/group.c runtime/store/checkpoint.c runtime/store/check.c runtime/store/look.c runtime/store/table.c runtime/store/table.h \
  runtime/store/journal.c runtime/store/journal.h runtime/store/journal_format.h runtime/store/journal_read.c \
  runtime/store/sqlite.c runtime/store/sqlite.h runtime/store/vfs.c runtime/store/vfs.h runtime/store/vfs_lock.c runtime/store/vfs_lock.h

if HAVE_CHECK
check_PROGRAMS += runtime/store/store_test runtime/store/crash_test runtime/store/real_test runtime/store/table_test
TESTS += runtime/store/store_test runtime/store/crash_test runtime/store/real_test runtime/store/table_test
runtime_store_store_test_SOURCES = runtime/store/store_test.c
runtime_store_store_test_CPPFLAGS = $(TEST_CPPFLAGS)
runtime_store_store_test_LDADD = $(TEST_LIBS)
runtime_store_crash_test_SOURCES = runtime/store/crash_test.c
runtime_store_crash_test_CPPFLAGS = $(TEST_CPPFLAGS)
runtime_store_crash_test_LDADD = $(TEST_LIBS)
runtime_store_real_test_SOURCES = runtime/store/real_test.c
runtime_store_real_test_CPPFLAGS = $(TEST_CPPFLAGS)
runtime_store_real_test_LDADD = $(TEST_LIBS)
runtime_store_table_test_SOURCES = runtime/store/table_test.c
runtime_store_table_test_CPPFLAGS = $(TEST_CPPFLAGS)
runtime_store_table_test_LDADD = $(TEST_LIBS)
endif
