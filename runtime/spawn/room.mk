# SPDX-License-Identifier: Apache-2.0
libkos_la_SOURCES += runtime/spawn/spawn.h runtime/spawn/wire.h runtime/spawn/spawner.h runtime/spawn/client.c runtime/spawn/look.c runtime/spawn/spawner.c \
  runtime/spawn/keeper.c runtime/spawn/child.c runtime/spawn/confine.c runtime/spawn/tree.c

if HAVE_CHECK
check_PROGRAMS += runtime/spawn/spawn_test runtime/spawn/agents_test runtime/spawn/probe
TESTS += runtime/spawn/spawn_test runtime/spawn/agents_test
runtime_spawn_spawn_test_SOURCES = runtime/spawn/spawn_test.c
runtime_spawn_spawn_test_CPPFLAGS = $(TEST_CPPFLAGS)
runtime_spawn_spawn_test_LDADD = $(TEST_LIBS)
runtime_spawn_agents_test_SOURCES = runtime/spawn/agents_test.c
runtime_spawn_agents_test_CPPFLAGS = $(TEST_CPPFLAGS)
runtime_spawn_agents_test_LDADD = $(TEST_LIBS)
runtime_spawn_probe_SOURCES = runtime/spawn/probe.c
endif
