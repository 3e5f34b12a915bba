#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Byte streams between two nodes: every byte in order, in both hostings; slow readers, refusals, sudden ends, and what else goes
on meanwhile."""
import os
import shutil
import signal
import threading

from kit import BUILD, check, equal, has, run

MIB = 1 << 20


def pumps(case, isolate="false", left="", right="", trust=True, policy=""):
    """laptop, which is connected to home; both with a pump."""
    shutil.copy(os.path.join(BUILD, "tests", "bench", ".libs", "pump.so"), case.plugins)
    nodes = case.node("home.kai"), case.node("laptop.kai", listen=False)
    for node, settings, more in zip(nodes, (left, right), (policy, "")):
        node.policy("pump", f'plugins = {{ pump = {{ module = "pump.so"; isolate = {isolate}; rights = [ "stream" ]; '
                            f'settings = {{ {settings} }}; }}; }};\n{more}')
        node.start()
    home, laptop = nodes
    laptop.ctl("connect", f"peer://127.0.0.1:{home.port}")
    if trust:
        home.ctl("trust", laptop.address)
        laptop.ctl("trust", home.address)
    return home, laptop


def ask(node, method, **parameters):
    with node.control() as control:
        reply = control.call("org.kos.test.pump." + method, parameters)
        check("error" not in reply, reply)
        return reply["parameters"]


class Push(threading.Thread):
    """A Push that goes on while the test does."""

    def __init__(self, node, to, size, **more):
        super().__init__()
        self.parameters = (node, "Push"), {"peer": to.id, "bytes": size, **more}
        self.result = None
        self.start()

    def run(self):
        self.result = ask(*self.parameters[0], **self.parameters[1])

    def wait(self):
        self.join(60)
        check(self.result is not None, "the stream did not end")
        return self.result


def whole(got, size):
    equal((got["error"], got["sent"], got["received"], got["right"]), ("ok", size, size, size), got)


def streams(node):
    return ask(node, "Streams")["streams"]


def rss(node):
    with open(f"/proc/{node.process.pid}/status", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS")) * 1024


def test_whole_in_kosd(case):
    home, laptop = pumps(case)
    whole(ask(laptop, "Push", peer=home.id, bytes=64 * MIB), 64 * MIB)
    whole(ask(home, "Push", peer=laptop.id, bytes=3 * MIB + 7), 3 * MIB + 7)
    for size in (0, 1, 16384, 262139):
        whole(ask(laptop, "Push", peer=home.id, bytes=size), size)
    case.until(lambda: (streams(home), streams(laptop)) == ([], []), "no stream is left")
    counters = home.counters()
    equal((counters["streams_in"], counters["streams_out"]), (5, 1), "streams counted")


def test_whole_in_cells(case):
    home, laptop = pumps(case, isolate="true")
    whole(ask(laptop, "Push", peer=home.id, bytes=64 * MIB), 64 * MIB)
    whole(ask(home, "Push", peer=laptop.id, bytes=3 * MIB + 7), 3 * MIB + 7)
    case.until(lambda: (streams(home), streams(laptop)) == ([], []), "no stream is left")


def test_small_windows(case):
    home, laptop = pumps(case, left="window = 1; chunk = 3;", right="window = 70000; chunk = 1000;")
    whole(ask(laptop, "Push", peer=home.id, bytes=2000), 2000)
    whole(ask(home, "Push", peer=laptop.id, bytes=MIB), MIB)


def test_slow_reader(case):
    """It takes what it gave credit for and no more, costs its sender a bounded buffer, and nobody else anything."""
    home, laptop = pumps(case, left="hold = true;")
    home.ctl("agent", "add", "shout", "--skill", "text", "--exec", "tr a-z A-Z")
    before = rss(home), rss(laptop)
    slow = [Push(laptop, home, 64 * MIB) for _ in range(8)]
    case.until(lambda: len(streams(home)) == 8, "all are open")
    ask(home, "Give", bytes=100000)
    case.until(lambda: all(s["received"] == 100000 for s in streams(home)), "what there was credit for came")
    equal(laptop.ctl("task", "send", "klp://agent.shout.home.kai", "--input", "hello"), "HELLO", "meanwhile")
    whole(ask(home, "Push", peer=laptop.id, bytes=4 * MIB), 4 * MIB)
    equal([s["sent"] for s in streams(laptop) if not s["accepted"]], [100000] * 8, "sent")
    check(rss(home) - before[0] < 24 * MIB and rss(laptop) - before[1] < 24 * MIB, "memory is bounded")
    ask(home, "Abort")
    for one in slow:
        equal((one.wait()["error"], one.result["text"]), ("deadline_passed", "it took too long"), "aborted there")
    case.until(lambda: streams(laptop) == [], "no stream is left")


def test_small_messages_meanwhile(case):
    home, laptop = pumps(case)
    home.ctl("agent", "add", "shout", "--skill", "text", "--exec", "tr a-z A-Z")
    many = [Push(laptop, home, 128 * MIB) for _ in range(2)]
    for i in range(5):
        equal(laptop.ctl("task", "send", "klp://agent.shout.home.kai", "--input", f"a{i}"), f"A{i}", "meanwhile")
    for one in many:
        whole(one.wait(), 128 * MIB)


def test_refused(case):
    home, laptop = pumps(case, trust=False)
    got = ask(laptop, "Push", peer=home.id, bytes=10)
    equal(got["error"], "trust_too_low", got)
    has(got["text"], "PUMP needs a trust score of 5 here")
    has(home.tail(), f"kosctl trust klp://node.{laptop.id}")
    home.ctl("trust", laptop.address)
    whole(ask(laptop, "Push", peer=home.id, bytes=10), 10)
    home.policy("no", 'messages = { block = [ "PUMP_OTHER" ]; };')
    home.ctl("policy", "reload")
    equal(ask(laptop, "Push", peer=home.id, bytes=10, name="PUMP_OTHER")["error"], "policy_denied", "blocked by name")
    whole(ask(laptop, "Push", peer=home.id, bytes=10), 10)
    got = ask(laptop, "Push", peer=home.id, bytes=10, name="PUMP_ELSE")
    equal(got["error"], "unhandled_type", got)
    has(got["text"], "no plugin of this node takes streams of the name PUMP_ELSE")
    got = ask(laptop, "Push", peer=home.id, bytes=10, name="PUMP_NEVER")
    equal((got["error"], got["text"]), ("not_found", 'there is nothing "here"'), got)
    equal(ask(laptop, "Push", peer=home.id, bytes=10, name="lower")["error"], "invalid_argument", "no name")
    got = ask(laptop, "Push", peer=laptop.id, bytes=10)
    equal(got["error"], "unreachable", got)


def test_policy_changes_meanwhile(case):
    home, laptop = pumps(case, left="hold = true;")
    one = Push(laptop, home, MIB)
    case.until(lambda: len(streams(home)) == 1, "it is open")
    home.policy("no", 'messages = { block = [ "PUMP" ]; };')
    home.ctl("policy", "reload")
    equal(one.wait()["error"], "policy_denied", one.result)
    case.until(lambda: streams(home) == [], "no stream is left")
    check(laptop.peer(home)["state"] == "connected", "the session stays")


def test_sudden_ends(case):
    home, laptop = pumps(case, left="hold = true;")
    one = Push(laptop, home, 64 * MIB)
    case.until(lambda: len(streams(home)) == 1, "it is open")
    ask(home, "Give", bytes=MIB)
    home.stop(signal.SIGKILL)
    check(one.wait()["error"] in ("closed", "unreachable", "io_error"), one.result)
    case.until(lambda: streams(laptop) == [], "no stream is left")
    home.start()
    case.until(lambda: laptop.peer(home)["state"] == "connected", "it is back")
    one = Push(laptop, home, 1000)
    case.until(lambda: len(streams(home)) == 1, "it is open")
    ask(home, "Give", bytes=1000)
    whole(one.wait(), 1000)


def plugin(node):
    return next(p for p in node.json("plugin", "list")["plugins"] if p["name"] == "pump")


def test_a_cell_ends(case):
    home, laptop = pumps(case, isolate="true", left="hold = true;")
    one = Push(laptop, home, 64 * MIB)
    case.until(lambda: len(streams(home)) == 1, "it is open")
    ask(home, "Give", bytes=MIB)
    os.kill(plugin(home)["pid"], signal.SIGKILL)
    equal(one.wait()["error"], "outcome_unknown", one.result)
    case.until(lambda: plugin(home)["restarts"] == 1 and plugin(home)["state"] == "running", "it is back")
    one = Push(laptop, home, 1000)
    case.until(lambda: len(streams(home)) == 1, "it is open")
    ask(home, "Give", bytes=1000)
    whole(one.wait(), 1000)


def test_fair(case):
    """Streams side by side get on alike."""
    home, laptop = pumps(case)
    many = [Push(laptop, home, 32 * MIB) for _ in range(6)]
    for one in many:
        whole(one.wait(), 32 * MIB)
    times = sorted(one.result["us"] for one in many)
    check(times[0] * 4 > times[-1], f"one was done long before another: {times} us")


def test_without_its_right(case):
    shutil.copy(os.path.join(BUILD, "tests", "bench", ".libs", "pump.so"), case.plugins)
    node = case.node("home.kai")
    node.policy("pump", 'plugins = { pump = { module = "pump.so"; isolate = false; }; };')
    node.start(ready=False)
    equal(node.process.wait(60), 1, "status")
    node.process = None
    has(node.tail(), 'rights = [ "stream" ];')


run(globals())
