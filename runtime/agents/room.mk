# SPDX-License-Identifier: Apache-2.0
libkos_la_SOURCES += runtime/agents/agents.h runtime/agents/private.h runtime/agents/stdio.h runtime/agents/registry.c \
  runtime/agents/records.c runtime/agents/run.c runtime/agents/trail.c runtime/agents/audit.c runtime/agents/text.c runtime/agents/inputs.c \
  runtime/agents/exec.c runtime/agents/stdio.c runtime/agents/stdio_task.c runtime/agents/stdio_line.c runtime/agents/stdio_request.c
