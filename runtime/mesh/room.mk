# SPDX-License-Identifier: Apache-2.0
libkos_la_SOURCES += runtime/mesh/mesh.h runtime/mesh/mesh_private.h runtime/mesh/pack.h runtime/mesh/mesh.c runtime/mesh/self.c runtime/mesh/status.c \
  runtime/mesh/link.c runtime/mesh/datagram.c runtime/mesh/shake.c runtime/mesh/packet.c runtime/mesh/arq.c \
  runtime/mesh/airtime.c runtime/mesh/compact.c runtime/mesh/handshake.c runtime/mesh/session.c runtime/mesh/flush.c runtime/mesh/stream.c runtime/mesh/stream_in.c runtime/mesh/intro.c \
  runtime/mesh/peer.c runtime/mesh/dial.c runtime/mesh/found.c runtime/mesh/connect.c runtime/mesh/record.c runtime/mesh/route.c \
  runtime/mesh/outbox.c runtime/mesh/entry.c runtime/mesh/sign.c runtime/mesh/transient.c runtime/mesh/tx.c \
  runtime/mesh/inbox.c runtime/mesh/judge.c runtime/mesh/offer.c runtime/mesh/lane.c runtime/mesh/receipt.c runtime/mesh/expiry.c runtime/mesh/check.c

if HAVE_CHECK
MESH_TESTS = runtime/mesh/mesh_test runtime/mesh/transient_test runtime/mesh/handshake_test runtime/mesh/delivery_test runtime/mesh/hostile_test runtime/mesh/flow_test \
  runtime/mesh/datagram_test runtime/mesh/datagram_hostile_test runtime/mesh/pressure_test runtime/mesh/soak_test runtime/mesh/stream_test
check_PROGRAMS += $(MESH_TESTS)
TESTS += $(MESH_TESTS)
MESH_TESTING = runtime/mesh/mesh_testing.c runtime/mesh/mesh_testing.h
runtime_mesh_transient_test_SOURCES = runtime/mesh/transient_test.c $(MESH_TESTING)
runtime_mesh_transient_test_CPPFLAGS = $(TEST_CPPFLAGS)
runtime_mesh_transient_test_LDADD = $(TEST_LIBS)
runtime_mesh_mesh_test_SOURCES = runtime/mesh/mesh_test.c $(MESH_TESTING)
runtime_mesh_mesh_test_CPPFLAGS = $(TEST_CPPFLAGS)
runtime_mesh_mesh_test_LDADD = $(TEST_LIBS)
runtime_mesh_handshake_test_SOURCES = runtime/mesh/handshake_test.c $(MESH_TESTING)
runtime_mesh_handshake_test_CPPFLAGS = $(TEST_CPPFLAGS)
runtime_mesh_handshake_test_LDADD = $(TEST_LIBS)
runtime_mesh_delivery_test_SOURCES = runtime/mesh/delivery_test.c $(MESH_TESTING)
runtime_mesh_delivery_test_CPPFLAGS = $(TEST_CPPFLAGS)
runtime_mesh_delivery_test_LDADD = $(TEST_LIBS)
runtime_mesh_hostile_test_SOURCES = runtime/mesh/hostile_test.c $(MESH_TESTING)
runtime_mesh_hostile_test_CPPFLAGS = $(TEST_CPPFLAGS)
runtime_mesh_hostile_test_LDADD = $(TEST_LIBS)
runtime_mesh_flow_test_SOURCES = runtime/mesh/flow_test.c $(MESH_TESTING)
runtime_mesh_flow_test_CPPFLAGS = $(TEST_CPPFLAGS)
runtime_mesh_flow_test_LDADD = $(TEST_LIBS)
runtime_mesh_datagram_hostile_test_SOURCES = runtime/mesh/datagram_hostile_test.c $(MESH_TESTING)
runtime_mesh_datagram_hostile_test_CPPFLAGS = $(TEST_CPPFLAGS)
runtime_mesh_datagram_hostile_test_LDADD = $(TEST_LIBS)
runtime_mesh_datagram_test_SOURCES = runtime/mesh/datagram_test.c $(MESH_TESTING)
runtime_mesh_datagram_test_CPPFLAGS = $(TEST_CPPFLAGS)
runtime_mesh_datagram_test_LDADD = $(TEST_LIBS)
runtime_mesh_pressure_test_SOURCES = runtime/mesh/pressure_test.c $(MESH_TESTING)
runtime_mesh_pressure_test_CPPFLAGS = $(TEST_CPPFLAGS)
runtime_mesh_pressure_test_LDADD = $(TEST_LIBS)
runtime_mesh_soak_test_SOURCES = runtime/mesh/soak_test.c $(MESH_TESTING)
runtime_mesh_soak_test_CPPFLAGS = $(TEST_CPPFLAGS)
runtime_mesh_soak_test_LDADD = $(TEST_LIBS)
runtime_mesh_stream_test_SOURCES = runtime/mesh/stream_test.c $(MESH_TESTING)
runtime_mesh_stream_test_CPPFLAGS = $(TEST_CPPFLAGS)
runtime_mesh_stream_test_LDADD = $(TEST_LIBS)
endif
