# SPDX-License-Identifier: Apache-2.0
kosheadersdir = $(kosincludedir)/kos
kosheaders_HEADERS = \
  sdk/kos/abi.h sdk/kos/err.h sdk/kos/bytes.h sdk/kos/host.h sdk/kos/plugin.h sdk/kos/conf.h \
  sdk/kos/transport.h sdk/kos/discovery.h sdk/kos/bridge.h sdk/kos/handler.h sdk/kos/vector.h \
  sdk/kos/agents.h sdk/kos/control.h sdk/kos/http.h sdk/kos/signal.h sdk/kos/stream.h
EXTRA_DIST += sdk/kos/FIT.md
