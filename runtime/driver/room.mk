# SPDX-License-Identifier: Apache-2.0
libkosbase_la_SOURCES += runtime/driver/driver.h runtime/driver/driver_private.h runtime/driver/driver.c runtime/driver/table.c \
  runtime/driver/reactor.c runtime/driver/backend.h runtime/driver/services.h runtime/driver/frame.h runtime/driver/frame.c \
  runtime/driver/channel.h runtime/driver/channel.c runtime/driver/remote.h runtime/driver/remote.c \
  runtime/driver/down.h runtime/driver/down.c runtime/driver/tables.c runtime/driver/up.h runtime/driver/up.c runtime/driver/up_run.c \
  runtime/driver/http_frame.h runtime/driver/http_frame.c runtime/driver/manifest.h runtime/driver/manifest.c \
  runtime/driver/manifest_json.c runtime/driver/loader.c

if HAVE_CHECK
check_PROGRAMS += runtime/driver/frame_test
TESTS += runtime/driver/frame_test
runtime_driver_frame_test_SOURCES = runtime/driver/frame_test.c
runtime_driver_frame_test_CPPFLAGS = $(TEST_CPPFLAGS)
runtime_driver_frame_test_LDADD = $(TEST_LIBS)
endif
