# SPDX-License-Identifier: Apache-2.0
sbin_PROGRAMS += kosd
kosd_SOURCES = runtime/kosd/main.c runtime/kosd/kosd.h runtime/kosd/notify.c runtime/kosd/harden.c runtime/kosd/node.h runtime/kosd/node.c \
  runtime/kosd/interface.c runtime/kosd/plugins.c
kosd_CPPFLAGS = $(libkos_la_CPPFLAGS)
kosd_LDADD = libkos.la
