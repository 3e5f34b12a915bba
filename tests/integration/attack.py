#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Attacks by a peer who speaks KLP and lies, on real nodes: each fails, is named and counted, and honest work goes on.

tests/attack/README.md says of each what stops it. tests/attack/evil is the peer.
"""
import os
import re
import signal
import socket
import subprocess
import threading
import time

from kit import DEADLINE, Failed, check, equal, has, program, run

XX, IK = "4b4c502f3101", "4b4c502f3102"
FAST = "handshake_ms", '"3s"'


class Evil:
    """tests/attack/evil, started; what it said so far."""

    def __init__(self, case, attack, port, **options):
        words = [f"{name}={value}" for name, value in options.items() if value is not None]
        self.lines = []
        self.process = subprocess.Popen([program("tests/attack/evil"), attack, f"127.0.0.1:{port}", *words], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace")
        case.processes.append(self.process)

    def until(self, *words):
        """Reads on until a line begins with one of the words, and returns it in pieces."""
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))
            if self.lines[-1].split(" ")[0] in words:
                return self.lines[-1].split(" ")
        raise Failed(f"evil never said {words}: {self.lines} {self.process.stderr.read()}")

    def go(self):
        """On, from its "wait"."""
        self.until("wait")
        self.on()

    def on(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def end(self, status=0):
        out, err = self.process.communicate(timeout=DEADLINE)
        self.lines += out.splitlines()
        equal(self.process.returncode, status, f"evil: {err}")
        return self

    def said(self, word):
        return [line.split(" ") for line in self.lines if line.split(" ")[0] == word]

    @property
    def receipts(self):
        """What became of each message: "ok" or the name of an error."""
        return [line[2] for line in self.said("receipt")]

    @property
    def closed(self):
        return ["end", "closed"] in self.said("end")


class World:
    """home, which is attacked and has an agent that writes down what it is asked; and laptop, who is honest."""

    def __init__(self, case, *settings, trusted=(), alg=None, arguments=()):
        self.case, self.honest_tasks, self.taken = case, 0, []
        self.home = case.node("home.kai", arguments=arguments)
        for name, value in (FAST, *settings):
            self.home.setting(name, value)
        self.home.start()
        self.laptop = case.node("laptop.kai", listen=False).start()
        self.laptop.ctl("connect", f"peer://127.0.0.1:{self.home.port}")
        self.home.ctl("trust", self.laptop.address)
        self.laptop.ctl("trust", self.home.address)
        self.home.ctl("agent", "add", "log", "--skill", "x", "--exec", "cat >>log")
        for seed in trusted:
            self.befriend(seed, alg=alg)
        self.counted = self.home.counters()

    def evil(self, attack, **options):
        options.setdefault("wait", 100 if attack in QUIET else 8000)
        if attack in MESSAGES:
            options.setdefault("target_id", self.home.id)
        return Evil(self.case, attack, self.home.port, **options)

    def plays(self, attack, **options):
        return self.evil(attack, **options).end()

    def id_of(self, seed, alg=None):
        return self.plays("who", seed=seed, alg=alg).said("id")[0][1]

    def befriend(self, seed, alg=None, score=8):
        """From now on home trusts this evil identity like any honest peer."""
        who = self.id_of(seed, alg)
        check(self.plays("honest", seed=seed, alg=alg, wait=100).said("up"), "an honest session with an evil peer")
        self.home.ctl("trust", f"klp://node.{who}", str(score))
        return who

    def static(self):
        """home's static key, as any peer learns it."""
        return self.plays("honest", seed="scout", wait=100).said("up")[0][2]

    def honest(self):
        """laptop's work goes on."""
        self.honest_tasks += 1
        equal(self.laptop.ctl("task", "send", "klp://agent.log.home.kai", "--input", f"honest {self.honest_tasks}\n"), "", "an honest task")

    def done(self):
        """What the agent was made to do, in order, but for what laptop asked."""
        path = self.home.own("log", "log")
        if not os.path.exists(path):
            return []
        with open(path, encoding="utf-8") as file:
            lines = file.read().splitlines()
        equal(len([line for line in lines if line.startswith("honest ")]), self.honest_tasks, "each honest task was done once")
        return [line for line in lines if not line.startswith("honest ")]

    def grown(self, *names):
        """How much counters grew since this was last asked; "refused.X" for refusals by name."""
        now, before = self.home.counters(), self.counted
        self.counted = now

        def value(all_of_them, name):
            for part in name.split("."):
                all_of_them = all_of_them.get(part, 0)
            return all_of_them
        return [value(now, name) - value(before, name) for name in names]

    def memory(self):
        with open(f"/proc/{self.home.process.pid}/status", encoding="ascii") as file:
            return int(re.search(r"VmRSS:\s+(\d+)", file.read()).group(1)) * 1024

    def bound(self, mebibytes):
        """In bytes; more where a sanitizer keeps what was freed."""
        with open(f"/proc/{self.home.process.pid}/exe", "rb") as file:
            return mebibytes + (512 if b"__asan_init" in file.read() else 0) << 20

    def said(self, text):
        has(self.home.tail_all(), text)

    def unharmed(self, done=()):
        self.honest()
        equal(self.done(), list(done), "only what may be done was done")


QUIET = {"message", "batch", "receipt", "reflect-message", "honest", "collect"}
MESSAGES = {"message", "batch", "nesting", "compact-bomb"}


# ---- the handshake ----

def test_downgrade_of_the_handshake(case):
    world = World(case, ("half_open_per_source", "64"))
    peer = world.static()
    world.grown()
    forms = [dict(preface="4b4c502f3001"), dict(preface="4b4c502f3201"), dict(preface="4b4c502f3101", prologue="4b4c502f3001")]
    forms += [dict(preface=f"4b4c502f31{pattern:02x}") for pattern in (0, 3, 4, 5, 15, 0x81, 255)]  # NN, NK, NX, N: who proves less
    forms += [dict(preface=XX, prologue=IK), dict(preface=IK, prologue=XX, ik=1, peer=peer), dict(preface=XX, ik=1, peer=peer), dict(preface=IK)]
    forms += [dict(name=f"Noise_{name}") for name in ("XX_25519_ChaChaPoly_SHA256", "NN_25519_AESGCM_SHA256", "XX_25519_AESGCM_SHA512", "XXfallback_25519_AESGCM")]
    for form, evil in [(form, world.evil("downgrade", **form)) for form in forms]:
        check(evil.end().closed and not evil.said("hello"), f"{form}: {evil.lines}")
    equal(world.grown("handshakes_failed", "messages_in"), [len(forms), 0], "each is refused and counted")
    world.said("no session with tcp://127.0.0.1")
    world.unharmed()


def test_downgrade_of_keys(case):
    """Whose key was changed cannot come back with the old one: not with an old head, nor with a log that hides the change."""
    world = World(case, trusted=["7"])
    check(world.plays("honest", seed=7, rotated=1, wait=100).said("up"), "the key is changed, and home knows")
    world.grown()
    for form in (dict(event=0), dict(event=0, first=1), dict(event=0, rotated=0)):
        evil = world.plays("honest", seed=7, **{"rotated": 1, **form})
        check(evil.closed and not evil.said("up"), f"{form}: {evil.lines}")
    equal(world.grown("handshakes_failed"), [3], "the old key opens nothing")
    world.said("cannot prove that it is")
    evil = world.plays("message", seed=7, rotated=1, signer=7, event=0)
    check(not evil.said("up"), "nor does it begin a session to say something in")
    equal(world.plays("message", seed=7, rotated=1, text="by the new key").receipts, ["ok"], "the new one does")
    case.until(lambda: world.done() == ["by the new key"], "done")
    world.unharmed(["by the new key"])


def test_small_order_keys(case):
    world = World(case)
    peer = world.static()
    world.grown()
    tried = 0
    for point in range(7):
        for form in (dict(at="e"), dict(at="s"), dict(at="e", ik=1, peer=peer), dict(at="s", ik=1, peer=peer)):
            evil = world.plays("small-order", point=point, **form)
            check(evil.closed and not evil.said("hello"), f"{point} {form}: {evil.lines}")
            tried += 1
        evil = world.plays("small-order-identity", point=point)
        check(evil.closed and not evil.said("hello"), f"identity {point}: {evil.lines}")
        tried += 1
    equal(world.grown("handshakes_failed", "messages_in"), [tried, 0], "each is refused and counted")
    world.unharmed()


def test_unknown_key_share(case):
    """laptop shows its proof to the evil peer, as to any: with it nobody else becomes laptop."""
    world = World(case)
    other = case.node("victim.kai").start()
    world.home.ctl("trust", world.laptop.address, "9")
    log = case.path("victim.log")
    stolen = Evil(case, "collect", other.port, file=log, wait=100).end().said("proof")[0][1]
    other.ctl("connect", f"peer://127.0.0.1:{world.home.port}")
    world.home.ctl("trust", other.address)
    peer, before = world.static(), world.home.peer(other)["sessions"]
    world.grown()
    tried = 0
    for way in ({}, dict(ik=1, peer=peer)):
        for how in (dict(how="stolen", proof=stolen, log=log), dict(how="claimed", proof=stolen, log=log), dict(how="key")):
            evil = world.plays("unknown-key-share", **how, **way)
            check(evil.closed and not evil.said("hello"), f"{how} {way}: {evil.lines}")
            tried += 1
    equal(world.grown("handshakes_failed", "messages_in"), [tried, 0], "each is refused and counted")
    equal(world.home.peer(other)["sessions"], before, "the true one's session stands")
    world.said("cannot prove that it is")
    world.unharmed()


class Relay(threading.Thread):
    """Hands each connection's bytes on to another port; port None: back to where they came from."""

    def __init__(self, port=None):
        super().__init__(daemon=True)
        self.target, self.links = port, 0
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.start()

    def run(self):
        while True:
            near, _ = self.socket.accept()
            self.links += 1
            far = socket.create_connection(("127.0.0.1", self.target)) if self.target else near
            for source, target in ((near, far), (far, near))[:2 if self.target else 1]:
                threading.Thread(target=self.pump, args=(source, target), daemon=True).start()

    @staticmethod
    def pump(source, target):
        try:
            while data := source.recv(65536):
                target.sendall(data)
        except OSError:
            pass
        for end in (source, target):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


def test_reflection_of_handshakes(case):
    """home's own words said back to it: over the same connection, and over another one to itself."""
    world = World(case)
    mirror, loop = Relay(), Relay(world.home.port)
    world.grown()
    said = world.home.ctl("connect", f"peer://127.0.0.1:{mirror.port}", "--timeout", "4s", status=1)
    check("decrypt" in said or "handshake" in said or "protocol" in said, said)
    has(world.home.ctl("connect", f"peer://127.0.0.1:{loop.port}", "--timeout", "4s", status=1), "is this node itself")
    check(mirror.links and loop.links, "both were tried")
    check(world.grown("handshakes_failed")[0] >= 3, "counted, at both ends where both are home's")
    check(not any(p["id"] == world.home.id for p in world.home.json("peers")["peers"]), "it is no peer of itself")
    world.unharmed()


def test_identity_swap_on_resume(case):
    """Who resumes with the static key of one identity and the proof of another is the other, with what that one may."""
    world = World(case, trusted=["21"])
    peer = world.static()
    one, other = world.id_of(21), world.id_of(22)
    equal(world.plays("message", seed=21, ik=1, peer=peer, text="as a friend").receipts, ["ok"], "resumed as itself")
    case.until(lambda: world.done() == ["as a friend"], "done")
    evil = world.plays("message", seed=22, static=21, ik=1, peer=peer, text="as another")
    equal(evil.receipts, ["trust_too_low"], f"trust is the identity's, not the key's: {evil.lines}")
    evil = world.plays("message", seed=22, static=21, ik=1, peer=peer, signer=21, text="as a friend of a friend")
    equal(evil.receipts, ["policy_denied"], f"nor does a friend's signature count over another's session: {evil.lines}")
    # And where home dials: another identity answers at the same address, with the same static key.
    there = Evil(case, "serve", 0, seed=21, then=22, static=21, times=3, wait=200)
    port = there.until("port")[1]
    world.home.ctl("connect", f"peer://127.0.0.1:{port}")
    there.until("up")
    there.go()
    equal(there.until("answered")[1:], ["IK", "done"], "home resumes")
    case.until(lambda: "instead of" in world.home.tail_all(), "who answers now is reported")
    check(one in world.home.tail_all().split("instead of")[1], "with whom it had expected")
    sessions = [p["sessions"] for p in world.home.json("peers")["peers"] if p["id"] == other]
    equal([s for s in sessions if s], [], "and is not followed")
    there.process.kill()
    world.unharmed(["as a friend"])


# ---- floods ----

def test_half_open_floods(case):
    """From one source and from many, at every stage of a handshake: bounded, let go; who is connected is not hurt, and who
    comes gets in."""
    world = World(case, ("half_open_per_source", "6"), ("half_open", "30"))
    latecomer = case.node("late.kai", listen=False).start()
    for stages in ((0, 1, 2), (3, 4, 5)):
        world.grown()
        before = world.memory()
        crowd = [world.evil("stall", stage=stages[n % 3], count=10, seed=f"flood {n}", **{"from": f"127.0.0.{n}"}) for n in range(2, 11)]
        for evil in crowd:
            evil.until("stalled")
        world.honest()
        refused = world.grown("links_refused")[0]
        check(refused >= 60, f"stages {stages}: {refused} of 90 were refused")
        latecomer.ctl("connect", f"peer://127.0.0.1:{world.home.port}", "--timeout", "10s")
        latecomer.ctl("disconnect", world.home.address)
        for evil in crowd:
            equal(evil.end().said("closed")[0][1], "10", f"stages {stages}: each is let go")
        check(world.memory() - before < world.bound(32), "memory is bounded")
    world.said("half_open_per_source")
    world.unharmed()


def test_a_crowd_of_strangers(case):
    """Sessions of identities that cost nothing: as many as there may be, and who is trusted still gets in."""
    world = World(case, ("links", "24"), ("half_open_per_source", "64"))
    latecomer = case.node("late.kai", listen=False).start()
    world.home.ctl("trust", latecomer.address)
    world.grown()
    crowd = [world.evil("honest", seed=f"stranger {n}", stay=1) for n in range(40)]
    for evil in crowd:
        evil.until("wait", "end")
    check(world.grown("links_refused")[0] >= 10, "some were let go")
    latecomer.ctl("connect", f"peer://127.0.0.1:{world.home.port}")
    equal(latecomer.ctl("task", "send", f"klp://agent.log.{world.home.id}", "--input", "late, but trusted\n"), "", "it is served")
    check(world.home.json("status")["status"]["sessions"] <= 24, "the bound holds")
    for evil in crowd:
        evil.process.kill()
    world.said("keeps room for those whom it trusts")
    world.unharmed(["late, but trusted"])


def test_slow_loris(case):
    world = World(case, ("dead_ms", '"3s"'), ("idle_ping_ms", '"1s"'))
    crowd = [world.evil("slow-loris", pause=40) for _ in range(8)] + [world.evil("slow-loris", stage="record", pause=100, seed=n) for n in range(3)]
    world.honest()
    for evil in crowd:
        check(evil.end().closed, f"let go: {evil.lines}")
        sent, whole = (int(evil.said("dribbled")[0][n]) for n in (1, 3))
        check(0 < sent < whole, "before it was done")
    world.said("took longer than 3000 ms")
    world.said("nothing was heard for")
    world.unharmed()


# ---- records ----

def test_records_replayed_reflected_and_resealed(case):
    world = World(case, trusted=["1"])
    world.grown()
    ways = [("replay-record", {}), ("replay-elsewhere", {}), ("reflect-record", {}), ("swap-keys", {})]
    ways += [("reuse-nonce", dict(how=how)) for how in ("last", "back", "ahead", "end")]
    for attack, options in ways:
        evil = world.plays(attack, **options)
        check(evil.said("alive") and evil.closed, f"{attack} {options}: {evil.lines}")
    equal(world.grown("records_bad", "messages_in"), [len(ways), 0], "each is counted")
    world.said("does not open (decrypt")
    world.unharmed()


def test_keys_are_changed_by_counter(case):
    """Past 2^20 records the next key holds, and no other."""
    world = World(case)
    world.grown()
    crowd = {how: world.evil("rekey", how=how) for how in ("old", "early", "again")}
    for how, evil in crowd.items():
        check(evil.end().closed, f"{how}: {evil.lines}")
    equal(world.grown("records_bad"), [3], "what is sealed under another key or counter is no record")
    evil = world.plays("rekey", how="new", wait=200)
    equal((len(evil.said("alive")), evil.closed), (2, False), "who changes keys as agreed goes on")
    equal(world.grown("records_bad"), [0], "and is not counted")
    world.unharmed()


def test_frames_before_proof(case):
    """Nothing but a log counts before it is proven who sends it."""
    world = World(case)
    world.grown()
    for kind in (5, 8, 9, 10, 11, 12, 13, 14, 15):
        evil = world.plays("out-of-place", type=kind, payload="{}")
        check(evil.closed and not evil.said("hello"), f"frame {kind}: {evil.lines}")
    equal(world.grown("handshakes_failed", "messages_in", "receipts_bad"), [9, 0, 0], "each is refused")
    world.unharmed()


# ---- messages ----

def test_messages_are_replayed(case):
    """The very same bytes again: in the session, in a new one, over a restart, by another, to another, and when they expired."""
    world = World(case, trusted=["1", "2"])
    now = int(time.time() * 1000)
    same = dict(seed=1, n="one", created=now, text="once only")
    first = world.plays("message", **same)
    equal(first.receipts, ["ok"], "taken")
    case.until(lambda: world.done() == ["once only"], "done")
    world.grown()
    again = world.plays("message", **same)
    equal(again.receipts, ["ok"], "in a new session it gets the recorded answer")
    equal(again.said("receipt")[0][3], first.said("receipt")[0][3], "to the same bytes")
    other = world.plays("message", seed=1, n="one", created=now, text="something else under the same id")
    equal((other.receipts, other.said("receipt")[0][3]), (["ok"], first.said("receipt")[0][3]), "the answer is to what was said first")
    equal(world.plays("message", seed=2, signer=1, n="one", created=now, text="once only").receipts, ["policy_denied"], "by another")
    equal(world.grown("repeats", "refused.policy_denied", "messages_in"), [2, 1, 0], "counted")
    # To another node: what home was told is not for laptop, who trusts the same sender.
    other = case.node("other.kai").start()
    who = world.id_of(1)
    Evil(case, "honest", other.port, seed=1, wait=100).end()
    other.ctl("trust", f"klp://node.{who}")
    equal(Evil(case, "message", other.port, target_id=world.home.id, wait=500, **same).end().receipts, ["misaddressed"], "to another node")
    equal(other.counters()["refused"], {"misaddressed": 1}, "counted there")
    world.home.stop(signal.SIGKILL)
    world.home.start()
    case.until(lambda: world.laptop.peer(world.home)["sessions"], "laptop is back")
    world.counted = world.home.counters()
    equal(world.plays("message", **same).receipts, ["ok"], "after a crash of the receiver")
    equal(world.grown("repeats", "messages_in"), [1, 0], "it is known still")
    short = dict(seed=1, n="short", created=int(time.time() * 1000), life=1500, text="short-lived")
    equal(world.plays("message", wait=100, **short).receipts, ["ok"], "a short-lived one")
    case.until(lambda: time.time() * 1000 > short["created"] + short["life"] + 100, "it expired")
    world.grown()
    kept = world.plays("message", **short).receipts
    check(kept in (["ok"], ["expired"]), f"remembered or too late, but not new: {kept}")
    world.home.stop().start()
    case.until(lambda: world.laptop.peer(world.home)["sessions"], "laptop is back")
    kept = world.plays("message", **short).receipts
    check(kept in (["ok"], ["expired"]), f"nor after a restart: {kept}")
    case.until(lambda: len(world.done()) == 2, "both were done")
    world.unharmed(["once only", "short-lived"])


def test_messages_that_others_said(case):
    """Somebody else's source, target or agent; one's own words said back."""
    world = World(case, trusted=["1", "2"])
    world.grown()
    one, two = world.id_of(1), world.id_of(2)
    laptop, home = world.laptop.id, world.home.id
    equal(world.plays("message", seed=1, source_id=laptop).receipts, ["policy_denied"], "in laptop's name")
    equal(world.plays("message", seed=1, source_id=two).receipts, ["policy_denied"], "in the name of a friend")
    equal(world.plays("message", seed=1, source_id=home).receipts, ["policy_denied"], "in home's own name")
    equal(world.plays("message", seed=1, source_id="a" * 26).receipts, ["unknown_identity"], "in nobody's name")
    equal(world.plays("message", seed=1, target_id=laptop).receipts, ["misaddressed"], "to laptop, handed to home")
    equal(world.plays("message", seed=1, target_id=one).receipts, ["misaddressed"], "to oneself, handed to home")
    equal(world.plays("message", seed=1, target="klp://agent.log.laptop.kai").receipts, ["misaddressed"], "to an agent of laptop's, under home's id")
    task = world.home.popen("task", "send", f"klp://agent.x.{one}", "--input", "home's own words", "--detach")
    evil = world.plays("reflect-message", seed=1)
    check(task.wait(DEADLINE) == 0 and evil.said("message"), "home asked the evil peer for something")
    equal(evil.receipts, ["policy_denied"], "and hears its own words")
    equal(world.grown("messages_in"), [0], "nothing was taken")
    # The source's text is for people; who is asked is decided by the id.
    equal(world.plays("message", seed=1, source="klp://node.laptop.kai", text="under a false flag").receipts, ["ok"], "a text that lies")
    case.until(lambda: world.done() == ["under a false flag"], "done, as what it is: the work of a friend")
    world.said("refused (policy_denied)")
    world.unharmed(["under a false flag"])


def test_signatures_that_prove_nothing(case):
    world = World(case, trusted=["1"])
    p256 = world.befriend("1", alg="p256")
    world.grown()
    for how in ("flipped", "order", "tag", "zero", "small-r", "path", "index"):
        equal(world.plays("message", seed=1, how=how, n=how).receipts, ["bad_signature"], how)
    for how in ("flipped", "high", "tag", "zero"):
        equal(world.plays("message", seed=1, alg="p256", how=how, n=how).receipts, ["bad_signature"], f"P-256, {how}")
    for how in ("root", "swapped"):
        receipts = world.plays("batch", seed=1, how=how, n=how).receipts
        check(receipts and set(receipts) == {"bad_signature"}, f"batch, {how}: {receipts}")
    equal(world.grown("messages_in"), [0], "nothing was taken")
    world.said("refused (bad_signature)")
    check(p256 != world.id_of(1), "two identities")
    equal(world.plays("message", seed=1, how="batch", n="good", text="by a path").receipts, ["ok"], "what is in order is taken")
    equal(world.plays("message", seed=1, alg="p256", n="good too", text="by P-256").receipts, ["ok"], "by either algorithm")
    case.until(lambda: len(world.done()) == 2, "done")
    world.unharmed(["by a path", "by P-256"])


def test_forged_acknowledgements(case):
    """A task waits for a node that is away; others say that they have it, in their own name and in that node's."""
    world = World(case, trusted=["31", "32"])
    target = world.id_of(31)
    world.plays("honest", seed=31, wait=100)
    task = world.home.ctl("task", "send", f"klp://agent.x.{target}", "--input", "for 31 alone", "--detach").strip()
    seen = world.plays("receipt", seed=31, how="none", **{"await": 1, "wait": 100})
    _, _, message, _, digest, *_ = seen.said("message")[0]
    world.grown()

    def waits():
        equal([p["outbox"]["messages"] for p in world.home.json("peers")["peers"] if p["id"] == target], [1], "the task still waits for its target")
    forged = [dict(seed=32), dict(seed=32, node=31), dict(seed=32, node=31, signer=31), dict(seed=32, node=32, signer=31)]
    forged += [dict(seed=31, digest="00" * 32), dict(seed=31, how="flipped"), dict(seed=31, how="tag"), dict(seed=31, signer=32), dict(seed=31, claim=5)]
    for count, options in enumerate(forged, 1):
        world.plays("receipt", id=message, wait=100, **{"digest": digest, **options})
        case.until(lambda n=count: world.home.counters()["receipts_bad"] - world.counted["receipts_bad"] >= n, f"{options}: not believed, and counted")
        waits()
    equal(world.home.counters()["receipts_bad"] - world.counted["receipts_bad"], len(forged), "each once")
    world.said("are not believed")
    world.plays("receipt", seed=31, id="a" * 26, digest=digest, wait=300)
    waits()
    before = world.home.counters()["messages_out"]
    world.plays("receipt", seed=31, id=message, digest=digest, how="twice", wait=300)
    case.until(lambda: world.home.counters()["messages_out"] == before + 1, "its own receipt ends it, once")
    world.home.ctl("task", "cancel", task)
    world.unharmed()


# ---- bombs ----

def test_nested_and_endless_things(case):
    world = World(case, ("credit_bytes", '"256K"'), trusted=["1"])
    before = world.memory()
    world.grown()
    for kind in (5, 6, 7, 8, 9, 11, 12, 13, 14, 4):
        for form in (("array", "object") if kind not in (12, 13, 14) else ("cbor", "cbor-map")):
            evil = world.plays("nesting", type=kind, depth=10000, wait=200, **{"as": form})
            check(evil.said("up"), f"frame {kind}, {form}: {evil.lines}")
    for form in ("array", "object"):
        evil = world.plays("nesting", sign=1, depth=5000, wait=500, **{"as": form})
        check("ok" not in evil.receipts, f"signed: {evil.lines}")
    world.said("malformed")
    for how in ("item", "frames", "credit", "length"):
        evil = world.plays("endless", how=how, wait=300 if how in ("frames", "item") else 8000)
        equal(evil.closed, how in ("credit", "length"), f"{how}: {evil.lines}")
    world.said("more bytes of class")
    equal(world.grown("messages_in"), [0], "nothing was taken")
    grown = world.memory() - before
    check(grown < world.bound(64), f"memory grew by {grown >> 20} MiB")
    world.unharmed()


def test_compact_bombs(case):
    """Twelve bytes that stand for seven hundred, a thousand times in each item: memory stays bounded, others are served."""
    world = World(case)
    before, most = world.memory(), [0]
    evil = world.evil("compact-bomb", seed=9, items=150, wait=1000)
    ended = threading.Event()

    def watch():
        while not ended.wait(0.005):
            most[0] = max(most[0], world.memory() - before)
    threading.Thread(target=watch, daemon=True).start()
    world.honest()
    evil.end()
    ended.set()
    equal(evil.said("items")[0][1], "150", "all were taken in")
    print(f"# memory grew by at most {most[0] >> 20} MiB")
    check(most[0] < world.bound(64), f"memory grew by {most[0] >> 20} MiB")
    world.unharmed()


def test_who_asks_and_never_listens(case):
    world = World(case)
    before = world.memory()
    for what in ("log", "ping"):
        crowd = [world.evil("greedy", seed=n, what=what, count=20000, stay=1) for n in range(3)]
        for evil in crowd:
            evil.until("asked", "end")
        world.honest()
        check(world.memory() - before < world.bound(48), f"{what}: memory grew by {world.memory() - before >> 20} MiB")
        for evil in crowd:
            evil.process.kill()
    world.unharmed()


# ---- policy ----

def test_policy_changes_in_mid_session(case):
    """Trust is taken away, a peer is blocked, while its session is open and its messages are under way."""
    world = World(case)
    who = world.befriend(41)
    evil = world.evil("message", seed=41, count=6, pace=1, n="paced", text="while allowed")
    evil.until("wait")
    case.until(lambda: world.done() == ["while allowed"], "allowed at first")
    world.home.ctl("trust", f"klp://node.{who}", "0")
    evil.on()
    evil.until("wait")
    equal(evil.receipts, ["ok", "trust_too_low"], "the next one is refused in the same session")
    world.home.ctl("trust", f"klp://node.{who}", "8")
    evil.on()
    evil.until("wait")
    equal(evil.receipts[2:], ["ok"], "and allowed again")
    case.until(lambda: len(world.done()) == 2, "done")
    world.home.policy("blocked", f'name = "blocked"; peers = {{ block = [ "klp://node.{who}" ]; }};\n')
    world.home.ctl("policy", "reload")
    evil.on()
    evil.end()
    check(evil.closed and len(evil.receipts) == 3, f"blocked: hung up on, without a word: {evil.lines}")
    check(not evil.said("close"), "not even a goodbye")
    check(not world.plays("honest", seed=41).said("up"), "nor let in again")
    world.unharmed(["while allowed"] * 2)


# ---- the instance directory ----

def refuses(home, what, *parts):
    """kosd does not start on it, and says so."""
    before = len(home.tail_all())
    home.start(ready=False)
    equal(home.process.wait(DEADLINE), 1, f"{what}: kosd ends")
    home.process = None
    said = home.tail_all()[before:]
    for part in parts:
        has(said, part)


def test_others_cannot_decide_what_kosd_runs(case):
    """Who may write its configuration, its policy or its plugins, or put something else in their place, is the node."""
    home = case.node("home.kai").start().stop()

    def open_to_others(path, *modes):
        mode = os.stat(path).st_mode & 0o7777
        for wrong in modes:
            os.chmod(path, wrong)
            refuses(home, f"{path} {wrong:o}", "permission_denied", f"chmod go-w {path}")
        os.chmod(path, mode)
        if os.geteuid() == 0:
            os.chown(path, 12345, 12345)
            refuses(home, f"{path} of another", path, "permission_denied")
            os.chown(path, 0, 12345)
            os.chmod(path, mode | 0o020)
            refuses(home, f"{path} of another group", f"chmod go-w {path}")
            os.chown(path, 0, 0)
            os.chmod(path, mode)
    own = os.path.join(home.dir, "policy.d", "default.klp-policy")
    for path in (home.dir, os.path.join(home.dir, "kosd.conf"), os.path.join(home.dir, "policy.d"), own, os.path.join(home.dir, "state"),
                 case.plugins, os.path.join(case.plugins, "tcp.so")):
        open_to_others(path, os.stat(path).st_mode & 0o7777 | 0o002)
    home.start()
    os.chmod(own, 0o666)
    has(home.ctl("policy", "reload", status=1), f"chmod go-w {own}")
    has(home.tail(), "the policy in force stays")
    os.chmod(own, 0o644)
    home.ctl("policy", "reload")


def test_links_and_fifos_in_place_of_files(case):
    home = case.node("home.kai").start().stop()
    victim = case.path("victim", b"precious")
    names = ["kosd.conf", "keys", "keys/node.key", "keys/node.log", "policy.d/default.klp-policy", "state/store/state.db", "state/store/lock"]
    names += ["state/store/journal/" + name for name in os.listdir(os.path.join(home.dir, "state/store/journal"))]
    for name in names:
        path = os.path.join(home.dir, name)
        os.rename(path, path + ".moved")
        os.symlink(path + ".moved", path)
        refuses(home, f"{name} is a link", path if "store" not in name else "kosd: ")
        os.unlink(path)
        if not os.path.isdir(path + ".moved"):
            os.mkfifo(path, 0o600)
            refuses(home, f"{name} is a fifo", path if "store" not in name else "kosd: ")
            os.unlink(path)
        os.rename(path + ".moved", path)
    sock = os.path.join(home.dir, "kosd.sock")
    for make in (lambda: os.symlink(victim, sock), lambda: os.mkfifo(sock), lambda: os.mkdir(sock), lambda: os.link(victim, sock)):
        make()
        refuses(home, "something in the place of its socket", "already_exists", sock)
        (os.rmdir if os.path.isdir(sock) else os.unlink)(sock)
    with open(victim, "rb") as file:
        equal(file.read(), b"precious", "what the links led to was not touched")
    os.symlink(victim, os.path.join(home.dir, "state", "kosd.log"))
    home.start()
    home.ctl("status")


if __name__ == "__main__":
    run(globals())
