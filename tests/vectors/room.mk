# SPDX-License-Identifier: Apache-2.0
# Published test vectors, one program per family. They run in `make check`; `make check-vectors` runs them alone,
# with VECTORS=DIR on another directory of the same layout.
VECTOR_CHECKS = tests/vectors/check_jcs tests/vectors/check_json tests/vectors/check_wycheproof \
  tests/vectors/check_noise tests/vectors/check_hpke tests/vectors/check_merkle \
  tests/vectors/check_multiformats tests/vectors/check_did \
  tests/vectors/check_cbor
check_PROGRAMS += $(VECTOR_CHECKS)
TESTS += $(VECTOR_CHECKS)
noinst_HEADERS += tests/vectors/vectors.h
EXTRA_DIST += tests/vectors/README.md tests/vectors/LEFT-OUT tests/vectors/LICENSES tests/vectors/jcs \
  tests/vectors/json-test-suite tests/vectors/wycheproof tests/vectors/noise tests/vectors/hpke \
  tests/vectors/merkle tests/vectors/multiformats tests/vectors/did tests/vectors/cbor

VECTOR_LIBS = sdk/klp/libklp.la $(JANSSON_LIBS) -lm
tests_vectors_check_jcs_SOURCES = tests/vectors/check_jcs.c
tests_vectors_check_jcs_CPPFLAGS = $(KLP_TEST_CPPFLAGS)
tests_vectors_check_jcs_LDADD = $(VECTOR_LIBS)
tests_vectors_check_json_SOURCES = tests/vectors/check_json.c
tests_vectors_check_json_CPPFLAGS = $(KLP_TEST_CPPFLAGS)
tests_vectors_check_json_LDADD = $(VECTOR_LIBS)
tests_vectors_check_wycheproof_SOURCES = tests/vectors/check_wycheproof.c
tests_vectors_check_wycheproof_CPPFLAGS = $(KLP_TEST_CPPFLAGS)
tests_vectors_check_wycheproof_LDADD = $(VECTOR_LIBS)
tests_vectors_check_noise_SOURCES = tests/vectors/check_noise.c
tests_vectors_check_noise_CPPFLAGS = $(KLP_TEST_CPPFLAGS)
tests_vectors_check_noise_LDADD = $(VECTOR_LIBS)
tests_vectors_check_hpke_SOURCES = tests/vectors/check_hpke.c
tests_vectors_check_hpke_CPPFLAGS = $(KLP_TEST_CPPFLAGS)
tests_vectors_check_hpke_LDADD = $(VECTOR_LIBS)
tests_vectors_check_merkle_SOURCES = tests/vectors/check_merkle.c
tests_vectors_check_merkle_CPPFLAGS = $(KLP_TEST_CPPFLAGS)
tests_vectors_check_merkle_LDADD = $(VECTOR_LIBS)
tests_vectors_check_multiformats_SOURCES = tests/vectors/check_multiformats.c
tests_vectors_check_multiformats_CPPFLAGS = $(KLP_TEST_CPPFLAGS)
tests_vectors_check_multiformats_LDADD = $(VECTOR_LIBS)
tests_vectors_check_cbor_SOURCES = tests/vectors/check_cbor.c
tests_vectors_check_cbor_CPPFLAGS = $(KLP_TEST_CPPFLAGS)
tests_vectors_check_cbor_LDADD = $(VECTOR_LIBS)
tests_vectors_check_did_SOURCES = tests/vectors/check_did.c
tests_vectors_check_did_CPPFLAGS = $(KLP_TEST_CPPFLAGS)
tests_vectors_check_did_LDADD = $(VECTOR_LIBS)

.PHONY: check-vectors
check-vectors: $(VECTOR_CHECKS)
	@failed=; for program in $(VECTOR_CHECKS); do \
	  output=`VECTORS='$(VECTORS)' ./$$program` || failed="$$failed $$program"; \
	  printf '%s\n' "$$output" | grep -v -e '^ok ' -e '^1\.\.' -e '^# left out: '; \
	done; test -z "$$failed" || { echo "failed:$$failed" >&2; exit 1; }
