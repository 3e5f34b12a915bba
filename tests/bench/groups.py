# SPDX-License-Identifier: Apache-2.0
"""The figures, in groups that can be taken alone (make bench ONLY=NAME). Systems take turns within each round."""
import base64
import json
import os
import random
import statistics
import subprocess
import time

import kosd
import load
from figure import Curve, Figure
from kosd import Failed
from peers import ASKS


class Run:
    """What all groups share: options, report, peers, and kosd pairs that are started once and wait between rounds."""

    def __init__(self, options, report, peers):
        self.options, self.report, self.peers, self.pairs, self.stages, self.known = options, report, peers, {}, [], {}

    def stage(self):
        stage = kosd.Stage(self.options.stage, self.options.load)
        self.stages.append(stage)
        return stage

    def pair(self, kind):
        if kind not in self.pairs:
            self.pairs[kind] = kosd.pair(self.stage(), isolate=kind == "cells")
        return self.pairs[kind]

    def baseline(self, *arguments):
        done = subprocess.run([os.path.join(self.options.programs, "baseline"), *map(str, arguments)], capture_output=True, text=True,
                              check=True, timeout=120)
        return json.loads(done.stdout)

    def close(self):
        for stage in self.stages:
            stage.close()


def try_peer(run, name, what, **more):
    """None, and said, when a peer fails."""
    try:
        return run.peers.run(name, what, run.options.seconds, **more)
    except Failed as error:
        run.report.without(f"a round of {name}, {what}", str(error))
        return None


def one_way(run):
    o, group = run.options, "one way"
    rate = Figure("messages one way, transient", "messages/s", "higher", group,
                  "512 bytes each; signed, encrypted, policy-checked, handled, at most once, as the peers' are; counted by the receiver's kosctl status "
                  "(handled). Peers: encrypted, not signed.",
                  target={"NATS TLS nkeys": 1, "zmq CURVE": 1}, goal="as many signed as others carry unsigned")
    stored = Figure("messages one way, durable", "messages/s", "higher", group,
                    "the same, on disk at both ends before they are acknowledged, and their effects exactly once; the peers store nothing")
    verified = Figure("messages verified, transient", "messages/s", "higher", group, "beside what one libsodium Ed25519 verification for each would allow a core",
                      target={"one verification each": 20}, goal="20 times the rate of one verification each")
    cpu = {kind: Figure(f"processor time of a message one way, {kind}", "us", "lower", group,
                        "user and system, of all processes on the way") for kind in ("transient", "durable")}
    busiest = {kind: Figure(f"processor time of a message in the busiest thread, {kind}", "us", "lower", group,
                            "of all threads of both kosd: whatever else the machine does, no more than one message in this time")
               for kind in ("transient", "durable")}
    cells = {kind: Figure(f"messages one way, {kind}, every plugin in a cell", "messages/s", "higher", group,
                          "tcp and the handlers each in a process of their own, under seccomp and Landlock") for kind in ("transient", "durable")}
    batch = Figure("messages that one signature covers, transient", "messages", "higher", group)
    delay = Figure("from sender to handler under that load, transient, p50", "ms", "lower", group, f"with {o.window} messages under way")

    def measured(pair, kind):
        return load.one_way(*run.pair(pair), seconds=o.seconds, window=o.window, per_tx=o.per_tx, transient=kind == "transient")
    for _ in range(o.rounds):
        got = measured("kosd", "transient")
        rate.add(got["rate"])
        batch.add(got["batch"])
        delay.add(got["latency"]["p50_ns"] / 1e6)
        busiest["transient"].add(got["busiest_us"])
        cpu["transient"].add((got["cpu_receiver"] + got["cpu_sender"]) * 1e6 / got["rate"])
        verified.add(got["verified"]).add(1e9 / run.baseline("crypto", 0.5)["verify_ns"], "one verification each")
        for name in list(run.peers.programs):
            peer = try_peer(run, name, "one-way")
            if peer:
                rate.add(peer["rate"], name)
                stored.add(peer["rate"], name)
                cpu["transient"].add(peer["cpu_us"], name)
        got = measured("kosd", "durable")
        stored.add(got["rate"])
        busiest["durable"].add(got["busiest_us"])
        cpu["durable"].add((got["cpu_receiver"] + got["cpu_sender"]) * 1e6 / got["rate"])
        for kind, figure in cells.items():
            figure.add(measured("cells", kind)["rate"])
    run.report.add(rate, stored, verified, *cpu.values(), *busiest.values(), *cells.values(), batch, delay)


def ask(run):
    o, group = run.options, "request and reply"
    many = {kind: Figure(f"requests and replies, {kind}", "requests/s", "higher", group, f"{o.ask_window} under way; each reply is a signed message of its own")
            for kind in ("transient", "durable")}
    for _ in range(o.rounds):
        many["transient"].add(load.ask(*run.pair("kosd"), seconds=o.seconds, window=o.ask_window, transient=True)["rate"])
        for name in list(run.peers.programs):
            peer = try_peer(run, name, "ask", window=ASKS.get(name, o.ask_window))
            if peer:
                many["transient"].add(peer["rate"], name)
        many["durable"].add(load.ask(*run.pair("kosd"), seconds=o.seconds, window=o.ask_window)["rate"])
    run.report.add(*many.values())
    latency(run, group, "alone", lambda name, kind: {"window": 1})
    # At half of what each carried a moment ago.
    def half(name, kind):
        runs = many[kind].kos if name == "kos" else many[kind].peers.get(name)
        return {"window": 100000, "rate": statistics.median(runs) / 2} if runs else None
    latency(run, group, "at half load", half)


def latency(run, group, how, load_of):
    o = run.options
    figures = {(kind, part): Figure(f"request and reply {how}, {part}, {kind}", "us", "lower", group) for kind in ("transient", "durable") for part in ("p50", "p99")}
    if how == "alone":
        parts = "2 signatures, 2 verifications, a TCP round trip"
        best = figures["transient", "p50"]
        best.target, best.goal = {parts: 1.5}, "within 1.5 times what it is made of"
        best.text = "the sum is measured in the same run: libsodium, and 512 bytes to and fro over bare TCP"
        figures["durable", "p50"].text = "the same sum, though each message is on disk at both ends before it goes on"
    else:
        figures["transient", "p50"].text = "each at half of the requests a second that it carried above"
    for _ in range(o.rounds):
        for kind in ("transient", "durable"):
            got = load.ask(*run.pair("kosd"), seconds=o.seconds, transient=kind == "transient", **load_of("kos", kind))["latency"]
            for part in ("p50", "p99"):
                figures[kind, part].add(got[part + "_ns"] / 1e3)
        if how == "alone":
            crypto, tcp = run.baseline("crypto", 0.5), run.baseline("tcp", 0.5, load.BYTES)
            for kind in ("transient", "durable"):
                figures[kind, "p50"].add((2 * crypto["sign_ns"] + 2 * crypto["verify_ns"] + tcp["p50_ns"]) / 1e3, parts)
        for name in list(run.peers.programs):
            wanted = load_of(name, "transient")
            got = try_peer(run, name, "ask", **wanted) if wanted else None
            for part in ("p50", "p99"):
                if got:
                    figures["transient", part].add(got["latency"][part + "_ns"] / 1e3, name)
    run.report.add(*figures.values())


def durable(run):
    """Messages made durable at the sender while the receiver is away, beside records of their size in a bare log."""
    o = run.options
    figures = {n: Figure(f"durable messages, {n} at a time", "messages/s", "higher", "durable",
                         "taken into the outbox of one kosd, fdatasync counted; the bare log appends records of the same size to a "
                         "preallocated file, as many to each fdatasync", target={"bare preallocated log": 0.7}, goal="0.7 of a bare preallocated log")
               for n in (1, 64, 1024)}
    for _ in range(o.rounds):
        stage = run.stage()
        receiver, sender = kosd.pair(stage)
        receiver.stop()
        log = os.path.join(stage.dir, "bare.log")
        bare = subprocess.Popen([os.path.join(run.options.programs, "baseline"), "log", log], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for n, figure in figures.items():
            mine, theirs = turns(run, sender, receiver, bare, n)
            figure.add(mine).add(theirs, "bare preallocated log")
        bare.stdin.close()
        bare.wait()
        stage.close()
    run.report.add(*figures.values())


def turns(run, sender, receiver, bare, n):
    """Short ones, either first: a disk that others use, or whose bursts are rationed, changes from one moment to the next."""
    mine, theirs, size, span = [], [], load.BYTES, 0.1
    for turn in range(max(4, int(run.options.seconds / span / 2))):
        for who in ("kos", "bare") if turn % 2 else ("bare", "kos"):
            if who == "bare":
                bare.stdin.write(f"{span} {size} {n}\n")
                bare.stdin.flush()
                theirs.append(json.loads(bare.stdout.readline())["rate"])
                continue
            done = sender.sending(target=receiver.address, commit=True, seconds=span, window=n, per_tx=max(1, n // 16), bytes=load.BYTES).read()["load"]
            if done["why"]:
                raise Failed(done["why"])
            waiting = sender.status()["outbox"]
            size = max(load.BYTES, waiting["bytes"] // max(1, waiting["messages"]))
            mine.append(done["committed"] / (done["elapsed_ns"] / 1e9))
    return statistics.median(mine), statistics.median(theirs)


def idle_peers(run):
    o = run.options
    counts = (1, 100, 1000) if o.quick else (1, 100, 1000, 10000)
    memory = Curve("memory of kosd by idle peers", "peers with a session", "MiB", "idle peers",
                   "Genuine sessions, each under an identity of its own, from four other processes; kosd with the private pages of its spawner, without the kernel's buffers.")
    each = Figure(f"memory of an idle peer, of {counts[-1]:,}", "KiB", "lower", "idle peers")
    whole = Figure(f"memory of kosd with {counts[-1]:,} idle peers", "MiB", "lower", "idle peers", target={"1 GiB": 1}, goal="10,000 idle peers in under 1 GiB") \
        if counts[-1] == 10000 else None
    handshakes = Figure("sessions opened, XX", "sessions/s", "higher", "idle peers", "by four processes at once; their own work shares the processors")
    rates = Curve("what an idle peer costs a message", "peers with a session", "us of the receiver's processor", "idle peers")
    stage = run.stage()
    receiver, sender = kosd.pair(stage)
    time.sleep(0.5)
    at_rest = receiver.memory()
    memory.add("kosd", 0, at_rest / 2**20)
    guests = [subprocess.Popen([os.path.join(o.programs, "idle"), "127.0.0.1", str(receiver.port), f"127.0.0.{10 + i}"], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) for i in range(4)]
    measured = []
    try:
        for count in counts:
            begun = time.monotonic()
            asked = guests[:1] if count == 1 else guests
            for guest in asked:
                guest.stdin.write(f"{count // len(asked)}\n")
                guest.stdin.flush()
            for guest in asked:
                if guest.stdout.readline().split() != ["up", str(count // len(asked)), "0"]:
                    raise Failed(f"{count} idle peers: a session was lost or never opened: {receiver.tail()[-300:]}")
            took = time.monotonic() - begun
            time.sleep(0.5)
            measured.append((count, receiver.memory()))
            memory.add("kosd", count, measured[-1][1] / 2**20)
            if count != 1:
                got = load.one_way(receiver, sender, seconds=o.seconds, warm=0.5, window=o.window, per_tx=o.per_tx, transient=True)
                rates.add("kosd", count, got["cpu_receiver"] * 1e6 / got["rate"])
        if receiver.status()["sessions"] != counts[-1] + 1:
            raise Failed(f"{receiver.status()['sessions']} sessions are left of {counts[-1] + 1}")
    finally:
        for guest in guests:
            guest.kill()
            guest.wait()
    handshakes.add((counts[-1] - counts[-2]) / took)
    each.add((measured[-1][1] - at_rest) / 1024 / counts[-1])
    stage.close()
    run.report.add(each, *([whole.add(measured[-1][1] / 2**20).add(1024, "1 GiB")] if whole else []), handshakes)
    run.report.curve(memory)
    run.report.curve(rates)


def start(run):
    figure = Figure("start-up time, default policy", "ms", "lower", "start", "from exec to the notification that it is ready, with the shipped plugins and the load")
    resting = Figure("memory of a kosd at rest", "MiB", "lower", "start", "resident pages of kosd and private ones of its spawner")
    stage = run.stage()
    node = stage.node("start.bench")
    for _ in range(3 if run.options.quick else 10):
        begun = time.monotonic()
        node.start(settle=False)
        figure.add((time.monotonic() - begun) * 1000)
        resting.add(node.memory() / 2**20)
        node.stop()
    stage.close()
    run.report.add(figure, resting)


def cost(run, stage_of, counts, curve, starts):
    """Processor time of a message at the receiver, and start-up time, as something grows."""
    o = run.options
    for count in counts:
        stage = run.stage()
        try:
            receiver, sender = stage_of(stage, count)
            begun = time.monotonic()
            receiver.start()
            starts.add("kosd", count, (time.monotonic() - begun) * 1000)
            sender.start()
            kosd.acquaint(receiver, sender)
            runs = [load.one_way(receiver, sender, seconds=o.seconds, warm=0.5, window=o.window, per_tx=o.per_tx, transient=True) for _ in range(1 if o.quick else 2)]
            best = min(runs, key=lambda got: got["cpu_receiver"] / got["rate"])
            curve.add("kosd", count, best["cpu_receiver"] * 1e6 / best["rate"])
        finally:
            stage.close()
    run.report.curve(curve)
    run.report.curve(starts)


def handlers(run):
    module = os.path.join(os.path.dirname(run.options.load), "filler.so")

    def stage_of(stage, count):
        with open(module, "rb") as file:
            original = file.read()
        wiring = []
        for i in range(count):
            copy = os.path.join(stage.dir, f"filler_{i:03}.so")
            with open(copy, "wb") as file:
                file.write(original.replace(b"filler_000", b"filler_%03d" % i).replace(b"FILLER_000", b"FILLER_%03d" % i))
            wiring.append('filler_%03d = { module = "%s"; isolate = false; };' % (i, copy))
        policy = 'name = "more";\nplugins = { %s };\n' % "\n".join(wiring)
        return stage.node("receiver.bench", policy=policy), stage.node("sender.bench")
    counts = (0, 16) if run.options.quick else (0, 8, 32, 128)
    cost(run, stage_of, counts, Curve("what one more handler costs a message", "handlers in kosd", "us of the receiver's processor", "handlers"),
         Curve("what one more handler costs a start", "handlers in kosd", "ms", "handlers"))


def some_id(generator):
    return base64.b32encode(generator.randbytes(16)).decode().lower().rstrip("=")


def rules(run):
    def stage_of(stage, count):
        generator = random.Random(7)
        receiver = stage.node("receiver.bench")
        for i in range(0, count, 1000):
            wanted = [f'{{ peer = "klp://node.{some_id(generator)}"; type = "BENCH_LOAD"; messages_per_minute = 600; }}' for _ in range(min(1000, count - i))]
            receiver.policy(f"rules{i}", f'name = "rules{i}";\nlimits = ( {", ".join(wanted)} );\n')
        return receiver, stage.node("sender.bench")
    counts = (0, 1000) if run.options.quick else (0, 10, 100, 1000, 4000)
    cost(run, stage_of, counts, Curve("what one more policy rule costs a message", "limits for other peers", "us of the receiver's processor", "rules"),
         Curve("what one more policy rule costs a start", "limits for other peers", "ms", "rules"))


def streams(run):
    """1 GiB by kos.stream/1 beside what a bare TLS connection makes of it, and small messages meanwhile."""
    o, group = run.options, "streams"
    size = 2**28 if o.quick else 2**30
    rate = Figure(f"a stream of {size >> 20} MiB, kos.stream/1", "MiB/s", "higher", group, "every byte checked by the plugin that gets it")
    cpu = Figure("processor time of a MiB of a stream, both ends", "us", "lower", group)
    beside = {part: Figure(f"request and reply beside that stream, {part}", "us", "lower", group, "transient, 200 a second, by the same session; without the stream: alone")
              for part in ("p50", "p99")}
    pump = os.path.join(os.path.dirname(os.path.abspath(o.load)), "pump.so")
    policy = ('name = "more";\nplugins = { pump = { module = "%s"; isolate = false; rights = [ "stream" ]; settings = { window = "1M"; }; }; };\n' % pump)
    receiver, sender = kosd.pair(run.stage(), policy=policy)
    for _ in range(o.rounds):
        alone = load.ask(receiver, sender, seconds=1, window=64, rate=200, transient=True)["latency"]
        before, begun = receiver.cpu() + sender.cpu(), time.monotonic()
        push = kosd.Control(os.path.join(sender.dir, "kosd.sock"))
        push.send("org.kos.test.pump.Push", peer=receiver.id, bytes=size)
        busy = load.ask(receiver, sender, seconds=0.3 if o.quick else 0.6, window=64, rate=200, warm=0, transient=True)["latency"]
        got = push.read()
        push.close()
        took = time.monotonic() - begun
        if got["error"] != "ok" or got["right"] != size:
            raise kosd.Failed(f"the stream ended with {got}")
        rate.add(size / 2**20 / took)
        cpu.add((receiver.cpu() + sender.cpu() - before) * 1e6 / (size >> 20))
        bare = run.baseline("tls", size)
        rate.add(size / 2**20 / bare["seconds"], "bare TLS 1.3")
        cpu.add(bare["cpu"] * 1e6 / (size >> 20), "bare TLS 1.3")
        for part, figure in beside.items():
            figure.add(busy[part + "_ns"] / 1000)
            figure.add(alone[part + "_ns"] / 1000, "alone")
    run.report.add(rate, cpu, *beside.values())


GROUPS = {"one-way": one_way, "request-and-reply": ask, "durable": durable, "idle-peers": idle_peers, "start": start, "handlers": handlers, "rules": rules,
          "streams": streams}
