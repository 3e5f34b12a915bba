# SPDX-License-Identifier: Apache-2.0
libkos_la_SOURCES += runtime/agents/agents.h runtime/agents/private.h runtime/agents/stdio.h runtime/agents/registry.c \
  runtime/agents/records.c runtime/agents/run.c runtime/agents/trail.c runtime/agents/audit.c runtime/agents/check.c runtime/agents/text.c runtime/agents/inputs.c \
  runtime/agents/exec.c runtime/agents/stdio.c runtime/agents/stdio_task.c runtime/agents/stdio_line.c runtime/agents/stdio_request.c

if HAVE_CHECK
check_PROGRAMS += runtime/agents/registry_test runtime/agents/stdio_test
TESTS += runtime/agents/registry_test runtime/agents/stdio_test
runtime_agents_registry_test_SOURCES = runtime/agents/registry_test.c runtime/agents/fixture.h
runtime_agents_registry_test_CPPFLAGS = $(TEST_CPPFLAGS)
runtime_agents_registry_test_LDADD = $(TEST_LIBS)
runtime_agents_stdio_test_SOURCES = runtime/agents/stdio_test.c runtime/agents/fixture.h
runtime_agents_stdio_test_CPPFLAGS = $(TEST_CPPFLAGS)
runtime_agents_stdio_test_LDADD = $(TEST_LIBS)
endif
