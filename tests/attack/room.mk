# SPDX-License-Identifier: Apache-2.0
# A peer that misbehaves by name, for tests/integration/attack.py.
check_PROGRAMS += tests/attack/evil
EXTRA_DIST += tests/attack/README.md
tests_attack_evil_SOURCES = tests/attack/evil.h tests/attack/main.c tests/attack/noise.c tests/attack/identity.c tests/attack/session.c \
  tests/attack/handshakes.c tests/attack/records.c tests/attack/messages.c tests/attack/bombs.c
tests_attack_evil_CPPFLAGS = $(AM_CPPFLAGS) $(OPENSSL_CFLAGS) $(SODIUM_CFLAGS) $(JANSSON_CFLAGS)
tests_attack_evil_LDADD = sdk/klp/libklpall.la
INTEGRATION += tests/integration/attack.py
INTEGRATION += tests/integration/wiped.py

check_PROGRAMS += tests/attack/constant
TESTS += tests/attack/constant
tests_attack_constant_SOURCES = tests/attack/constant.c
tests_attack_constant_CPPFLAGS = $(AM_CPPFLAGS) $(OPENSSL_CFLAGS) $(SODIUM_CFLAGS) $(JANSSON_CFLAGS)
tests_attack_constant_LDADD = sdk/klp/libklpall.la
tests_attack_constant_LDFLAGS = $(AM_LDFLAGS) -no-install
