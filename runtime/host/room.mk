# SPDX-License-Identifier: Apache-2.0
libkos_la_SOURCES += runtime/host/host.h
