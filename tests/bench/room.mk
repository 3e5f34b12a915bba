# SPDX-License-Identifier: Apache-2.0
# Measurements, run by hand (make bench-NAME), never by make check. What they write stays in tests/bench of the build directory.
if PLUGIN_VECTOR_HNSW
EXTRA_PROGRAMS += tests/bench/vector
tests_bench_vector_SOURCES = tests/bench/vector.c tests/bench/vector_bare.cc tests/bench/vector_bare.h \
  sdk/examples/poll_host.c sdk/examples/poll_host.h
tests_bench_vector_CPPFLAGS = -D_GNU_SOURCE=1 -I$(srcdir)/sdk
tests_bench_vector_CXXFLAGS = $(AM_CXXFLAGS) -march=native
tests_bench_vector_LDADD = -ldl -lpthread -lm
BENCH_ROUNDS = 15
bench-vector: tests/bench/vector plugins/vector/hnsw/hnsw.la
	tests/bench/vector tests/bench/vector.data $(BENCH_ROUNDS)
CLEANFILES += tests/bench/vector
endif

EXTRA_PROGRAMS += tests/bench/cell
EXTRA_LTLIBRARIES = tests/bench/cell_plugin.la tests/bench/load.la
tests_bench_cell_SOURCES = tests/bench/cell.c tests/bench/cell_host.c tests/bench/cell_jobs.c tests/bench/cell.h
tests_bench_cell_CPPFLAGS = $(libkos_la_CPPFLAGS) -DBENCH_CFLAGS='"$(CFLAGS)"'
tests_bench_cell_LDADD = libkos.la
tests_bench_cell_plugin_la_SOURCES = tests/bench/cell_plugin.c
tests_bench_cell_plugin_la_CPPFLAGS = $(EXAMPLE_CPPFLAGS)
tests_bench_cell_plugin_la_LDFLAGS = $(PLUGIN_LDFLAGS) -rpath $(abs_builddir)/tests/bench
CELL_ROUNDS = 15
bench-cell: tests/bench/cell tests/bench/cell_plugin.la sdk/examples/transport_loop.la sdk/examples/handler_ping.la kos-cell
	tests/bench/cell tests/bench/cell.json $(CELL_ROUNDS)
CLEANFILES += tests/bench/cell tests/bench/cell.json

# The load of the node to node benchmarks: a handler as anybody could have written it.
tests_bench_load_la_SOURCES = tests/bench/load.c tests/bench/load_send.c tests/bench/load.h tests/bench/latency.h
tests_bench_load_la_CPPFLAGS = $(EXAMPLE_CPPFLAGS)
tests_bench_load_la_LDFLAGS = $(PLUGIN_LDFLAGS) -rpath $(abs_builddir)/tests/bench
# Peers: none of them signs each message. Built where their library is there; the report says which are missing.
EXTRA_PROGRAMS += tests/bench/baseline tests/bench/idle tests/bench/peers/nats tests/bench/peers/zmq tests/bench/peers/tox
tests_bench_baseline_SOURCES = tests/bench/baseline.c tests/bench/latency.h
tests_bench_baseline_CPPFLAGS = -D_GNU_SOURCE= $(SODIUM_CFLAGS)
tests_bench_baseline_LDADD = $(SODIUM_LIBS) -lssl -lcrypto
tests_bench_idle_SOURCES = tests/bench/idle.c
tests_bench_idle_CPPFLAGS = $(AM_CPPFLAGS) $(SODIUM_CFLAGS) $(JANSSON_CFLAGS)
tests_bench_idle_LDADD = sdk/klp/libklpall.la $(SODIUM_LIBS)
tests_bench_peers_nats_SOURCES = tests/bench/peers/nats.c tests/bench/peers/peer.c tests/bench/peers/peer.h tests/bench/latency.h
tests_bench_peers_nats_CPPFLAGS = -D_GNU_SOURCE=
tests_bench_peers_nats_LDADD = -lnats -lpthread
tests_bench_peers_zmq_SOURCES = tests/bench/peers/zmq.c tests/bench/peers/peer.c tests/bench/peers/peer.h tests/bench/latency.h
tests_bench_peers_zmq_CPPFLAGS = -D_GNU_SOURCE=
tests_bench_peers_zmq_LDADD = -lzmq
tests_bench_peers_tox_SOURCES = tests/bench/peers/tox.c tests/bench/peers/peer.c tests/bench/peers/peer.h tests/bench/latency.h
tests_bench_peers_tox_CPPFLAGS = -D_GNU_SOURCE=
tests_bench_peers_tox_LDADD = -ltoxcore
BENCH_TOOLS = tests/bench/baseline$(EXEEXT) tests/bench/idle$(EXEEXT)
BENCH_PEERS = tests/bench/peers/nats$(EXEEXT) tests/bench/peers/zmq$(EXEEXT) tests/bench/peers/tox$(EXEEXT)
CLEANFILES += $(BENCH_TOOLS) $(BENCH_PEERS)
EXTRA_LTLIBRARIES += tests/bench/filler.la
tests_bench_filler_la_SOURCES = tests/bench/filler.c
tests_bench_filler_la_CPPFLAGS = $(EXAMPLE_CPPFLAGS)
tests_bench_filler_la_LDFLAGS = $(PLUGIN_LDFLAGS) -rpath $(abs_builddir)/tests/bench
EXTRA_DIST += tests/bench/bench.py tests/bench/kosd.py tests/bench/load.py tests/bench/flame.py tests/bench/figure.py tests/bench/plot.py \
  tests/bench/peers.py tests/bench/groups.py
BENCH = PYTHONDONTWRITEBYTECODE=1 python3 $(srcdir)/tests/bench/bench.py --stage tests/bench/stage --load tests/bench/.libs/load.so --out tests/bench \
  --programs tests/bench --cflags '$(CFLAGS)' $(LOAD)
# What is measured is what make install lays down, in a directory of its own.
bench-stage: all tests/bench/load.la
	rm -rf tests/bench/stage
	$(MAKE) $(AM_MAKEFLAGS) install DESTDIR='$(abs_builddir)/tests/bench/stage' >tests/bench/stage.log 2>&1 || { tail tests/bench/stage.log; exit 1; }
# LOAD='--seconds 5 --window 1024': options of bench.py.
bench-load: bench-stage
	$(BENCH) load
bench-profile: bench-stage
	$(BENCH) profile
# All of it: QUICK=1 one short round; ONLY='one-way durable': those groups; report.json and report.md in tests/bench.
# A peer whose library is not there is left out, and the report says so.
bench: bench-stage tests/bench/filler.la tests/bench/pump.la $(BENCH_TOOLS)
	-for peer in $(BENCH_PEERS); do $(MAKE) $(AM_MAKEFLAGS) $$peer; done
	KOS_SRCDIR='$(abs_top_srcdir)' KOS_BUILDDIR='$(abs_top_builddir)' $(BENCH) $(if $(QUICK),--quick) $(if $(ONLY),--only '$(ONLY)') all
clean-local: bench-clean
bench-clean:
	rm -rf tests/bench/stage tests/bench/stage.log tests/bench/report.json tests/bench/report.md tests/bench/plot-*.svg
CLEANFILES += tests/bench/flame-receiver.svg tests/bench/flame-sender.svg
TESTS += tests/bench/bench_test.py
EXTRA_DIST += tests/bench/bench_test.py tests/bench/README.md tests/bench/measured
if HAVE_CHECK
check_PROGRAMS += tests/bench/latency_test
TESTS += tests/bench/latency_test
tests_bench_latency_test_SOURCES = tests/bench/latency_test.c tests/bench/latency.h
tests_bench_latency_test_CPPFLAGS = $(TEST_CPPFLAGS)
tests_bench_latency_test_LDADD = $(CHECK_LIBS)
endif
.PHONY: bench bench-vector bench-cell bench-stage bench-load bench-profile bench-clean

EXTRA_PROGRAMS += tests/bench/carrier
tests_bench_carrier_SOURCES = tests/bench/carrier.c tests/bench/carrier_node.c tests/bench/carrier_count.c tests/bench/carrier.h \
  runtime/kosd/node.h runtime/kosd/node.c runtime/kosd/interface.c runtime/kosd/plugins.c
tests_bench_carrier_CPPFLAGS = $(libkos_la_CPPFLAGS) -DBENCH_CFLAGS='"$(CFLAGS)"'
tests_bench_carrier_CFLAGS = $(AM_CFLAGS) -fvisibility=default -fno-builtin-malloc -fno-builtin-calloc
tests_bench_carrier_LDADD = libkos.la
CARRIER_SECONDS = 3
bench-carrier: tests/bench/carrier kosctl kos-cell plugins/transport/tcp/tcp.la
	tests/bench/carrier tests/bench/carrier.json $(CARRIER_SECONDS)
CLEANFILES += tests/bench/carrier tests/bench/carrier.json
.PHONY: bench-carrier

# The plugin at both ends of a stream: tests/integration/stream.py and bench-stream.
check_LTLIBRARIES += tests/bench/pump.la
tests_bench_pump_la_SOURCES = tests/bench/stream_plugin.c
tests_bench_pump_la_CPPFLAGS = $(EXAMPLE_CPPFLAGS)
tests_bench_pump_la_LDFLAGS = $(PLUGIN_LDFLAGS) -rpath $(abs_builddir)/tests/bench
tests_bench_pump_la_LIBADD = $(PLUGIN_KLP)
