# SPDX-License-Identifier: Apache-2.0
libkos_la_SOURCES += runtime/control/control.h runtime/control/server.c runtime/control/client.c
