# SPDX-License-Identifier: Apache-2.0
if PLUGIN_HANDLER_TASK_REQUEST
plugin_LTLIBRARIES += plugins/handler/task_request/task_request.la
endif
plugins_handler_task_request_task_request_la_SOURCES = plugins/handler/task_request/plugin.c plugins/handler/task_request/ask.c plugins/handler/task_request/perform.c \
  plugins/handler/task_request/record.c plugins/handler/task_request/effect.c plugins/handler/task_request/control.c plugins/handler/task_request/task.h
plugins_handler_task_request_task_request_la_CPPFLAGS = $(AM_CPPFLAGS) $(SODIUM_CFLAGS)
plugins_handler_task_request_task_request_la_LDFLAGS = $(PLUGIN_LDFLAGS)
plugins_handler_task_request_task_request_la_LIBADD = $(PLUGIN_KLP) $(SODIUM_LIBS)
