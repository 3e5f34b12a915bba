# SPDX-License-Identifier: Apache-2.0
# Every parser and state machine that sees foreign bytes. `make check` runs the corpora, with any compiler; `make fuzz
# MINUTES=N` fuzzes each target, or TARGETS="json log", for so long with clang's libFuzzer, in a build of its own (fuzz/ in
# the build directory).
FUZZ_TARGETS = tests/fuzz/address tests/fuzz/codec tests/fuzz/json tests/fuzz/cbor tests/fuzz/message \
  tests/fuzz/statement tests/fuzz/log tests/fuzz/session tests/fuzz/frame tests/fuzz/lora_kiss tests/fuzz/http \
  tests/fuzz/lora tests/fuzz/cell tests/fuzz/remote tests/fuzz/config tests/fuzz/policy tests/fuzz/control \
  tests/fuzz/stdio tests/fuzz/mesh_session tests/fuzz/mesh_link tests/fuzz/journal tests/fuzz/spawn
FUZZ_FLAGS = $(libkos_la_CPPFLAGS) $(OPENSSL_CFLAGS) -I$(srcdir)/tests/fuzz/shim -I$(srcdir)/tests -DKOS_TEST_SRCDIR='"$(abs_srcdir)"'
FUZZ_LIBS = libkos.la $(JANSSON_LIBS) $(SODIUM_LIBS) -lm
FUZZ_COMMON = tests/fuzz/replay.c tests/fuzz/fuzz.h tests/fuzz/shim/check.h
FUZZ_LINK = $(AM_LDFLAGS)
if FUZZ
FUZZ_FLAGS += -DKOS_FUZZ
FUZZ_LINK += -fsanitize=fuzzer
endif
check_PROGRAMS += $(FUZZ_TARGETS)
TESTS += $(FUZZ_TARGETS)
EXTRA_DIST += tests/fuzz/README.md tests/fuzz/run tests/fuzz/corpus

tests_fuzz_address_SOURCES = tests/fuzz/address.c $(FUZZ_COMMON)
tests_fuzz_address_CPPFLAGS = $(FUZZ_FLAGS)
tests_fuzz_address_LDADD = $(FUZZ_LIBS)
tests_fuzz_address_LDFLAGS = $(FUZZ_LINK)
tests_fuzz_codec_SOURCES = tests/fuzz/codec.c $(FUZZ_COMMON)
tests_fuzz_codec_CPPFLAGS = $(FUZZ_FLAGS)
tests_fuzz_codec_LDADD = $(FUZZ_LIBS)
tests_fuzz_codec_LDFLAGS = $(FUZZ_LINK)
tests_fuzz_json_SOURCES = tests/fuzz/json.c $(FUZZ_COMMON)
tests_fuzz_json_CPPFLAGS = $(FUZZ_FLAGS)
tests_fuzz_json_LDADD = $(FUZZ_LIBS)
tests_fuzz_json_LDFLAGS = $(FUZZ_LINK)
tests_fuzz_cbor_SOURCES = tests/fuzz/cbor.c $(FUZZ_COMMON)
tests_fuzz_cbor_CPPFLAGS = $(FUZZ_FLAGS)
tests_fuzz_cbor_LDADD = $(FUZZ_LIBS)
tests_fuzz_cbor_LDFLAGS = $(FUZZ_LINK)
tests_fuzz_message_SOURCES = tests/fuzz/message.c sdk/klp/log_testing.h $(FUZZ_COMMON)
tests_fuzz_message_CPPFLAGS = $(FUZZ_FLAGS)
tests_fuzz_message_LDADD = $(FUZZ_LIBS)
tests_fuzz_message_LDFLAGS = $(FUZZ_LINK)
tests_fuzz_statement_SOURCES = tests/fuzz/statement.c sdk/klp/log_testing.h $(FUZZ_COMMON)
tests_fuzz_statement_CPPFLAGS = $(FUZZ_FLAGS)
tests_fuzz_statement_LDADD = $(FUZZ_LIBS)
tests_fuzz_statement_LDFLAGS = $(FUZZ_LINK)
tests_fuzz_log_SOURCES = tests/fuzz/log.c sdk/klp/log_testing.h $(FUZZ_COMMON)
tests_fuzz_log_CPPFLAGS = $(FUZZ_FLAGS)
tests_fuzz_log_LDADD = $(FUZZ_LIBS)
tests_fuzz_log_LDFLAGS = $(FUZZ_LINK)
tests_fuzz_session_SOURCES = tests/fuzz/session.c $(FUZZ_COMMON)
tests_fuzz_session_CPPFLAGS = $(FUZZ_FLAGS)
tests_fuzz_session_LDADD = $(FUZZ_LIBS)
tests_fuzz_session_LDFLAGS = $(FUZZ_LINK)
tests_fuzz_frame_SOURCES = tests/fuzz/frame.c $(FUZZ_COMMON)
tests_fuzz_frame_CPPFLAGS = $(FUZZ_FLAGS)
tests_fuzz_frame_LDADD = $(FUZZ_LIBS)
tests_fuzz_frame_LDFLAGS = $(FUZZ_LINK)
tests_fuzz_lora_kiss_SOURCES = tests/fuzz/lora_kiss.c plugins/transport/lora/kiss.c plugins/transport/lora/kiss.h $(FUZZ_COMMON)
tests_fuzz_lora_kiss_CPPFLAGS = $(FUZZ_FLAGS)
tests_fuzz_lora_kiss_LDADD = $(FUZZ_LIBS)
tests_fuzz_lora_kiss_LDFLAGS = $(FUZZ_LINK)
tests_fuzz_http_SOURCES = tests/fuzz/http.c plugins/service/http/guard.c plugins/service/http/route.c plugins/service/http/message.c plugins/service/http/http.h $(FUZZ_COMMON)
tests_fuzz_http_CPPFLAGS = $(FUZZ_FLAGS)
tests_fuzz_http_LDADD = $(FUZZ_LIBS)
tests_fuzz_http_LDFLAGS = $(FUZZ_LINK)
tests_fuzz_lora_SOURCES = tests/fuzz/lora.c tests/fuzz/lora_port.c plugins/transport/lora/lora.c plugins/transport/lora/air.c plugins/transport/lora/link.c plugins/transport/lora/keep.c \
  plugins/transport/lora/status.c plugins/transport/lora/airtime.c plugins/transport/lora/region.c plugins/transport/lora/kiss.c plugins/transport/lora/lora.h $(FUZZ_COMMON)
tests_fuzz_lora_CPPFLAGS = $(FUZZ_FLAGS)
tests_fuzz_lora_LDADD = $(FUZZ_LIBS)
tests_fuzz_lora_LDFLAGS = $(FUZZ_LINK)
tests_fuzz_cell_SOURCES = tests/fuzz/cell.c tests/fuzz/asked.h $(FUZZ_COMMON)
tests_fuzz_cell_CPPFLAGS = $(FUZZ_FLAGS)
tests_fuzz_cell_LDADD = $(FUZZ_LIBS)
tests_fuzz_cell_LDFLAGS = $(FUZZ_LINK)
tests_fuzz_remote_SOURCES = tests/fuzz/remote.c tests/fuzz/asked.h tests/fuzz/watch.h $(FUZZ_COMMON)
tests_fuzz_remote_CPPFLAGS = $(FUZZ_FLAGS)
tests_fuzz_remote_LDADD = $(FUZZ_LIBS)
tests_fuzz_remote_LDFLAGS = $(FUZZ_LINK)
tests_fuzz_config_SOURCES = tests/fuzz/config.c $(FUZZ_COMMON)
tests_fuzz_config_CPPFLAGS = $(FUZZ_FLAGS)
tests_fuzz_config_LDADD = $(FUZZ_LIBS)
tests_fuzz_config_LDFLAGS = $(FUZZ_LINK)
tests_fuzz_policy_SOURCES = tests/fuzz/policy.c $(FUZZ_COMMON)
tests_fuzz_policy_CPPFLAGS = $(FUZZ_FLAGS)
tests_fuzz_policy_LDADD = $(FUZZ_LIBS)
tests_fuzz_policy_LDFLAGS = $(FUZZ_LINK)
tests_fuzz_control_SOURCES = tests/fuzz/control.c tests/fuzz/watch.h $(FUZZ_COMMON)
tests_fuzz_control_CPPFLAGS = $(FUZZ_FLAGS)
tests_fuzz_control_LDADD = $(FUZZ_LIBS)
tests_fuzz_control_LDFLAGS = $(FUZZ_LINK)
tests_fuzz_stdio_SOURCES = tests/fuzz/stdio.c runtime/agents/fixture.h $(FUZZ_COMMON)
tests_fuzz_stdio_CPPFLAGS = $(FUZZ_FLAGS)
tests_fuzz_stdio_LDADD = $(FUZZ_LIBS)
tests_fuzz_stdio_LDFLAGS = $(FUZZ_LINK)
tests_fuzz_mesh_session_SOURCES = tests/fuzz/mesh_session.c runtime/mesh/mesh_testing.c runtime/mesh/mesh_testing.h $(FUZZ_COMMON)
tests_fuzz_mesh_session_CPPFLAGS = $(FUZZ_FLAGS)
tests_fuzz_mesh_session_LDADD = $(FUZZ_LIBS)
tests_fuzz_mesh_session_LDFLAGS = $(FUZZ_LINK)
tests_fuzz_mesh_link_SOURCES = tests/fuzz/mesh_link.c runtime/mesh/mesh_testing.c runtime/mesh/mesh_testing.h sdk/klp/log_testing.h $(FUZZ_COMMON)
tests_fuzz_mesh_link_CPPFLAGS = $(FUZZ_FLAGS)
tests_fuzz_mesh_link_LDADD = $(FUZZ_LIBS)
tests_fuzz_mesh_link_LDFLAGS = $(FUZZ_LINK)
tests_fuzz_journal_SOURCES = tests/fuzz/journal.c $(FUZZ_COMMON)
tests_fuzz_journal_CPPFLAGS = $(FUZZ_FLAGS)
tests_fuzz_journal_LDADD = $(FUZZ_LIBS)
tests_fuzz_journal_LDFLAGS = $(FUZZ_LINK)
tests_fuzz_spawn_SOURCES = tests/fuzz/spawn.c $(FUZZ_COMMON)
tests_fuzz_spawn_CPPFLAGS = $(FUZZ_FLAGS)
tests_fuzz_spawn_LDADD = $(FUZZ_LIBS)
tests_fuzz_spawn_LDFLAGS = $(FUZZ_LINK)

MINUTES = 1
fuzz:
	@KOS_SRCDIR='$(abs_top_srcdir)' $(SHELL) '$(srcdir)/tests/fuzz/run' '$(abs_builddir)/fuzz' $(MINUTES) \
	  $${TARGETS:-$(FUZZ_TARGETS)}
.PHONY: fuzz
