# SPDX-License-Identifier: Apache-2.0
# libklpall: the objects, for programs and plugins that carry them within themselves; libklp: the library made of them.
noinst_LTLIBRARIES += sdk/klp/libklpall.la
lib_LTLIBRARIES += sdk/klp/libklp.la
klpheadersdir = $(kosincludedir)/klp
klpheaders_HEADERS = sdk/klp/crypto.h sdk/klp/id.h sdk/klp/address.h sdk/klp/json.h sdk/klp/log.h \
  sdk/klp/statement.h sdk/klp/message.h sdk/klp/hpke.h sdk/klp/noise.h sdk/klp/frame.h \
  sdk/klp/cbor.h sdk/klp/compact.h
sdk_klp_libklpall_la_CPPFLAGS = $(AM_CPPFLAGS) $(OPENSSL_CFLAGS) $(SODIUM_CFLAGS) $(JANSSON_CFLAGS)
sdk_klp_libklpall_la_CFLAGS = $(AM_CFLAGS) -fvisibility=default
sdk_klp_libklp_la_LDFLAGS = $(AM_LDFLAGS) -version-info 0:0:0 -no-undefined -export-symbols-regex '^klp_'
sdk_klp_libklp_la_SOURCES =
sdk_klp_libklp_la_LIBADD = sdk/klp/libklpall.la
sdk_klp_libklpall_la_LIBADD = $(OPENSSL_LIBS) $(SODIUM_LIBS) $(JANSSON_LIBS) -lm

# primitives and codings
sdk_klp_libklpall_la_SOURCES = sdk/klp/crypto.c sdk/klp/keys.c sdk/klp/codec.c sdk/klp/codec.h sdk/klp/id.c sdk/klp/address.c \
  sdk/klp/json_read.c sdk/klp/json_get.c sdk/klp/json_write.c sdk/klp/json_loose.c sdk/klp/json_number.c
# small links
sdk_klp_libklpall_la_SOURCES += sdk/klp/cbor.c sdk/klp/compact_private.h sdk/klp/compact.c sdk/klp/compact_open.c
# identity and records
sdk_klp_libklpall_la_SOURCES += sdk/klp/member.h sdk/klp/acceptance.c sdk/klp/event.c sdk/klp/log.c sdk/klp/log_memory.c \
  sdk/klp/log_private.h sdk/klp/log_query.c sdk/klp/did.c sdk/klp/statement.c sdk/klp/message.c sdk/klp/message_text.c
# sessions, sealing, batches
sdk_klp_libklpall_la_SOURCES += sdk/klp/noise_private.h sdk/klp/noise.c sdk/klp/record.c sdk/klp/proof.c sdk/klp/frame.c sdk/klp/hpke.c sdk/klp/seal.c \
  sdk/klp/merkle.c sdk/klp/batch.c sdk/klp/receipt.c

KLP_TEST_CPPFLAGS = $(AM_CPPFLAGS) $(OPENSSL_CFLAGS) $(SODIUM_CFLAGS) $(JANSSON_CFLAGS) $(CHECK_CFLAGS) -I$(srcdir)/tests -DKOS_TEST_SRCDIR='"$(abs_srcdir)"'
KLP_TEST_LIBS = sdk/klp/libklp.la $(CHECK_LIBS) $(JANSSON_LIBS) $(SODIUM_LIBS) $(OPENSSL_LIBS)

# primitives and codings: tests
if HAVE_CHECK
KLP_CORE_TESTS = sdk/klp/crypto_test sdk/klp/codec_test sdk/klp/id_test sdk/klp/json_test sdk/klp/address_test \
  sdk/klp/cbor_test
check_PROGRAMS += $(KLP_CORE_TESTS)
TESTS += $(KLP_CORE_TESTS)
sdk_klp_crypto_test_SOURCES = sdk/klp/crypto_test.c
sdk_klp_crypto_test_CPPFLAGS = $(KLP_TEST_CPPFLAGS)
sdk_klp_crypto_test_LDADD = $(KLP_TEST_LIBS)
sdk_klp_codec_test_SOURCES = sdk/klp/codec_test.c
sdk_klp_codec_test_CPPFLAGS = $(KLP_TEST_CPPFLAGS)
sdk_klp_codec_test_LDADD = $(KLP_TEST_LIBS)
sdk_klp_id_test_SOURCES = sdk/klp/id_test.c
sdk_klp_id_test_CPPFLAGS = $(KLP_TEST_CPPFLAGS)
sdk_klp_id_test_LDADD = $(KLP_TEST_LIBS)
sdk_klp_address_test_SOURCES = sdk/klp/address_test.c
sdk_klp_address_test_CPPFLAGS = $(KLP_TEST_CPPFLAGS)
sdk_klp_address_test_LDADD = $(KLP_TEST_LIBS)
sdk_klp_cbor_test_SOURCES = sdk/klp/cbor_test.c
sdk_klp_cbor_test_CPPFLAGS = $(KLP_TEST_CPPFLAGS)
sdk_klp_cbor_test_LDADD = $(KLP_TEST_LIBS) -lm
sdk_klp_json_test_SOURCES = sdk/klp/json_test.c
sdk_klp_json_test_CPPFLAGS = $(KLP_TEST_CPPFLAGS)
sdk_klp_json_test_LDADD = $(KLP_TEST_LIBS) -lm
endif

# sessions, sealing, batches: tests
if HAVE_CHECK
KLP_SESSION_TESTS = sdk/klp/noise_test sdk/klp/record_test sdk/klp/proof_test sdk/klp/frame_test sdk/klp/batch_test \
  sdk/klp/hpke_test sdk/klp/seal_test sdk/klp/receipt_test
check_PROGRAMS += $(KLP_SESSION_TESTS)
TESTS += $(KLP_SESSION_TESTS)
sdk_klp_noise_test_SOURCES = sdk/klp/noise_test.c
sdk_klp_noise_test_CPPFLAGS = $(KLP_TEST_CPPFLAGS)
sdk_klp_noise_test_LDADD = $(KLP_TEST_LIBS)
sdk_klp_record_test_SOURCES = sdk/klp/record_test.c
sdk_klp_record_test_CPPFLAGS = $(KLP_TEST_CPPFLAGS)
sdk_klp_record_test_LDADD = $(KLP_TEST_LIBS)
sdk_klp_frame_test_SOURCES = sdk/klp/frame_test.c
sdk_klp_frame_test_CPPFLAGS = $(KLP_TEST_CPPFLAGS)
sdk_klp_frame_test_LDADD = $(KLP_TEST_LIBS)
sdk_klp_batch_test_SOURCES = sdk/klp/batch_test.c
sdk_klp_batch_test_CPPFLAGS = $(KLP_TEST_CPPFLAGS)
sdk_klp_batch_test_LDADD = $(KLP_TEST_LIBS)
sdk_klp_hpke_test_SOURCES = sdk/klp/hpke_test.c
sdk_klp_hpke_test_CPPFLAGS = $(KLP_TEST_CPPFLAGS)
sdk_klp_hpke_test_LDADD = $(KLP_TEST_LIBS)
sdk_klp_proof_test_SOURCES = sdk/klp/proof_test.c sdk/klp/log_testing.h
sdk_klp_proof_test_CPPFLAGS = $(KLP_TEST_CPPFLAGS)
sdk_klp_proof_test_LDADD = $(KLP_TEST_LIBS)
sdk_klp_seal_test_SOURCES = sdk/klp/seal_test.c
sdk_klp_seal_test_CPPFLAGS = $(KLP_TEST_CPPFLAGS)
sdk_klp_seal_test_LDADD = $(KLP_TEST_LIBS)
sdk_klp_receipt_test_SOURCES = sdk/klp/receipt_test.c
sdk_klp_receipt_test_CPPFLAGS = $(KLP_TEST_CPPFLAGS)
sdk_klp_receipt_test_LDADD = $(KLP_TEST_LIBS)
endif

# identity and records: tests
if HAVE_CHECK
KLP_RECORD_TESTS = sdk/klp/log_test sdk/klp/did_test sdk/klp/statement_test sdk/klp/message_test \
  sdk/klp/manual_test
check_PROGRAMS += $(KLP_RECORD_TESTS)
TESTS += $(KLP_RECORD_TESTS)
sdk_klp_log_test_SOURCES = sdk/klp/log_test.c sdk/klp/log_testing.h
sdk_klp_log_test_CPPFLAGS = $(KLP_TEST_CPPFLAGS)
sdk_klp_log_test_LDADD = $(KLP_TEST_LIBS)
sdk_klp_did_test_SOURCES = sdk/klp/did_test.c sdk/klp/log_testing.h
sdk_klp_did_test_CPPFLAGS = $(KLP_TEST_CPPFLAGS)
sdk_klp_did_test_LDADD = $(KLP_TEST_LIBS)
sdk_klp_statement_test_SOURCES = sdk/klp/statement_test.c sdk/klp/log_testing.h
sdk_klp_statement_test_CPPFLAGS = $(KLP_TEST_CPPFLAGS)
sdk_klp_statement_test_LDADD = $(KLP_TEST_LIBS)
sdk_klp_message_test_SOURCES = sdk/klp/message_test.c sdk/klp/log_testing.h
sdk_klp_message_test_CPPFLAGS = $(KLP_TEST_CPPFLAGS)
sdk_klp_message_test_LDADD = $(KLP_TEST_LIBS)
sdk_klp_manual_test_SOURCES = sdk/klp/manual_test.c sdk/klp/log_testing.h
sdk_klp_manual_test_CPPFLAGS = $(KLP_TEST_CPPFLAGS)
sdk_klp_manual_test_LDADD = $(KLP_TEST_LIBS)
endif
