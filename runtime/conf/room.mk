# SPDX-License-Identifier: Apache-2.0
libkos_la_SOURCES += runtime/conf/conf.h runtime/conf/doc.c runtime/conf/scan.h runtime/conf/scan.c runtime/conf/units.c \
  runtime/conf/check.h runtime/conf/check.c runtime/conf/bind.c runtime/conf/values.c runtime/conf/guard.c

if HAVE_CHECK
check_PROGRAMS += runtime/conf/conf_test runtime/conf/bind_test
TESTS += runtime/conf/conf_test runtime/conf/bind_test
runtime_conf_conf_test_SOURCES = runtime/conf/conf_test.c
runtime_conf_conf_test_CPPFLAGS = $(TEST_CPPFLAGS)
runtime_conf_conf_test_LDADD = $(TEST_LIBS)
runtime_conf_bind_test_SOURCES = runtime/conf/bind_test.c
runtime_conf_bind_test_CPPFLAGS = $(TEST_CPPFLAGS)
runtime_conf_bind_test_LDADD = $(TEST_LIBS)
endif
libkos_la_SOURCES += runtime/conf/instance.h runtime/conf/instance.c runtime/conf/passphrase.h runtime/conf/passphrase.c
