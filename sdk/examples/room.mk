# SPDX-License-Identifier: Apache-2.0

# Links nothing of this tree, so that it runs confined from where it was built.
noinst_PROGRAMS += sdk/examples/agents/kos-agent-count
sdk_examples_agents_kos_agent_count_SOURCES = sdk/examples/agents/kos-agent-count.c
sdk_examples_agents_kos_agent_count_CPPFLAGS = $(AM_CPPFLAGS) $(JANSSON_CFLAGS) $(OPENSSL_CFLAGS)
sdk_examples_agents_kos_agent_count_LDADD = $(JANSSON_LIBS) $(OPENSSL_LIBS)
