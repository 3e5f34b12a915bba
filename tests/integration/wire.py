#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What goes over the wire between two nodes, seen by one who records, alters, cuts, repeats, and makes up what he sends."""
import base64
import os
import random
import socket
import threading

from kit import check, equal, free_port, has, run

PREFACE = b"KLP/1"
XX = PREFACE + b"\x01"
OUT, IN = "from the initiator", "from the responder"


class Link:
    """One connection through the proxy; what each side sent, before anything was altered."""

    def __init__(self, proxy, near, far):
        self.proxy, self.near, self.far = proxy, near, far
        self.recorded = {OUT: bytearray(), IN: bytearray()}
        self.closed = threading.Event()
        for args in ((near, far, OUT), (far, near, IN)):
            threading.Thread(target=self.pump, args=args, daemon=True).start()

    def pump(self, source, target, way):
        try:
            while True:
                data = source.recv(65536)
                if not data:
                    break
                self.recorded[way] += data
                change = self.proxy.change
                if change and change[0] == way:
                    self.proxy.change = None
                    data, more = change[1](data)
                    target.sendall(data)
                    self.proxy.changed.set()
                    if not more:
                        break
                else:
                    target.sendall(data)
        except OSError:
            pass
        self.close()

    def close(self):
        self.closed.set()
        for end in (self.near, self.far):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


class Proxy:
    def __init__(self, port):
        self.target = port
        self.holder = socket.socket()  # keeps the port while nobody listens at it
        self.holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.holder.bind(("127.0.0.1", 0))
        self.port = self.holder.getsockname()[1]
        self.links, self.change, self.changed = [], None, threading.Event()
        self.listen()

    def listen(self):
        self.socket = socket.create_server(("127.0.0.1", self.port))
        self.thread = threading.Thread(target=self.take, args=(self.socket,), daemon=True)
        self.thread.start()

    def refuse(self):
        """Until listen() again a connection is refused, as where nobody is, and not taken and broken off."""
        self.socket.shutdown(socket.SHUT_RDWR)  # wakes who accepts
        self.thread.join()
        self.socket.close()

    def take(self, listening):
        while True:
            try:
                near, _ = listening.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                near.close()
                continue
            for end in (near, far):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.links.append(Link(self, near, far))

    def alter(self, way, change):
        """change(bytes) -> (bytes, whether the link goes on), for the next bytes that go this way."""
        self.changed.clear()
        self.change = (way, change)


def flip(data):
    return data[:-1] + bytes([data[-1] ^ 1]), True


def cut(data):
    return data[:-len(data) // 2], False


def twice(data):
    return data + data, True


def through_proxy(case, name="home.kai"):
    home, laptop = case.node(name), case.node("laptop.kai", listen=False)
    for node in (home, laptop):
        node.setting("handshake_ms", '"1m"')  # none is given up because the machine is busy
        node.start()
    proxy = Proxy(home.port)
    laptop.ctl("connect", f"peer://127.0.0.1:{proxy.port}")
    home.ctl("trust", laptop.address)
    laptop.ctl("trust", home.address)
    return home, laptop, proxy


def again(case, home, laptop, proxy):
    """home goes and comes back, and laptop finds it again. Who meets one that breaks off falls back to XX, so that laptop
    meets nobody until home is up, however long that takes."""
    proxy.refuse()
    home.stop()
    case.until(lambda: not laptop.peer(home)["sessions"], "laptop has seen it go")
    home.start()
    proxy.listen()
    case.until(lambda: laptop.peer(home)["sessions"], "connected again")


def forms(text):
    """How somebody would look for a text: as it is, in hexadecimal, and in base64 wherever it begins."""
    yield text
    yield text.hex().encode()
    yield text.hex().upper().encode()
    for shift in range(3):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            form = encode(b"\0" * shift + text)[4 * (shift > 0):-4]
            if len(form) >= 8:  # a shorter one may stand anywhere by chance
                yield form


def id_bytes(text):
    value = 0
    for c in text:
        value = value << 5 | "abcdefghijklmnopqrstuvwxyz234567".index(c)
    return (value >> 2).to_bytes(16, "big")


def test_no_plaintext_on_the_wire(case):
    home, laptop, proxy = through_proxy(case, "homestead-of-many.kai")
    home.ctl("agent", "add", "nightingale-sings", "--skill", "sing-in-the-dark", "--exec", "echo an-answer-from-the-agent; cat")
    secret = b"the quick brown fox jumps over lazy dogs"
    blob = bytes(random.Random(7).randbytes(5000))
    path = case.path("blob", blob)
    address = "klp://agent.nightingale-sings.homestead-of-many.kai"
    equal(laptop.raw("task", "send", address, "--input", secret.decode() * 30).stdout, b"an-answer-from-the-agent\n" + secret * 30, "a text")
    equal(laptop.raw("task", "send", address, "--input", "@" + path).stdout, b"an-answer-from-the-agent\n" + blob, "bytes")
    task = laptop.json("task", "send", address, "--input", "one more word of it")["task"]
    laptop.ctl("announce", "an-announcement-to-all-of-you")
    agent = home.agent("nightingale-sings")["id"]
    again(case, home, laptop, proxy)  # by IK
    equal(laptop.peer(home)["sessions"][0]["cipher"], "Noise_IK_25519_AESGCM_SHA256", "who has met before takes the short way")
    recorded = [bytes(link.recorded[way]) for link in proxy.links for way in (OUT, IN)]
    check(sum(map(len, recorded)) > 20000, "the proxy saw the traffic")
    wanted = [secret, blob[:24], blob[2000:2024], b"an-answer-from-the-agent", b"nightingale-sings", b"sing-in-the-dark", b"homestead-of-many", b"one more word of it",
              b"an-announcement-to-all-of-you", b"TASK_REQUEST", b"TASK_PROGRESS", b"TASK_RESULT", b'"payload"', b'"signature"', b"klp://agent.", b"laptop.kai", b"node_record"]
    for node in (home.id, laptop.id, agent, task):
        wanted += [node.encode(), id_bytes(node)]
    for text in wanted:
        for form in forms(text):
            check(not any(form in stream for stream in recorded), f"{form} went over the wire in plain sight")
    for stream in recorded[::2]:
        equal(stream[:5], PREFACE, "only the preface is plain")
        check(PREFACE not in stream[5:], "and only once")


def settled(case, home, laptop, agent="log"):
    """A task is done over whatever connection there is now."""
    del home
    equal(laptop.ctl("task", "send", f"klp://agent.{agent}.home.kai", "--input", "settled\n", "--deadline", "50s"), "", "a task is done after it")
    return case


def changed(case, change, way):
    home, laptop, proxy = through_proxy(case)
    home.ctl("agent", "add", "log", "--skill", "x", "--exec", "cat >>log")
    settled(case, home, laptop)
    link, before = proxy.links[-1], (home if way == OUT else laptop).counters()
    proxy.alter(way, change)
    task = laptop.ctl("task", "send", "klp://agent.log.home.kai", "--input", "altered\n", "--detach").strip()
    case.until(link.closed.is_set, "the link ends")
    equal(laptop.ctl("task", "wait", task), "", "the task is done over another link")
    settled(case, home, laptop)
    with open(home.own("log", "log"), encoding="utf-8") as file:
        equal(sorted(file.read().split()), ["altered", "settled", "settled"], "each was done once")
    return home, laptop, before


def test_a_bit_is_flipped_on_the_way_out(case):
    home, _, before = changed(case, flip, OUT)
    equal(home.counters()["records_bad"], before["records_bad"] + 1, "it is counted")
    has(home.tail(), "does not open")


def test_a_bit_is_flipped_on_the_way_back(case):
    _, laptop, before = changed(case, flip, IN)
    equal(laptop.counters()["records_bad"], before["records_bad"] + 1, "it is counted")
    has(laptop.tail(), "does not open")


def test_a_record_comes_twice(case):
    home, _, before = changed(case, twice, OUT)
    equal(home.counters()["records_bad"], before["records_bad"] + 1, "it is counted")


def test_a_record_is_cut(case):
    home, _, before = changed(case, cut, OUT)
    equal(home.counters()["records_bad"], before["records_bad"], "a lost link is no forgery")


def test_handshakes_are_altered(case):
    home, laptop = case.node("home.kai").start(), case.node("laptop.kai", listen=False).start()
    proxy = Proxy(home.port)
    home.ctl("trust", laptop.address)
    laptop.ctl("trust", home.address)
    for way, change in ((OUT, flip), (IN, flip), (IN, cut), (IN, twice)):
        proxy.alter(way, change)
        case.until(lambda: laptop.raw("connect", f"peer://127.0.0.1:{proxy.port}").returncode == 0 and laptop.peer(home)["state"] == "connected", "connected in the end")
        check(proxy.changed.is_set(), "the handshake was altered")
        laptop.ctl("disconnect", home.address)
        case.until(lambda: not home.peer(laptop) or not home.peer(laptop)["sessions"], "disconnected")


def closes(port, data, half=False):
    """Sends data to the port and returns what comes back before the other side closes."""
    with socket.create_connection(("127.0.0.1", port)) as s:
        s.settimeout(30)
        got = b""
        try:
            s.sendall(data)
            if half:
                s.shutdown(socket.SHUT_WR)
            while True:
                more = s.recv(65536)
                if not more:
                    return got
                got += more
        except ConnectionError:
            return got
        except socket.timeout:
            check(False, f"not closed after {data[:40]!r}")


def test_a_recorded_session_is_replayed(case):
    home, laptop, proxy = through_proxy(case)
    home.ctl("agent", "add", "log", "--skill", "x", "--exec", "cat >>log")
    again(case, home, laptop, proxy)  # by IK
    for n in range(3):
        equal(laptop.ctl("task", "send", "klp://agent.log.home.kai", "--input", f"task {n}\n"), "", "a task")
    case.until(lambda: home.peer(laptop)["outbox"]["messages"] == 0, "all is acknowledged")
    first, last = bytes(proxy.links[0].recorded[OUT]), bytes(proxy.links[-1].recorded[OUT])
    equal((first[:6], last[:6]), (XX, PREFACE + b"\x02"), "an XX and an IK session")
    before, since = home.counters(), home.peer(laptop)["sessions"]
    closes(home.port, first)
    closes(home.port, last)
    after = home.counters()
    equal((after["handshakes_failed"], after["records_bad"]), (before["handshakes_failed"] + 2, before["records_bad"] + 1), "both are refused and counted")
    equal(after["messages_in"], before["messages_in"], "no message came of it")
    equal(home.peer(laptop)["sessions"], since, "the true session stands")
    with open(home.own("log", "log"), encoding="utf-8") as file:
        equal(file.read(), "task 0\ntask 1\ntask 2\n", "each was done once")
    equal(laptop.ctl("task", "send", "klp://agent.log.home.kai", "--input", "task 3\n"), "", "another task")


def test_garbage_to_the_port(case):
    home, laptop = case.node("home.kai"), case.node("laptop.kai", listen=False).start()
    home.setting("handshake_ms", '"2s"')
    home.start()
    laptop.ctl("connect", f"peer://127.0.0.1:{home.port}")
    home.ctl("trust", laptop.address)
    home.ctl("agent", "add", "same", "--skill", "x", "--exec", "cat")
    chance = random.Random(11)
    garbage = [chance.randbytes(3000), b"GET / HTTP/1.1\r\nHost: home.kai\r\n\r\n", b"\x16\x03\x01\x02\x00" + chance.randbytes(200), PREFACE + b"\x07", PREFACE + b"\x00", PREFACE + b"\xff",
               XX + b"\xff\xff", XX + b"\x04\x01", XX + b"\x00\x00", XX + b"\x00\x20" + b"\x00" * 32, XX + b"\x00\x20" + b"\xff" * 32, XX + b"\x00\x1f" + b"\x01" * 31,
               XX + b"\x00\x21" + b"\x01" * 33, PREFACE + b"\x02" + b"\x00\xd0" + chance.randbytes(208), PREFACE + b"\x02" + b"\x00\x60" + chance.randbytes(96),
               XX + b"\x00\x20" + b"\x09" + b"\x00" * 31 + b"\x00\x40" + chance.randbytes(64), b"klp/1\x01", b"\x00" * 100000]
    before = home.counters()
    for data in garbage:
        got = closes(home.port, data)
        check(len(got) <= 1200, f"{data[:20]!r} got {len(got)} bytes")
    for data in (b"K", PREFACE, XX, XX + b"\x00", XX + b"\x00\x20abc"):
        equal(closes(home.port, data, half=True), b"", "nothing is said to who leaves half-way")
    after = home.counters()
    equal(after["handshakes_failed"], before["handshakes_failed"] + len(garbage) + 5, "each is counted")
    said = home.tail().count("no session with tcp://127.0.0.1")
    equal(said, 1, "the log names the remote once a minute")
    equal(laptop.ctl("task", "send", "klp://agent.same.home.kai", "--input", "still here"), "still here", "a good peer")
    other = case.node("other.kai", listen=False).start()
    other.ctl("connect", f"peer://127.0.0.1:{home.port}")


def test_silent_and_half_open_connections(case):
    home, laptop = case.node("home.kai"), case.node("laptop.kai", listen=False).start()
    home.setting("handshake_ms", '"1s"')
    home.setting("half_open_per_source", "4")
    home.start()
    silent = [socket.create_connection(("127.0.0.1", home.port)) for _ in range(4)]
    silent[1].sendall(b"K")
    silent[2].sendall(XX + b"\x00\x20")
    case.until(lambda: home.counters()["handshakes"] == 4, "they are half open")
    with socket.create_connection(("127.0.0.1", home.port)) as fifth:
        fifth.settimeout(20)
        equal(fifth.recv(1), b"", "a fifth is refused at once")
    equal(home.counters()["links_refused"], 1, "and counted")
    has(home.tail(), "half_open_per_source")
    for s in silent:
        s.settimeout(20)
        equal(s.recv(1), b"", "who says nothing is let go")
        s.close()
    has(home.tail(), "longer than 1000 ms")
    laptop.ctl("connect", f"peer://127.0.0.1:{home.port}")


def test_another_answers_than_expected(case):
    home, laptop, other = case.node("home.kai").start(), case.node("laptop.kai", listen=False).start(), case.node("other.kai").start()
    has(laptop.ctl("connect", f"peer://127.0.0.1:{other.port}", "--expect", home.id, "--timeout", "3s", status=1), "misaddressed")
    equal(laptop.peer(other), None, "no session is left")
    laptop.ctl("connect", f"peer://127.0.0.1:{home.port}", "--expect", home.id)
    # Somebody else sits at home's address now.
    home.stop()
    other.stop()
    other.setting("listen", f'[ "tcp://127.0.0.1:{home.port}" ]')
    other.start()
    case.until(lambda: "instead of" in laptop.tail() or laptop.counters()["handshakes_failed"] > 0, "laptop tried there")
    equal((laptop.peer(other), laptop.peer(home)["sessions"]), (None, []), "it does not talk to him")


def test_no_way_there(case):
    laptop = case.node("laptop.kai", listen=False).start()
    port = free_port()
    said = laptop.ctl("connect", f"peer://127.0.0.1:{port}", "--timeout", "2s", status=1)
    has(said, "unreachable")
    has(said, str(port))
    equal(laptop.json("peers")["peers"], [], "nothing of it is left")
    check(os.path.exists(laptop.dir), "kosd is up")
    laptop.ctl("status")


run(globals())
