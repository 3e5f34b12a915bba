# SPDX-License-Identifier: Apache-2.0
# kos-cell carries libklp within itself, so that it is one plain file in the build tree too: seccomp and Landlock leave no
# room for wrappers.
pkglibexec_PROGRAMS += kos-cell
kos_cell_SOURCES = runtime/cell/cell.h runtime/cell/main.c runtime/cell/serve.c runtime/cell/begin.c \
  runtime/cell/agents.c runtime/cell/describe.c
kos_cell_CPPFLAGS = $(libkosbase_la_CPPFLAGS) $(SECCOMP_CFLAGS)
kos_cell_LDADD = libkosbase.la sdk/klp/libklpall.la $(EVENT_LIBS) $(SODIUM_LIBS) $(JANSSON_LIBS) $(SECCOMP_LIBS) -lpthread -ldl
