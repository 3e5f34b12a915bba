# SPDX-License-Identifier: Apache-2.0
if PLUGIN_SERVICE_HTTP
plugin_LTLIBRARIES += plugins/service/http/http.la
endif
SERVICE_HTTP_FLAGS = -D_GNU_SOURCE= -I$(srcdir)/sdk $(EVENT_CFLAGS) $(EVENT_EXTRA_CFLAGS) $(CURL_CFLAGS) $(JANSSON_CFLAGS)
SERVICE_HTTP_LIBS = $(EVENT_LIBS) $(EVENT_EXTRA_LIBS) $(CURL_LIBS) $(JANSSON_LIBS) -lpthread
plugins_service_http_http_la_SOURCES = plugins/service/http/plugin.c plugins/service/http/control.c plugins/service/http/net.c \
  plugins/service/http/server.c plugins/service/http/connection.c plugins/service/http/server.h plugins/service/http/client.c \
  plugins/service/http/resolve.c plugins/service/http/client.h plugins/service/http/note.c plugins/service/http/message.c \
  plugins/service/http/guard.c plugins/service/http/route.c plugins/service/http/address.c plugins/service/http/http.h
plugins_service_http_http_la_CPPFLAGS = $(SERVICE_HTTP_FLAGS)
plugins_service_http_http_la_LDFLAGS = $(PLUGIN_LDFLAGS)
plugins_service_http_http_la_LIBADD = $(SERVICE_HTTP_LIBS)

if HAVE_CHECK
if PLUGIN_SERVICE_HTTP
check_PROGRAMS += plugins/service/http/parse_test plugins/service/http/http_test
TESTS += plugins/service/http/parse_test plugins/service/http/http_test
endif
plugins_service_http_parse_test_SOURCES = plugins/service/http/parse_test.c plugins/service/http/message.c \
  plugins/service/http/guard.c plugins/service/http/route.c plugins/service/http/address.c plugins/service/http/http.h
plugins_service_http_parse_test_CPPFLAGS = $(SERVICE_HTTP_FLAGS) -I$(srcdir)/tests $(CHECK_CFLAGS)
plugins_service_http_parse_test_LDADD = $(CHECK_LIBS)
plugins_service_http_http_test_SOURCES = plugins/service/http/http_test.c $(plugins_service_http_http_la_SOURCES) \
  sdk/examples/poll_host.c sdk/examples/poll_host.h
plugins_service_http_http_test_CPPFLAGS = $(SERVICE_HTTP_FLAGS) -I$(srcdir)/tests $(CHECK_CFLAGS)
plugins_service_http_http_test_LDADD = $(SERVICE_HTTP_LIBS) $(CHECK_LIBS)
endif
