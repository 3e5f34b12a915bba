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

from kit import BUILD, Control, check, equal, has, program, run, sanitized

LONG = "--long" in sys.argv
if LONG:
    sys.argv.remove("--long")
SECONDS, EVERY_MS, PEERS = (15, 100, 50) if LONG else (1, 250, 50)
RSS_MAX = 256 << 20  # of kosd, whatever one peer sends; kosd(8), "Back-pressure", says what it is made of
SANITIZED = sanitized()

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
    if SANITIZED:
        note(f"kosd took {peak >> 20} MiB; the bound of {most >> 20} is not judged: the sanitizer keeps what was freed")
    else:
        check(peak <= most, f"kosd took {peak >> 20} MiB; it is to stay within {most >> 20}")
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
    for kind in FLOODS if LONG else ("batch", "forged", "huge", "tasks", "deaf"):
        type_name, names = FLOODS[kind]
        flooder.flood(SECONDS + 0.5, kind, type_name, "klp://agent.count.home.kai" if kind == "tasks" else "")
        result = others.quiet(SECONDS)
        told = flooder.told()
        all_handled(result, f"while one floods with {kind}")
        check(told["items"] > 4, f"the flooder ({kind}) sent {told['sent']}")
        if kind == "repeat":
            told["told"].pop("bad_signature", None)  # what is told late of those forged before
        check(set(told["told"]) <= names, f"the flooder ({kind}) was told {told['told']}: {told['text']}")
        row(f"one floods: {kind}", result, base, f"flood {told['sent']} msgs {told['bytes'] >> 20} MiB, told {told['told']}, kosd peak {bounded(home) >> 20} MiB")
        if told["ended"]:
            flooder = Peers(case, home, 1)
    case.until(lambda: home.json("status")["status"]["inbox"]["messages"] == 0, "all that was taken is handled")
    note(f"kosd's memory: peak {memory(home.process, 'VmHWM') >> 20} MiB, bound {RSS_MAX >> 20} MiB")


# ---- a slow handler ----

def test_a_slow_handler(case):
    """In a cell, 200 ms for each message: one peer floods it, others use it too, and another type flows."""
    home = handlers(case.node("home.kai"), 'delay = "200ms"').start()
    others, some, flooder = Peers(case, home, 20), Peers(case, home, 3), Peers(case, home, 1)
    base = others.quiet(SECONDS)
    flooder.flood(SECONDS + 1, "single", "SLOW")
    some.say("quiet", SECONDS, "SLOW", 1000 * SECONDS)
    result = others.quiet(SECONDS)
    told, slow = flooder.told(), json.loads(some.line())
    all_handled(base, "alone")
    all_handled(result, "while a handler is slow")
    all_handled(slow, "at the slow handler, beside a flood of it")
    row("nobody floods", base)
    row("a slow handler is flooded", result, base, f"flood {told['sent']}, told {told['told']}, kosd peak {bounded(home) >> 20} MiB")
    row("others at the slow one", slow)
    check(set(told["told"]) <= {"ok", "busy"}, f"the flooder was told {told['told']}")
    slow = next(p for p in home.json("plugin", "list")["plugins"] if p["name"] == "slow")
    equal((slow["state"], slow["restarts"]), ("running", 0), f"who is slow is not cut off: {slow.get('cause')}")
    types = home.json("status")["status"]["inbox"]["types"]
    check(types["SLOW"]["waiting"] > types["SLOW"]["offered"], f"what waits, waits in kosd: {types}")


def test_a_handler_that_hangs(case):
    """In a cell, it never returns: cut off by its heartbeat and started again, and again; another type flows."""
    home = handlers(case.node("home.kai"), "hang = true", "1s").start()
    others, flooder = Peers(case, home, 20), Peers(case, home, 1)
    base = others.quiet(SECONDS)
    flooder.flood(SECONDS + 1, "batch", "SLOW")
    result = others.quiet(SECONDS + 1)
    told = flooder.told()
    all_handled(base, "alone")
    all_handled(result, "while a handler hangs")
    row("nobody floods", base)
    row("a handler hangs", result, base, f"flood {told['sent']}, told {told['told']}, kosd peak {bounded(home) >> 20} MiB")
    check(told["told"].get("busy", 0) > 0, f"who sends what nobody handles is told so: {told['told']}")
    has(case.until(lambda: next(p for p in home.json("plugin", "list")["plugins"] if p["name"] == "slow").get("cause"), "it is cut off"), "has not answered")
    others.quiet(0.5)


def test_tasks_take_turns(case):
    """One peer has as many tasks wait as it may; another's is begun next, and is not refused."""
    home = case.node("home.kai").start()
    laptop = case.node("laptop.kai", listen=False).start()
    laptop.ctl("connect", f"peer://127.0.0.1:{home.port}")
    home.ctl("trust", laptop.address)
    laptop.ctl("trust", home.address)
    home.ctl("agent", "add", "count", "--skill", "x", "--concurrency", "1", "--exec", "sleep 0.1; wc -c")
    flooder = Peers(case, home, 1)
    flooder.flood(2, "tasks", "TASK_REQUEST", "klp://agent.count.home.kai")

    def waiting():
        return [t for t in home.json("task", "list")["tasks"] if t["direction"] == "in" and t["state"] == "waiting"]
    case.until(lambda: len(waiting()) >= 100, "its tasks wait")
    equal(laptop.ctl("task", "send", "klp://agent.count.home.kai", "--input", "hello").strip(), "5", "another's task is done")
    left = len(waiting())
    check(left > 50, f"while {left} of the flooder's wait still")
    told = flooder.told()
    note(f"tasks: {told['sent']} sent by one, told {told['told']}, answered {told['answered']}; {left} waited when another's was done")
    check(told["answered"].get("busy", 0) > 0, f"who sends too many is told so: {told['answered']}")
    check(set(told["told"]) <= {"ok", "quota_exceeded", "busy"}, f"and by no other name: {told['told']}")
    bounded(home)


# ---- a slow link ----

class Shaped(threading.Thread):
    """A TCP proxy that carries so many bytes a second each way, each so long after it came."""

    def __init__(self, port, rate, delay):
        super().__init__(daemon=True)
        self.target, self.rate, self.delay = port, rate, delay
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.start()

    def run(self):
        while True:
            near, _ = self.socket.accept()
            far = socket.create_connection(("127.0.0.1", self.target))
            for end in (near, far):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            for pair in ((near, far), (far, near)):
                threading.Thread(target=self.pump, args=pair, daemon=True).start()

    def pump(self, source, target):
        try:
            while data := source.recv(16384):
                if self.rate:
                    time.sleep(self.delay + len(data) / self.rate)
                target.sendall(data)
        except OSError:
            pass
        for end in (source, target):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


def test_a_slow_link(case):
    """A sender submits as fast as it can for a node behind a slow link: it is told when no more can wait; others' go on."""
    home, cabin, laptop = case.node("home.kai").start(), case.node("cabin.kai").start(), case.node("laptop.kai", listen=False)
    laptop.setting("outbox_per_target_bytes", '"2M"')
    laptop.start()
    link = Shaped(home.port, 200000, 0.01)
    laptop.ctl("connect", f"peer://127.0.0.1:{link.port}")
    laptop.ctl("connect", f"peer://127.0.0.1:{cabin.port}")
    for node in (home, cabin):
        node.ctl("trust", laptop.address)
        laptop.ctl("trust", node.address)
        node.ctl("agent", "add", "count", "--skill", "x", "--exec", "wc -c")
    tasks, refused = [], None
    with laptop.control() as control:
        for _ in range(200):
            reply = control.call("org.kos.task.Send", {"target": "klp://agent.count.home.kai", "inputs": ["x" * 50000], "detach": True, "deadline_ms": 300000})
            if "error" in reply:
                refused = reply
                break
            tasks.append(reply["parameters"]["task"])
    check(refused and len(tasks) >= 20, f"{len(tasks)} were taken, then {refused}")
    equal(refused["parameters"]["error"], "busy", "the sender is told by name")
    has(refused["parameters"]["text"], "outbox_per_target_bytes")
    begin = time.monotonic()
    equal(laptop.ctl("task", "send", "klp://agent.count.cabin.kai", "--input", "hello").strip(), "5", "another target's is done")
    other = time.monotonic() - begin
    waits = laptop.peer(home)["outbox"]["bytes"]
    check(waits > 500000, f"while {waits} bytes wait for the slow one")
    link.rate = 0
    for task in tasks:
        equal(laptop.ctl("task", "wait", task).strip(), "50000", "every task that was taken is done")
    note(f"slow link: {len(tasks)} tasks of 50 kB taken, then busy; another target's task took {1000 * other:.0f} ms while {waits >> 10} KiB waited; "
         f"memory {memory(laptop.process, 'VmHWM') >> 20} and {memory(home.process, 'VmHWM') >> 20} MiB")
    bounded(laptop, 128 << 20)
    bounded(home, 128 << 20)


# ---- a full disk ----

def fill(directory):
    path = os.path.join(directory, "ballast")
    with open(path, "wb", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1):
            try:
                while file.write(b"\0" * size) == size:
                    pass
            except OSError:
                pass
    return path


def full_disk(case):
    home = handlers(case.node("home.kai"))
    state = os.path.join(home.dir, "state")
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m,mode=0700", "kos-test", state], capture_output=True, check=False)
    equal(done.returncode, 0, done.stderr.decode())
    try:
        home.start()
        others, flooder = Peers(case, home, 20), Peers(case, home, 1)
        all_handled(others.quiet(SECONDS), "while there is room")
        ballast = fill(state)
        flooder.flood(4, "huge", "ECHO")
        case.until(lambda: home.json("status")["status"]["store"]["state"] == "disk_full", "the disk is full")
        result = others.quiet(SECONDS)
        told = flooder.told()
        note(f"full disk: others sent {result['sent']}, {result['refused']} refused ({result['refusal']}); flooder told {told['told']}; kosd peak {bounded(home) >> 20} MiB")
        check(result["refused"] > 0 and result["refusal"] == "disk_full", f"who cannot be served is told why: {result}")
        check(told["told"].get("disk_full", 0) + told["told"].get("busy", 0) > 0, f"the flooder too: {told['told']}")
        os.unlink(ballast)
        case.until(lambda: home.json("status")["status"]["store"]["state"] == "ok", "it works again")
        case.until(lambda: home.json("status")["status"]["inbox"]["messages"] == 0, "what was taken before is handled")
        all_handled(others.quiet(SECONDS), "when there is room again")
    finally:
        if home.process:
            home.process.kill()
            home.process.wait()
        subprocess.run(["umount", "-l", state], capture_output=True, check=False)


def test_a_full_disk(case):
    """Mounts a small disk: as root, or in a user namespace of its own."""
    if os.geteuid() == 0:
        full_disk(case)
        return
    done = subprocess.run(["unshare", "--user", "--map-root-user", "--mount", sys.executable, os.path.abspath(__file__), "test_a_full_disk"], capture_output=True, check=False)
    check(done.returncode == 0, done.stdout.decode() + done.stderr.decode())


run(globals())
