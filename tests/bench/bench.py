#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`make bench` and its parts. Run by make, which says where things are; bench.py --help says what there is."""
import argparse
import os
import statistics
import subprocess
import sys
import time

import flame
import groups
import kosd
import load
from figure import Report
from peers import Peers


def print_rounds(name, rounds, text):
    rates = [x["rate"] for x in rounds]
    print(f"{name:34} {statistics.median(rates):>9,.0f} /s  ({min(rates):,.0f} to {max(rates):,.0f})  {text}", flush=True)


def quick_load(options):
    """Throughput and latency of one pair of kosd, in a minute: for whoever makes the way of a message faster."""
    shapes = (("in kosd, state on disk", {}), ("in kosd, state in memory", {"memory": True}), ("in cells, state on disk", {"isolate": True}))
    for name, shape in shapes:
        with kosd.Stage(options.stage, options.load, state="/dev/shm" if shape.get("memory") else None) as stage:
            receiver, sender = kosd.pair(stage, isolate=shape.get("isolate", False), gather=not options.single)
            rounds = [load.one_way(receiver, sender, seconds=options.seconds, window=options.window, per_tx=options.per_tx, transient=options.transient)
                      for _ in range(options.rounds)]
            last = rounds[-1]
            print_rounds(name, rounds, f"batch {last['batch']:.0f}, groups {last['groups']:.0f} /s, cores: receiver {last['cpu_receiver']:.2f}, "
                         f"sender {last['cpu_sender']:.2f}; busiest thread {last['busiest_us']:.2f} us a message; p50 {last['latency']['p50_ns'] / 1e6:.2f} ms")
            for window in (1, 256):
                rounds = [load.ask(receiver, sender, seconds=options.seconds / 2, window=window, transient=options.transient) for _ in range(options.rounds)]
                last = rounds[-1]["latency"]
                print_rounds(f"  request and reply, {window} at a time", rounds,
                             f"p50 {last['p50_ns'] / 1e3:,.0f} us, p99 {last['p99_ns'] / 1e3:,.0f} us")


def profile(options):
    """Flame graphs of the busy sender and receiver. perf starts kosd: one that has keys lets nobody look into it later."""
    files = {label: os.path.join(options.out, f"perf-{label}.data") for label in ("receiver", "sender")}
    wraps = {label: ["perf", "record", "-q", "-F", "397", "--call-graph", "dwarf,16384", "-o", path, "--"] for label, path in files.items()}
    with kosd.Stage(options.stage, options.load, state=options.state) as stage:
        receiver, sender = kosd.pair(stage, gather=not options.single, isolate=options.cells, wraps=wraps)
        got = load.one_way(receiver, sender, seconds=options.seconds, window=options.window, per_tx=options.per_tx, transient=options.transient)
        receiver.stop()
        sender.stop()
    print(f"{got['rate']:,.0f} messages/s while profiled; cores: receiver {got['cpu_receiver']:.2f}, sender {got['cpu_sender']:.2f}")
    tables = {}
    for label, path in files.items():
        script = subprocess.run(["perf", "script", "--no-inline", "-i", path], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                                errors="replace", check=True)
        root = flame.fold(script.stdout.splitlines() + [""])
        drawing = os.path.join(options.out, f"flame-{label}.svg")
        with open(drawing, "w", encoding="utf-8") as file:
            file.write(flame.svg(root, f"kosd as {label}, one-way messages of {load.BYTES} bytes: where its processor time goes"))
        tables[label] = flame.self_times(root)[:30]
        print(f"\n{drawing}; of the {label}'s processor time, in functions themselves:")
        for part, name in tables[label]:
            print(f"  {100 * part:5.1f} %  {name}")
        os.unlink(path)
    return tables


def machine():
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        model = next((line.split(":", 1)[1].strip() for line in file if line.startswith("model name")), "unknown")
    busy = os.getloadavg()[0]
    other = "" if busy < 0.5 * os.cpu_count() else " (**other work ran beside it**: only ratios and processor times mean anything)"
    return f"{os.cpu_count()} cores of {model}, Linux {os.uname().release}, load {busy:.1f} at the start{other}"


def everything(options):
    if options.quick:
        options.seconds, options.rounds = min(options.seconds, 1), 1
    begun = time.monotonic()
    command = "make bench" + (" QUICK=1" if options.quick else "")
    report = Report(options.out, command, [
        f"{time.strftime('%Y-%m-%d %H:%M')}, {machine()}; kos built with `{options.cflags}`.",
        f"Written by `{command}`: medians of {options.rounds} rounds in which all systems took their turns, each for {options.seconds:g} s, on loopback, nothing pinned. "
        "kos is the release kosd as `make install` lays it down, with its default policy and the tcp plugin, plugins in kosd unless a figure says otherwise; "
        f"messages of {load.BYTES} bytes of payload that expire after 10 s. `report.json` has the same figures."])
    peers = Peers(options.programs, report)
    run = groups.Run(options, report, peers)
    try:
        for name, group in groups.GROUPS.items():
            if options.only and name not in options.only.replace(",", " ").split():
                continue
            try:
                group(run)
            except (kosd.Failed, OSError, subprocess.SubprocessError) as error:
                report.without(name, str(error))
        if not options.quick and (not options.only or "profile" in options.only):
            options.transient = True
            report.profiles = profile(options)
    finally:
        run.close()
        peers.close()
    report.write()
    print(f"{report.path('report.json')} and report.md written in {time.monotonic() - begun:.0f} s")


def main():
    sys.setrecursionlimit(10000)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("all", "load", "profile"))
    parser.add_argument("--stage", required=True, help="where make install DESTDIR put kos")
    parser.add_argument("--load", required=True, help="the load's module")
    parser.add_argument("--programs", help="where baseline, idle and the peers are")
    parser.add_argument("--cflags", default="unknown flags")
    parser.add_argument("--quick", action="store_true", help="one round, a second each")
    parser.add_argument("--only", default="", help="groups of figures: " + " ".join([*groups.GROUPS, "profile"]))
    parser.add_argument("--ask-window", type=int, default=1024, help="requests that may be under way")
    parser.add_argument("--out", default=".", help="where results go")
    parser.add_argument("--state", help="where instances live (a tmpfs: without the cost of a disk)")
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--window", type=int, default=2048, help="messages that may be under way")
    parser.add_argument("--per-tx", type=int, default=64, help="messages sent in one transaction")
    parser.add_argument("--transient", action="store_true", help="messages that are delivered at most once, without a disk")
    parser.add_argument("--single", action="store_true", help="one transaction for each message handled")
    parser.add_argument("--cells", action="store_true", help="profile with every plugin in a cell")
    options = parser.parse_args()
    try:
        {"all": everything, "load": quick_load, "profile": profile}[options.what](options)
    except kosd.Failed as error:
        sys.exit(f"bench: {error}")


if __name__ == "__main__":
    main()
