# SPDX-License-Identifier: Apache-2.0
libkos_la_SOURCES += runtime/host/host.h runtime/host/hosting.c runtime/host/services.h runtime/host/services.c runtime/host/rights.c \
  runtime/host/wiring.c runtime/host/manifest.h runtime/host/manifest.c runtime/host/manifest_json.c runtime/host/loader.c \
  runtime/host/describe.c runtime/host/backend.h runtime/host/local.h runtime/host/local.c runtime/host/queue.c runtime/host/reactor.c \
  runtime/host/table.c runtime/host/open.c runtime/host/secret.c runtime/host/tx.c runtime/host/carrier.c runtime/host/sink.c \
  runtime/host/control.c runtime/host/agents.c
