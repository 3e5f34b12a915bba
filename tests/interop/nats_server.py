# SPDX-License-Identifier: Apache-2.0
"""A nats-server of one's own, with TLS, nkeys and JetStream on disk, and a client that knows nothing of libnats: what a test
sees is what the server has."""
import base64
import contextlib
import json
import os
import shutil
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))
from kit import DEADLINE, check, free_port  # noqa: E402


def openssl(*arguments, data=None):
    return subprocess.run(["openssl", *arguments], input=data, capture_output=True, check=True).stdout


def crc16(data):
    crc = 0
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = ((crc << 1) ^ 0x1021) & 0xFFFF if crc & 0x8000 else crc << 1
    return crc


def encode(raw):
    return base64.b32encode(raw + struct.pack("<H", crc16(raw))).decode().rstrip("=")


class User:
    """An nkey: `seed` as its owner keeps it, `public` as the server lists it."""

    def __init__(self, folder, name):
        self.pem = os.path.join(folder, name + ".pem")
        openssl("genpkey", "-algorithm", "ed25519", "-out", self.pem)
        private = openssl("pkey", "-in", self.pem, "-outform", "DER")[-32:]
        public = openssl("pkey", "-in", self.pem, "-pubout", "-outform", "DER")[-32:]
        seed, user = 18 << 3, 20 << 3
        self.seed = encode(bytes([seed | user >> 5, (user & 31) << 3]) + private)
        self.public = encode(bytes([user]) + public)

    def sign(self, nonce):
        path = f"{self.pem}.{threading.get_ident()}"
        with open(path, "wb") as file:
            file.write(nonce)
        signature = openssl("pkeyutl", "-sign", "-inkey", self.pem, "-rawin", "-in", path)
        return base64.urlsafe_b64encode(signature).decode().rstrip("=")


def authority(folder, name):
    ca, key = os.path.join(folder, name + ".pem"), os.path.join(folder, name + ".key")
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-keyout", key, "-out", ca,
            "-subj", "/CN=" + name)
    return ca, key


def certificate(folder, ca, name, alternative):
    base = os.path.join(folder, name)
    with open(base + ".ext", "w", encoding="ascii") as file:
        file.write(f"subjectAltName={alternative}\nextendedKeyUsage=serverAuth,clientAuth\n")
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", base + ".key", "-out", base + ".csr",
            "-subj", "/CN=" + name)
    openssl("x509", "-req", "-in", base + ".csr", "-CA", ca[0], "-CAkey", ca[1], "-CAcreateserial", "-days", "2", "-extfile", base + ".ext",
            "-out", base + ".pem")
    return base + ".pem", base + ".key"


class Server:
    def __init__(self, folder, ca=None, names="DNS:localhost,IP:127.0.0.1", jetstream=True, more=""):
        os.makedirs(folder, exist_ok=True)
        self.folder = folder
        self.port = free_port()
        self.ca = ca or authority(folder, "test-ca")
        self.certificate = certificate(folder, self.ca, "server", names)
        self.user = User(folder, "user")
        self.limited = User(folder, "limited")
        self.jetstream = jetstream
        self.more = more
        self.process = None

    @property
    def url(self):
        return f"tls://127.0.0.1:{self.port}"

    def start(self):
        check(shutil.which("nats-server"), "nats-server is not installed: tools/packages test")
        conf = os.path.join(self.folder, "server.conf")
        store = f'jetstream {{ store_dir: "{self.folder}/jetstream", max_mem: 16M, max_file: 256M }}' if self.jetstream else ""
        with open(conf, "w", encoding="ascii") as file:
            file.write(f"""
listen: 127.0.0.1:{self.port}
tls {{ cert_file: "{self.certificate[0]}", key_file: "{self.certificate[1]}", ca_file: "{self.ca[0]}", timeout: 10 }}
authorization {{ users = [ {{ nkey: {self.user.public} }},
  {{ nkey: {self.limited.public}, permissions: {{ publish: {{ allow: ["$JS.API.>", "$JS.ACK.>", "open.>"] }}, subscribe: ["_INBOX.>"] }} }} ] }}
{store}
{self.more}
""")
        log = open(os.path.join(self.folder, "server.log"), "ab")
        self.process = subprocess.Popen(["nats-server", "-c", conf], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        log.close()
        end = time.monotonic() + DEADLINE
        while True:
            check(self.process.poll() is None, f"nats-server ended: {self.tail()}")
            check(time.monotonic() < end, f"nats-server was not ready in {DEADLINE} s: {self.tail()}")
            with contextlib.suppress(OSError, AssertionError):
                client = Client(self)
                if not self.jetstream or "streams" in client.api("INFO"):
                    client.close()
                    return self
                client.close()
            time.sleep(0.05)

    def tail(self):
        with open(os.path.join(self.folder, "server.log"), errors="replace") as log:
            return log.read()[-2000:]

    def kill(self):
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None


class Client:
    """One connection, one question at a time."""

    def __init__(self, server):
        self.raw = socket.create_connection(("127.0.0.1", server.port), 5)
        self.raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        first = b""
        while not first.endswith(b"\r\n"):
            part = self.raw.recv(65536)
            check(part, "the server closed the connection")
            first += part
        info = json.loads(first.split(b" ", 1)[1])
        self.socket = ssl.create_default_context(cafile=server.ca[0]).wrap_socket(self.raw, server_hostname="127.0.0.1")
        self.socket.settimeout(20)
        self.rest = b""
        self.number = 0
        hello = {"verbose": False, "pedantic": False, "tls_required": True, "lang": "test", "version": "1", "protocol": 1, "headers": True,
                 "no_responders": True, "nkey": server.user.public, "sig": server.user.sign(info["nonce"].encode())}
        self.send(b"CONNECT " + json.dumps(hello).encode() + b"\r\nPING\r\n")
        line = self.line()
        while line.startswith(b"INFO"):
            line = self.line()
        check(line == b"PONG", f"the server does not let us in: {line!r}")

    def close(self):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def line(self):
        while b"\r\n" not in self.rest:
            part = self.socket.recv(65536)
            check(part, "the server closed the connection")
            self.rest += part
        line, self.rest = self.rest.split(b"\r\n", 1)
        return line

    def answer(self):
        """(headers, body) of the next message."""
        while True:
            line = self.line()
            if line == b"PING":
                self.send(b"PONG\r\n")
            elif line.startswith((b"MSG", b"HMSG")):
                size = int(line.split()[-1])
                while len(self.rest) < size + 2:
                    part = self.socket.recv(65536)
                    check(part, "the server closed the connection")
                    self.rest += part
                body, self.rest = self.rest[:size], self.rest[size + 2:]
                cut = int(line.split()[-2]) if line.startswith(b"HMSG") else 0
                return body[:cut], body[cut:]
            else:
                check(not line.startswith(b"-ERR"), line.decode())

    def ask(self, subject, body=b"", headers=None):
        self.number += 1
        inbox = f"_INBOX.test{os.getpid()}.{self.number}"
        self.send(f"SUB {inbox} {self.number}\r\nUNSUB {self.number} 1\r\n".encode())
        if headers is None:
            self.send(f"PUB {subject} {inbox} {len(body)}\r\n".encode() + body + b"\r\n")
        else:
            head = b"NATS/1.0\r\n" + b"".join(f"{k}: {v}\r\n".encode() for k, v in headers.items()) + b"\r\n"
            self.send(f"HPUB {subject} {inbox} {len(head)} {len(head) + len(body)}\r\n".encode() + head + body + b"\r\n")
        return self.answer()

    def api(self, name, /, **question):
        _, body = self.ask("$JS.API." + name, json.dumps(question).encode() if question else b"")
        check(body, f"JetStream does not answer {name}")
        return json.loads(body)

    def stream(self, name, *subjects, **more):
        answer = self.api("STREAM.CREATE." + name, name=name, subjects=list(subjects), storage="file", num_replicas=1, retention="limits", **more)
        check("config" in answer, f"the stream {name}: {answer}")

    def publish(self, subject, body, headers=None):
        _, answer = self.ask(subject, body, headers)
        check(b'"seq"' in answer, f"{subject}: {answer!r}")
        return json.loads(answer)["seq"]

    def state(self, stream):
        return self.api("STREAM.INFO." + stream)["state"]

    def consumers(self, stream):
        return self.api("CONSUMER.LIST." + stream)["consumers"]

    def messages(self, stream):
        """[(sequence, subject, headers as text, body)] of everything in it."""
        state = self.state(stream)
        found = []
        for seq in range(state["first_seq"], state["last_seq"] + 1):
            answer = self.api("STREAM.MSG.GET." + stream, seq=seq)
            if "message" in answer:
                m = answer["message"]
                found.append((seq, m["subject"], base64.b64decode(m.get("hdrs", "")).decode(), base64.b64decode(m.get("data", ""))))
        return found
