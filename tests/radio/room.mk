# SPDX-License-Identifier: Apache-2.0
# A simulated radio medium with RNode modems on pseudo-terminals; it shares no code with the plugin that it judges.
check_PROGRAMS += tests/radio/kos-radio-sim
tests_radio_kos_radio_sim_SOURCES = tests/radio/kos-radio-sim.c tests/radio/medium.c tests/radio/rnode.c tests/radio/radio.h
tests_radio_kos_radio_sim_CPPFLAGS = -D_GNU_SOURCE=
tests_radio_kos_radio_sim_LDADD = -lm
