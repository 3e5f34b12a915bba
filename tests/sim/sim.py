#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Simulated worlds: some seeds hold, one seed is one run, byte for byte, and each planted bug is found. Which bugs, by which
seeds and as what, the table in README.md says. What changes the order of things changes what a seed meets: one of the seeds
listed is enough, and those that find it no more are named."""
import os
import re
import subprocess

HERE = os.path.dirname(os.path.abspath(__file__))
SIM = os.path.join(os.environ.get("KOS_BUILDDIR", "."), "tests/sim/sim")
BRIEF = os.environ.get("KOS_BRIEF") == "1"  # HACKING.md, "How to test"


def sim(*args):
    done = subprocess.run([SIM, *args], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return done.returncode, done.stdout


def sanitized():
    with open(os.path.join(os.environ.get("KOS_BUILDDIR", "."), "config.status"), encoding="utf-8") as status:
        return "-fsanitize" in status.read()


def holds():
    status, said = sim("--seeds", "1-40" if sanitized() else "1-200")
    assert status == 0, said


def one_seed_is_one_run():
    for seed in (2, 5, 8, 9):
        first, second = (sim("--seed", str(seed), "--trace", "--no-shrink") for _ in range(2))
        assert first == second and "digest" in first[1], f"seed {seed} gave two runs"
    assert re.search(r"digest (\w+)", sim("--seed", "2")[1])[1] != re.search(r"digest (\w+)", sim("--seed", "5")[1])[1]


def thousand_nodes():
    status, said = sim("--nodes", "1000", "--calm", "200" if sanitized() else "1000")
    assert status == 0 and re.search(r" (200|1000) effects", said), said
    print("# " + said.splitlines()[-1])


def a_failure_is_shrunk():
    for seed in range(2, 10):
        status, said = sim("--plant", "skip-policy", "--seed", str(seed))
        if status:
            break
    found = re.search(r"(\d+) nodes, (\d+) of (\d+) steps:", said)
    assert status == 1 and found and int(found[2]) < int(found[3]) / 4 and "FAILED policy" in said, said


def planted():
    """name -> (seeds, kinds of failure), in the order of the table."""
    with open(os.path.join(HERE, "README.md")) as readme:
        rows = re.findall(r"^\| `([a-z-]+)` \|.*\| ([\d ]+) \| ([a-z_ ]+) \|$", readme.read(), re.M)
    return {name: (seeds.split(), kinds.split()) for name, seeds, kinds in rows}


def found(seeds, kinds, plant):
    by = []
    for seed in seeds:
        status, said = sim("--plant", plant, "--seed", seed, "--no-shrink")
        assert status in (0, 1), said
        kind = re.search(r"steps: (\w+): ", said)
        by += [seed] if kind and kind[1] in kinds else []
    print("".join(f"# {plant}: seed {seed} finds it no more\n" for seed in seeds if seed not in by), end="")
    assert by, f"{plant} was found by none of the seeds {' '.join(seeds)}"


def main():
    plants = planted()
    tests = [("many seeds hold", holds), ("one seed is one run, byte for byte", one_seed_is_one_run),
             ("1,000 nodes", thousand_nodes), ("a failure is shrunk to its shortest trace", a_failure_is_shrunk),
             ("the table has all that is planted", lambda: all_listed(plants))]
    tests += [(f"planted: {name}", lambda name=name: found(*plants[name], name)) for name in plants if not BRIEF]
    print(f"1..{len(tests)}")
    for number, (name, test) in enumerate(tests, 1):
        try:
            test()
            print(f"ok {number} - {name}", flush=True)
        except AssertionError as error:
            print("".join(f"# {line}\n" for line in str(error).splitlines()[:60]), end="")
            print(f"not ok {number} - {name}", flush=True)


def all_listed(plants):
    status, said = sim("--plant", "?")
    assert status == 2 and said.split("there are:")[1].split() == list(plants), said


main()
