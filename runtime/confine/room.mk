# SPDX-License-Identifier: Apache-2.0
libkosbase_la_SOURCES += runtime/confine/confine.h runtime/confine/privileges.c runtime/confine/landlock.c \
  runtime/confine/calls.c runtime/confine/filter.c
