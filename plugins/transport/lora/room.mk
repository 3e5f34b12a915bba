# SPDX-License-Identifier: Apache-2.0
if PLUGIN_TRANSPORT_LORA
plugin_LTLIBRARIES += plugins/transport/lora/lora.la
endif
plugins_transport_lora_lora_la_SOURCES = plugins/transport/lora/lora.c plugins/transport/lora/modem.c plugins/transport/lora/air.c \
  plugins/transport/lora/link.c plugins/transport/lora/keep.c plugins/transport/lora/status.c plugins/transport/lora/airtime.c \
  plugins/transport/lora/region.c plugins/transport/lora/kiss.c plugins/transport/lora/lora.h plugins/transport/lora/airtime.h \
  plugins/transport/lora/kiss.h
plugins_transport_lora_lora_la_CPPFLAGS = -D_GNU_SOURCE= -I$(srcdir)/sdk
plugins_transport_lora_lora_la_LDFLAGS = $(PLUGIN_LDFLAGS)

if HAVE_CHECK
LORA_TEST_CPPFLAGS = -D_GNU_SOURCE= -I$(srcdir)/sdk -I$(srcdir)/tests $(CHECK_CFLAGS)
check_PROGRAMS += plugins/transport/lora/airtime_test plugins/transport/lora/kiss_test \
  plugins/transport/lora/lora_test plugins/transport/lora/modem_test
TESTS += plugins/transport/lora/airtime_test plugins/transport/lora/kiss_test \
  plugins/transport/lora/lora_test plugins/transport/lora/modem_test
plugins_transport_lora_airtime_test_SOURCES = plugins/transport/lora/airtime_test.c plugins/transport/lora/airtime.c \
  plugins/transport/lora/region.c
plugins_transport_lora_airtime_test_CPPFLAGS = $(LORA_TEST_CPPFLAGS)
plugins_transport_lora_airtime_test_LDADD = $(CHECK_LIBS)
plugins_transport_lora_kiss_test_SOURCES = plugins/transport/lora/kiss_test.c plugins/transport/lora/kiss.c
plugins_transport_lora_kiss_test_CPPFLAGS = $(LORA_TEST_CPPFLAGS)
plugins_transport_lora_kiss_test_LDADD = $(CHECK_LIBS)
LORA_TESTING = plugins/transport/lora/lora_testing.c plugins/transport/lora/lora_testing.h $(plugins_transport_lora_lora_la_SOURCES) \
  sdk/examples/poll_host.c sdk/examples/poll_host.h
LORA_TESTING_CPPFLAGS = $(LORA_TEST_CPPFLAGS) -DRADIO_SIM='"$(abs_builddir)/tests/radio/kos-radio-sim"'
plugins_transport_lora_lora_test_SOURCES = plugins/transport/lora/lora_test.c $(LORA_TESTING)
plugins_transport_lora_lora_test_CPPFLAGS = $(LORA_TESTING_CPPFLAGS)
plugins_transport_lora_lora_test_LDADD = $(CHECK_LIBS)
EXTRA_plugins_transport_lora_lora_test_DEPENDENCIES = tests/radio/kos-radio-sim$(EXEEXT)
plugins_transport_lora_modem_test_SOURCES = plugins/transport/lora/modem_test.c $(LORA_TESTING)
plugins_transport_lora_modem_test_CPPFLAGS = $(LORA_TESTING_CPPFLAGS)
plugins_transport_lora_modem_test_LDADD = $(CHECK_LIBS)
EXTRA_plugins_transport_lora_modem_test_DEPENDENCIES = tests/radio/kos-radio-sim$(EXEEXT)
endif
