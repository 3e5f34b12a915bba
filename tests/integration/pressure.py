#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Back-pressure between real processes: a slow handler, a slow link, a full disk, a flood from one of fifty peers.

The peers are no kosd: tests/pressure/peers speaks KLP with libklp alone, so they can send what no kosd would. Judged from
outside: what each is told, by name; that all of the others' messages are handled; how much memory kosd takes. Latencies
are measured beside each other in one run and printed, never asserted. With --long (make pressure) the same takes minutes.
"""
import json
import os
import socket
import subprocess
import sys
import threading
import time

from kit import BUILD, Control, check, equal, has, program, run

LONG = "--long" in sys.argv
if LONG:
    sys.argv.remove("--long")
SECONDS, EVERY_MS, PEERS = (15, 100, 50) if LONG else (1.5, 300, 50)
RSS_MAX = 256 << 20  # of kosd, whatever one peer sends; klp(7) has what it is made of
SANITIZED = "-fsanitize" in open(os.path.join(BUILD, "config.status"), encoding="utf-8").read()

PLUGINS = """
plugins = {
    echo = { module = "%(dir)s/ECHO.so"; isolate = false; rights = [ "send" ]; };
    slow = { module = "%(dir)s/SLOW.so"; isolate = true; rights = [ "send" ]; heartbeat = "%(heartbeat)s"; settings = { %(settings)s }; };
};
"""


def note(text):
    print("# " + text, flush=True)


class Peers:
    """A process of tests/pressure/peers."""

    def __init__(self, case, home, count):
        self.process = subprocess.Popen([program("tests/pressure/peers"), "127.0.0.1", str(home.port), str(count)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        case.processes.append(self.process)
        self.addresses = self.line().split()
        equal(len(self.addresses), count, "peers that are up")
        for address in self.addresses:
            home.ctl("trust", address, "8")

    def line(self):
        line = self.process.stdout.readline()
        if not line:
            check(False, f"the peers ended with {self.process.wait()}")
        return line

    def say(self, *words):
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()

    def quiet(self, seconds, type_name="ECHO", every_ms=EVERY_MS):
        self.say("quiet", seconds, type_name, every_ms)
        return json.loads(self.line())

    def flood(self, seconds, kind, type_name, target=""):
        self.say("flood", seconds, kind, type_name, target)

    def told(self):
        return json.loads(self.line())


def memory(process, what="VmRSS"):
    with open(f"/proc/{process.pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) << 10 for line in status if line.startswith(what + ":"))


def bounded(node, most=RSS_MAX):
    peak = memory(node.process, "VmHWM")
    check(SANITIZED or peak <= most, f"kosd took {peak >> 20} MiB; it is to stay within {most >> 20}")
    return peak


def all_handled(result, text):
    """Every message was taken at once, handled and answered."""
    equal((result["refused"], result["errors"], result["unanswered"], result["receipts"]["count"], result["replies"]["count"]),
          (0, 0, 0, result["sent"], result["sent"]), f"{text} ({result['refusal']}): refused, errors, unanswered, receipts, replies")
    check(result["sent"] > 0, "they sent something")


def handlers(node, settings="", heartbeat="10s"):
    node.policy("pressure", PLUGINS % {"dir": os.path.join(BUILD, "tests", "pressure"), "settings": settings, "heartbeat": heartbeat})
    return node


def row(name, result, base=None, rest=""):
    times = result["replies"]
    ratio = "" if base is None else " ratio {:5.2f} {:5.2f}".format(*(times[k] / max(base["replies"][k], 0.001) for k in ("p50_ms", "p99_ms")))
    note(f"{name:28} {result['sent']:6} sent, reply p50 {times['p50_ms']:8.2f} ms p99 {times['p99_ms']:8.2f} ms{ratio} {rest}")


# ---- one of fifty floods ----

FLOODS = {
    # kind: type, what it may be told and nothing else
    "batch": ("BROADCAST_ANNOUNCE", {"ok", "quota_exceeded", "busy"}),
    "single": ("ECHO", {"ok", "quota_exceeded", "busy"}),
    "forged": ("ECHO", {"bad_signature"}),
    "repeat": ("ECHO", {"ok"}),
    "receipts": ("ECHO", set()),
    "huge": ("ECHO", {"ok", "quota_exceeded", "busy"}),
    "tasks": ("TASK_REQUEST", {"ok", "quota_exceeded", "busy"}),
    "deaf": ("ECHO", set()),
}


def test_one_of_fifty_floods(case):
    """The default policy, and a handler beside; one peer sends all that it can, of each kind, the others now and then."""
    home = handlers(case.node("home.kai")).start()
    home.ctl("agent", "add", "count", "--skill", "x", "--exec", "wc -c")
    others, flooder = Peers(case, home, PEERS - 1), Peers(case, home, 1)
    base = others.quiet(SECONDS)
    all_handled(base, "alone")
    row("nobody floods", base)
    for kind, (type_name, names) in FLOODS.items():
        flooder.flood(SECONDS + 0.5, kind, type_name, "klp://agent.count.home.kai" if kind == "tasks" else "")
        result = others.quiet(SECONDS)
        told = flooder.told()
        all_handled(result, f"while one floods with {kind}")
        check(told["sent"] > 20, f"the flooder ({kind}) sent {told['sent']}")
        if kind == "repeat":
            told["told"].pop("bad_signature", None)  # what is told late of those forged before
        check(set(told["told"]) <= names, f"the flooder ({kind}) was told {told['told']}: {told['text']}")
        row(f"one floods: {kind}", result, base, f"flood {told['sent']} msgs {told['bytes'] >> 20} MiB, told {told['told']}, kosd peak {bounded(home) >> 20} MiB")
        if told["ended"]:
            flooder = Peers(case, home, 1)
    case.until(lambda: home.json("status")["status"]["inbox"]["messages"] == 0, "all that was taken is handled")
    note(f"kosd's memory: peak {memory(home.process, 'VmHWM') >> 20} MiB, bound {RSS_MAX >> 20} MiB")


run(globals())
