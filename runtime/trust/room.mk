# SPDX-License-Identifier: Apache-2.0
libkos_la_SOURCES += runtime/trust/keys.h runtime/trust/policy.h runtime/trust/trust.h \
  runtime/trust/keys.c runtime/trust/keys_agents.c runtime/trust/keys_private.h runtime/trust/keyfile.c runtime/trust/keyfile.h \
  runtime/trust/policy.c runtime/trust/policy_parse.c runtime/trust/policy_wiring.c runtime/trust/policy_decide.c \
  runtime/trust/policy_limits.c runtime/trust/policy_describe.c runtime/trust/policy_private.h \
  runtime/trust/trust.c runtime/trust/logs.c runtime/trust/statements.c runtime/trust/scores.c runtime/trust/names.c runtime/trust/check.c \
  runtime/trust/quota.c runtime/trust/trust_private.h

if HAVE_CHECK
check_PROGRAMS += runtime/trust/keys_test runtime/trust/policy_test runtime/trust/trust_test
TESTS += runtime/trust/keys_test runtime/trust/policy_test runtime/trust/trust_test
runtime_trust_keys_test_SOURCES = runtime/trust/keys_test.c
runtime_trust_keys_test_CPPFLAGS = $(TEST_CPPFLAGS)
runtime_trust_keys_test_LDADD = $(TEST_LIBS)
runtime_trust_policy_test_SOURCES = runtime/trust/policy_test.c
runtime_trust_policy_test_CPPFLAGS = $(TEST_CPPFLAGS)
runtime_trust_policy_test_LDADD = $(TEST_LIBS)
runtime_trust_trust_test_SOURCES = runtime/trust/trust_test.c
runtime_trust_trust_test_CPPFLAGS = $(TEST_CPPFLAGS)
runtime_trust_trust_test_LDADD = $(TEST_LIBS)
endif
