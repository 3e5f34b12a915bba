#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""bridge/nats against a real nats-server: TLS and nkeys, both ways, kill -9 of either side, and every refusal in words. The
plugin runs under nats_drive, which a test may kill; what it owes stands in ledgers of the test."""
import collections
import json
import os
import queue
import random
import signal
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))
from kit import DEADLINE, check, equal, has, program, run  # noqa: E402
from nats_server import Client, Server, authority  # noqa: E402


class Bridge:
    """One nats_drive at a time over one directory, with its lines."""

    def __init__(self, case, server, name="bridge", **settings):
        self.dir = os.path.join(case.dir, name)
        os.mkdir(self.dir)
        self.case = case
        self.secret("seed", server.user.seed + "\n")
        self.settings = {"servers": server.url, "tls_ca": server.ca[0], "nkey": "seed", **settings}
        self.process = None
        self.lines = []
        self.next_op = 0

    def secret(self, name, value):
        with open(os.path.join(self.dir, "secret." + name), "w", encoding="ascii") as file:
            file.write(value)

    def start(self):
        settings = [f"{k}={v}" for k, v in self.settings.items() if v is not None]
        self.process = subprocess.Popen([program("tests/interop/nats_drive"), self.dir, *settings], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=open(os.path.join(self.dir, "stderr"), "ab"))
        self.case.processes.append(self.process)
        self.lines = []
        self.queue = queue.Queue()
        threading.Thread(target=self.read, args=(self.process, self.queue), daemon=True).start()
        return self

    @staticmethod
    def read(process, lines):
        for line in process.stdout:
            lines.put(line.decode(errors="replace").rstrip("\n"))
        lines.put(None)

    def line(self, seconds=DEADLINE):
        """The next line; None at the end or when none came in time."""
        try:
            line = self.queue.get(timeout=seconds)
        except queue.Empty:
            return None
        if line is not None:
            self.lines.append(line)
        return line

    def wait(self, start, seconds=DEADLINE):
        end = time.monotonic() + seconds
        while True:
            line = self.line(max(0.01, end - time.monotonic()))
            check(line is not None, f"no line {start!r} in {seconds} s, but {self.lines[-12:]}: {self.errors()}")
            if line.startswith(start):
                return line

    def errors(self):
        with open(os.path.join(self.dir, "stderr"), errors="replace") as file:
            return file.read()[-3000:]

    def say(self, line):
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def deliver(self, destination, payload, message=None, again=0, created=None, more=""):
        self.next_op += 1
        message = message or random.randbytes(16).hex()
        created = created or int(time.time() * 1000)
        self.say(f"deliver {self.next_op} {destination} {again} {created} {message} ORDER {more}{payload}")
        return self.next_op

    def delivered(self, destination, payload, **more):
        """Its error name and sentence."""
        op = self.deliver(destination, payload, **more)
        _, _, error, *text = self.wait(f"completed {op} ").split(" ", 3)
        return error, text[0] if text else ""

    def status(self):
        self.say("status")
        return json.loads(self.wait("status ")[7:])

    def answer(self, error, count):
        self.say(f"answer {error} {count}")
        self.wait("answering ")

    def taken(self):
        """[(key, payload)] of what a host would have on its disk."""
        path = os.path.join(self.dir, "taken")
        if not os.path.exists(path):
            return []
        with open(path, encoding="utf-8") as file:
            return [(line.split(" ", 5)[1], json.loads(line.split(" ", 5)[5])) for line in file if line.endswith("\n")]

    def stop(self):
        began = time.monotonic()
        self.say("stop")
        equal(self.wait("stopped", 10), "stopped 0", "nothing may be left after the end")
        check(time.monotonic() - began < 5, "the end took longer than 5 s")
        equal(self.process.wait(DEADLINE), 0, "its end: " + self.errors())
        return self

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


def inward(subject, **more):
    group = {"subject": subject, "type": "ORDER", "target": "klp://node.here", **more}
    return json.dumps([group], sort_keys=True, separators=(",", ":"))


def test_there_and_back(case):
    server = Server(case.path("server")).start()
    client = Client(server)
    client.stream("OUT", "orders.out.>")
    client.stream("IN", "orders.in.>")
    bridge = Bridge(case, server, inward=inward("orders.in.>")).start()
    has(bridge.wait("log 5 connected to"), str(server.port))
    message = random.randbytes(16).hex()
    equal(bridge.delivered("orders.out.{type}", '{"n":1}', message=message), ("ok", ""))
    (_, subject, headers, body), = client.messages("OUT")
    equal(subject, "orders.out.ORDER")
    has(headers, "Kos-Origin: ")
    has(headers, "Kos-Source: klp://node.there")
    has(headers, "traceparent: 00-" + message)
    document = json.loads(body)
    equal((document["payload"], document["type"], document["source"]), ({"n": 1}, "ORDER", "klp://node.there"))
    has(headers, f"Nats-Msg-Id: {document['id']}.orders.out.ORDER")
    seq = client.publish("orders.in.a", b'{ "b": 2, "a": 1.0 }')
    has(bridge.wait("injected "), f'-{seq} ok {{"a":1,"b":2}}')
    case.until(lambda: client.consumers("IN")[0]["ack_floor"]["stream_seq"] == seq, "the stream knows that it was taken")
    status = bridge.status()
    equal((status["connected"], status["counters"]["delivered"], status["counters"]["injected"]), (True, 1, 1))
    equal(status["maps"][0]["state"], "ready")
    bridge.stop()


def test_what_is_ours_does_not_come_back(case):
    server = Server(case.path("server")).start()
    client = Client(server)
    client.stream("BOTH", "both.>")
    bridge = Bridge(case, server, inward=inward("both.>")).start()
    equal(bridge.delivered("both.a", '{"n":1}')[0], "ok")
    client.publish("both.a", b'{"n":2}')
    has(bridge.wait("injected "), '{"n":2}')
    equal(bridge.status()["counters"]["own"], 1)
    equal([p for _, p in bridge.taken()], [{"n": 2}])
    # Another node's bridge takes it, and what it sends on may cross so often and no more.
    other = Bridge(case, server, name="other", inward=inward("both.>", body="whole")).start()
    other.wait("injected ")
    other.wait("injected ")
    with open(os.path.join(other.dir, "taken"), encoding="utf-8") as file:
        trace = file.readline().split(" ")[4]
    for hop in range(3):
        equal(bridge.delivered("both.a", '{"n":3}', more=f"trace={trace} ")[0], "ok", f"hop {hop}")
        trace = client.messages("BOTH")[-1][2].split("traceparent: ")[1].split("\r\n")[0]
    error, text = bridge.delivered("both.a", '{"n":3}', more=f"trace={trace} ")
    equal(error, "limit_exceeded")
    has(text, "loop")
    bridge.stop()
    other.stop()


def test_what_cannot_come_in_is_said_and_left_out(case):
    server = Server(case.path("server")).start()
    client = Client(server)
    client.stream("IN", "in.>")
    bridge = Bridge(case, server, inward=inward("in.>")).start()
    bad = [b"", b"no json", b"[1]", b'"text"', b'{"a":1,"a":2}', b"\xff\xfe", b"{" * 5000, b'{"a":' + b"[" * 40 + b"]" * 40 + b"}",
           b'{"a":1e999}', b'{"a":"\\ud800"}']
    for body in bad:
        client.publish("in.a", body)
    client.publish("in.a", b'{"good":true}')
    has(bridge.wait("injected "), '{"good":true}')
    status = bridge.status()
    equal(status["counters"]["terminated"], len(bad))
    has(status["text"], "was left out for good")
    case.until(lambda: client.consumers("IN")[0]["num_ack_pending"] == 0, "none of them is handed out again")
    bridge.answer("policy_denied", 1)
    client.publish("in.a", b'{"n":1}')
    client.publish("in.a", b'{"n":2}')
    has(bridge.wait("injected "), "policy_denied")
    has(bridge.wait("injected "), '{"n":2}')
    equal(bridge.status()["counters"]["refused"], 1)
    bridge.stop()


def test_what_must_wait_keeps_its_order(case):
    server = Server(case.path("server")).start()
    client = Client(server)
    client.stream("IN", "in.>")
    for n in range(20):
        client.publish(f"in.{n % 2}", json.dumps({"n": n}).encode())
    bridge = Bridge(case, server, inward=inward("in.>")).start()
    bridge.answer("busy", 5)
    case.until(lambda: len(bridge.taken()) == 20, "all came in")
    for lane in (0, 1):
        equal([p["n"] for _, p in bridge.taken() if p["n"] % 2 == lane], list(range(lane, 20, 2)), "the order of a subject")
    check(bridge.status()["counters"]["retried"] >= 5, "busy means again")
    bridge.stop()


def ledger(case, server, bridge, count, trouble):
    """`count` messages each way while trouble() comes now and then; each is there exactly once at the end."""
    stop = threading.Event()
    owed = collections.OrderedDict((random.randbytes(16).hex(), n) for n in range(count))
    created = int(time.time() * 1000)

    def publish():
        n = 0
        while n < count and not stop.is_set():
            try:
                client = Client(server)
                while n < count:
                    # Its own id, so that a repeat of this test's client is none of the stream's.
                    client.publish(f"in.{n % 3}", json.dumps({"n": n}).encode(), {"Nats-Msg-Id": f"test{n}"})
                    n += 1
                    time.sleep(0.001)
            except (OSError, AssertionError):
                time.sleep(0.05)

    publisher = threading.Thread(target=publish, daemon=True)
    publisher.start()
    tried, under_way, rounds, due = set(), {}, 0, time.monotonic() + 0.5
    end = time.monotonic() + 3 * DEADLINE
    try:
        while owed or len(bridge.taken()) < count:
            check(time.monotonic() < end, f"not all came through: {len(owed)} are owed, {len(bridge.taken())} of {count} came in, {bridge.lines[-5:]}")
            for message, n in list(owed.items())[:40]:
                if message not in under_way.values():
                    op = bridge.deliver("out.a", json.dumps({"n": n}, separators=(",", ":")), message=message, created=created,
                                        again=int(message in tried))
                    under_way[op] = message
                    tried.add(message)
            line = bridge.line(0.05)
            if line and line.startswith("completed "):
                _, op, error, *text = line.split(" ", 3)
                message = under_way.pop(int(op))
                if error == "ok":
                    owed.pop(message)
                else:
                    check(error in ("unreachable", "deadline_passed", "busy", "closed"), f"{error} {text}")
            if time.monotonic() > due and rounds < 6:
                rounds += 1
                if trouble(rounds):
                    under_way.clear()
                due = time.monotonic() + 0.7
    finally:
        stop.set()
    publisher.join(DEADLINE)
    check(rounds >= 3, f"too little trouble: {rounds}")
    client = Client(server)
    out = sorted(json.loads(body)["payload"]["n"] for _, _, _, body in client.messages("OUT"))
    equal(out, list(range(count)), "every message is in the stream exactly once")
    taken = [p["n"] for _, p in bridge.taken()]
    equal(sorted(taken), list(range(count)), "every message came in exactly once")
    for lane in range(3):
        mine = [n for n in taken if n % 3 == lane]
        equal(mine, sorted(mine), "and in the order of its subject")


def streams(server):
    client = Client(server)
    client.stream("OUT", "out.>")
    client.stream("IN", "in.>")


def test_the_server_is_killed_in_the_middle(case):
    server = Server(case.path("server")).start()
    streams(server)
    bridge = Bridge(case, server, inward=inward("in.>"), ack_timeout="1s").start()

    def trouble(_):
        server.kill()
        server.start()
        return False

    ledger(case, server, bridge, 1500, trouble)
    check(bridge.status()["connects"] >= 4, "it connected again each time")
    bridge.stop()


def test_the_bridge_is_killed_in_the_middle(case):
    server = Server(case.path("server")).start()
    streams(server)
    bridge = Bridge(case, server, inward=inward("in.>"), ack_timeout="1s").start()

    def trouble(number):
        if number % 3 == 0:
            bridge.stop()
        else:
            bridge.kill()
        bridge.start()
        return True

    ledger(case, server, bridge, 1500, trouble)
    bridge.stop()


def test_what_the_stream_has_forgotten_is_not_doubled(case):
    """The stream recognises a repeated id for 100 ms only: so the bridge looks for itself."""
    server = Server(case.path("server")).start()
    client = Client(server)
    client.stream("OUT", "out.>", duplicate_window=100_000_000)
    bridge = Bridge(case, server).start()
    message, created = random.randbytes(16).hex(), int(time.time() * 1000)
    equal(bridge.delivered("out.a", '{"n":1}', message=message, created=created)[0], "ok")
    for n in range(300):
        client.publish("out.a", b"{}")
    bridge.kill()
    time.sleep(0.2)  # the window of the stream itself, which has no event
    bridge.start()
    equal(bridge.delivered("out.a", '{"n":1}', message=message, created=created, again=1)[0], "ok")
    equal(bridge.delivered("out.a", '{"n":2}', created=created, again=1)[0], "ok")
    equal(client.state("OUT")["messages"], 302)
    equal(bridge.status()["counters"]["doubled"], 1)
    bridge.stop()


def test_a_stream_made_again_begins_again(case):
    server = Server(case.path("server")).start()
    client = Client(server)
    client.stream("IN", "in.>")
    bridge = Bridge(case, server, inward=inward("in.>")).start()
    client.publish("in.a", b'{"n":1}')
    has(bridge.wait("injected "), '-1 ok {"n":1}')
    client.api("STREAM.DELETE.IN")
    client.stream("IN", "in.>")
    client.publish("in.a", b'{"n":2}')
    has(bridge.wait("injected "), '-1 ok {"n":2}')
    bridge.stop()
    # The consumer is gone, the cursor is not: nothing comes twice, nothing is left out.
    client.api("CONSUMER.DELETE.IN." + client.consumers("IN")[0]["name"])
    client.publish("in.a", b'{"n":3}')
    bridge.start()
    has(bridge.wait("injected "), '-2 ok {"n":3}')
    bridge.stop()


def test_streams_are_missing(case):
    server = Server(case.path("server")).start()
    client = Client(server)
    bridge = Bridge(case, server, inward=inward("in.>")).start()
    error, text = bridge.delivered("nowhere.a", "{}")
    equal(error, "not_found")
    has(text, "nats stream add NAME --subjects 'nowhere.a'")
    case.until(lambda: "no stream takes the subject in.>" in bridge.status()["maps"][0].get("trouble", ""), "the map says why")
    client.stream("IN", "in.>")
    client.publish("in.a", b'{"n":1}')
    has(bridge.wait("injected "), '{"n":1}')
    bridge.stop()
    bridge.settings["streams"] = '[{"name":"MADE","subjects":"made.> also.made"}]'
    bridge.start()
    equal(bridge.delivered("made.a", "{}")[0], "ok")
    equal(bridge.delivered("also.made", "{}")[0], "ok")
    equal(client.state("MADE")["messages"], 2)
    bridge.stop()


def trouble_of(case, server, **settings):
    bridge = Bridge(case, server, name=f"bridge{len(os.listdir(case.dir))}", deliver_timeout="1s", **settings).start()
    bridge.wait("log 4 ")
    error, text = bridge.delivered("out.a", "{}")
    bridge.stop()
    return error, text


def test_why_it_does_not_connect(case):
    server = Server(case.path("server")).start()
    stranger = authority(case.path("server"), "stranger")
    error, text = trouble_of(case, server, tls_ca=stranger[0])
    equal(error, "unreachable")
    has(text, "TLS with")
    has(text, "stranger.pem")
    _, text = trouble_of(case, server, tls_name="other.example.org")
    has(text, "TLS with")
    _, text = trouble_of(case, server, servers=server.url.replace("127.0.0.1", "name.invalid"))
    has(text, "name.invalid")
    _, text = trouble_of(case, server, servers="tls://127.0.0.1:1")
    has(text, "cannot be reached")
    _, text = trouble_of(case, server, nkey=None)
    has(text, "authorization violation")
    other = Server(case.path("other"), ca=server.ca)
    bridge = Bridge(case, server, name="stranger", deliver_timeout="1s")
    bridge.secret("seed", other.user.seed)
    bridge.start()
    has(bridge.wait("log 4 "), other.user.public)
    bridge.stop()
    bridge.secret("seed", "SUNOSEED")
    bridge.start()
    has(bridge.wait("log 4 "), "no seed of a user")
    bridge.stop()


def test_no_jetstream(case):
    server = Server(case.path("server"), jetstream=False).start()
    bridge = Bridge(case, server, inward=inward("in.>"), deliver_timeout="2s").start()
    has(bridge.wait("log 4 in.>: "), "no JetStream")
    error, text = bridge.delivered("out.a", "{}")
    equal(error, "unreachable")
    has(text, "JetStream")
    bridge.stop()


def test_what_this_user_may_not(case):
    server = Server(case.path("server")).start()
    client = Client(server)
    client.stream("OUT", "out.>")
    bridge = Bridge(case, server)
    bridge.secret("seed", server.limited.seed)
    bridge.start()
    error, text = bridge.delivered("out.a", "{}")
    equal(error, "permission_denied")
    has(text, "out.a")
    bridge.stop()


def test_a_full_stream(case):
    server = Server(case.path("server")).start()
    client = Client(server)
    client.stream("OUT", "out.>", max_msgs=1, discard="new", max_msg_size=2000)
    bridge = Bridge(case, server, deliver_timeout="2s").start()
    error, text = bridge.delivered("out.a", json.dumps({"big": "x" * 3000}))
    equal(error, "limit_exceeded")
    equal(bridge.delivered("out.a", "{}")[0], "ok")
    error, text = bridge.delivered("out.a", "{}")
    equal(error, "quota_exceeded")
    has(text, "maximum messages exceeded")
    error, text = bridge.delivered("out.a", json.dumps({"big": "x" * (1 << 20)}))
    has(text, "max_payload")
    bridge.stop()


if __name__ == "__main__":
    run(globals())
