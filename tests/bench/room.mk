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
.PHONY: bench-vector
