#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Simulated worlds: some seeds hold, one seed is one run, byte for byte, and each planted bug is found by the seeds listed."""
import os
import re
import subprocess

SIM = os.path.join(os.environ.get("KOS_BUILDDIR", "."), "tests/sim/sim")
SEEDS = 100

# What is planted (plant.c): seeds that find it, and as what.
PLANTS = {
    "skip-sync": {1: "corrupt", 2: "corrupt", 3: "corrupt"},          # fsync is not called
    "skip-dedupe": {1: "twice", 2: "twice", 4: "twice"},              # a repeat is not known as one
    "early-ack": {1: "ran_twice", 2: "twice", 4: "lost"},             # done before the disk has it
    "stale-key": {3: "signature", 6: "signature"},                    # a revoked key still counts
    "late": {2: "expired", 4: "expired", 5: "expired"},               # expired messages are let in
    "wrong-node": {1: "wrong_node", 3: "wrong_node", 4: "wrong_node"},  # one in 16 goes elsewhere
    "lose-outbox": {1: "drain", 2: "drain", 3: "drain"},              # what waits is forgotten at a start
    "replay": {1: "twice", 3: "twice"},                               # what was handled stays in the inbox
    "skip-policy": {1: "policy", 2: "policy", 3: "policy"},           # all is allowed
    "unbounded": {1: "bounds", 2: "bounds", 4: "bounds"},             # the inbox forgets its limit
    "skip-signature": {4: "signature", 7: "signature", 9: "signature"},  # what does not verify is taken
    "run-again": {1: "ran_twice", 2: "ran_twice", 4: "ran_twice"},    # that a task began is not looked up
    "leak-queue": {1: "drain", 2: "drain", 3: "drain"},               # one outbox entry in eight stays
}


def sim(*args):
    done = subprocess.run([SIM, *args], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return done.returncode, done.stdout


def holds():
    status, said = sim("--seeds", f"1-{SEEDS}")
    assert status == 0, said


def one_seed_is_one_run():
    for seed in (2, 5, 8):
        first, second = (sim("--seed", str(seed), "--trace", "--no-shrink") for _ in range(2))
        assert first == second and "digest" in first[1], f"seed {seed} gave two runs"
    assert re.search(r"digest (\w+)", sim("--seed", "2")[1])[1] != re.search(r"digest (\w+)", sim("--seed", "5")[1])[1]


def thousand_nodes():
    status, said = sim("--nodes", "1000", "--calm", "1000")
    assert status == 0 and " 1000 effects" in said, said
    print("# " + said.splitlines()[-1])


def a_failure_is_shrunk():
    status, said = sim("--plant", "skip-policy", "--seed", "1")
    found = re.search(r"(\d+) nodes, (\d+) of (\d+) steps:", said)
    assert status == 1 and found and int(found[2]) < int(found[3]) / 4 and "FAILED policy" in said, said


def found(plant):
    for seed, kind in PLANTS[plant].items():
        status, said = sim("--plant", plant, "--seed", str(seed), "--no-shrink")
        assert status == 1 and f": {kind}: " in said, f"{plant} was not found by seed {seed} as {kind}:\n{said}"


def main():
    tests = [("seeds 1 to %d hold" % SEEDS, holds), ("one seed is one run, byte for byte", one_seed_is_one_run),
             ("1,000 nodes", thousand_nodes), ("a failure is shrunk to its shortest trace", a_failure_is_shrunk)]
    tests += [(f"planted: {name}", lambda name=name: found(name)) for name in PLANTS]
    print(f"1..{len(tests)}")
    for number, (name, test) in enumerate(tests, 1):
        try:
            test()
            print(f"ok {number} - {name}", flush=True)
        except AssertionError as error:
            print("".join(f"# {line}\n" for line in str(error).splitlines()[:60]), end="")
            print(f"not ok {number} - {name}", flush=True)


main()
