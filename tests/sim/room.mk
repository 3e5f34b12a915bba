# SPDX-License-Identifier: Apache-2.0
# Simulated worlds: the shipped objects, but for what the linker leads through plant.c in this one program.
SIM_WRAPPED = mesh_dedupe_put klp_sign_raw klp_batch_sign mesh_dedupe_get kos_tx_commit klp_log_may_sign klp_log_revoked klp_message_fresh \
  mesh_route_resolve mesh_outbox_load kos_tx_delete kos_trust_decide kos_mesh_new klp_verify kos_store_get mesh_entry_delete mesh_offer_add_transient kos_mesh_tx_send kos_tx_put kos_trust_set_policy kos_plugin_describe
check_PROGRAMS += tests/sim/sim
TESTS += tests/sim/sim.py
EXTRA_DIST += tests/sim/sim.py tests/sim/README.md
tests_sim_sim_SOURCES = tests/sim/sim.h tests/sim/sim.c tests/sim/net.c tests/sim/node.c tests/sim/handle.c tests/sim/operate.c tests/sim/acts.c tests/sim/check.c \
  tests/sim/plant.c tests/sim/files.c tests/sim/hosted.c tests/sim/main.c tests/sim/shrink.h tests/sim/shrink.c
tests_sim_sim_CPPFLAGS = $(libkos_la_CPPFLAGS)
tests_sim_sim_LDFLAGS = $(AM_LDFLAGS) $(SIM_WRAPPED:%=-Wl,--wrap=%)
tests_sim_sim_LDADD = libkos.la

# Many worlds, with a bar: make soak SEEDS=100000 SEED0=1
SEEDS = 300
SEED0 = 1
soak: tests/sim/sim
	tests/sim/sim --progress --seeds $(SEED0)-$$(($(SEED0) + $(SEEDS) - 1))
.PHONY: soak
