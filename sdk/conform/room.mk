# SPDX-License-Identifier: Apache-2.0
# kos-conform: a host that judges plugins, by itself; it stands below the driver and above nothing.
bin_PROGRAMS += kos-conform
kos_conform_SOURCES = sdk/conform/conform.h sdk/conform/rules.h sdk/conform/report.h sdk/conform/main.c sdk/conform/report.c \
  sdk/conform/test.c sdk/conform/host.c sdk/conform/judge.c sdk/conform/judge_link.c sdk/conform/answer.c \
  sdk/conform/answer_tx.c sdk/conform/open.c sdk/conform/suites.c sdk/conform/suite_plugin.c \
  sdk/conform/suite_transport.c sdk/conform/suite_handler.c sdk/conform/suite_control.c sdk/conform/suite_discovery.c \
  sdk/conform/suite_bridge.c sdk/conform/suite_vector.c sdk/conform/suite_service.c sdk/conform/model.c sdk/conform/model.h
kos_conform_CPPFLAGS = $(libkos_la_CPPFLAGS)
kos_conform_LDADD = libkos.la -lm
