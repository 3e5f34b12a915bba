# SPDX-License-Identifier: Apache-2.0
"""What the integration tests share: real kosd processes in temporary instances, and TAP.

A test is a function `test_...(case)`; `run(globals())` at the end of the file runs them all. Nothing sleeps for a while and
hopes: a kosd says that it is ready over its notification socket, and `case.until` asks until a deadline.
"""
import contextlib
import glob
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback

SRC = os.environ.get("KOS_SRCDIR", os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..")))
BUILD = os.environ.get("KOS_BUILDDIR", SRC)
DEADLINE = 60
BRIEF = os.environ.get("KOS_BRIEF") == "1"  # HACKING.md, "How to test"
os.environ.setdefault("KOS_CELL", os.path.join(BUILD, "kos-cell"))


def many(whole, brief):
    """How often: `whole`, but where another pass has that already."""
    return brief if BRIEF else whole


class Failed(AssertionError):
    pass


class Skipped(Exception):
    """What cannot be tried here, and why; tests/skips must say so too."""


def check(condition, text):
    if not condition:
        raise Failed(text)


def equal(got, wanted, text=""):
    check(got == wanted, f"{text}: got {got!r:.600}, wanted {wanted!r:.600}")


def has(text, part):
    check(part in text, f"{part!r} is not in {text!r:.1200}")


def program(name):
    path = os.path.join(BUILD, name)
    check(os.path.exists(path), f"{path} is not built")
    return path


def sanitized():
    """Whether kosd was built with AddressSanitizer: what it takes of memory and of /proc is another's then."""
    path = os.path.join(BUILD, ".libs", "kosd")
    with open(path if os.path.exists(path) else program("kosd"), "rb") as file:
        return b"__asan_init" in file.read()


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Node:
    """One instance and, between start() and stop(), its kosd."""

    def __init__(self, case, name, listen=True, init=True, arguments=()):
        self.case = case
        self.name = name
        self.label = name.split(".")[0]
        self.dir = os.path.join(case.dir, self.label)
        self.port = free_port() if listen else None
        self.process = None
        self.log = os.path.join(case.dir, self.label + ".log")
        case.nodes.append(self)
        if init:
            listening = ["--listen", f"tcp://127.0.0.1:{self.port}"] if listen else []
            self.ctl("init", "--name", name, *listening, *arguments)
            self.configure(f'plugin_dir = "{case.plugins}";')
            self.id = self.json("id")["id"]

    @property
    def address(self):
        return f"klp://node.{self.id}"

    def configure(self, line):
        with open(os.path.join(self.dir, "kosd.conf"), "a", encoding="utf-8") as conf:
            conf.write(line + "\n")

    def policy(self, name, text):
        with open(os.path.join(self.dir, "policy.d", name + ".klp-policy"), "w", encoding="utf-8") as file:
            file.write(text)

    def start(self, arguments=(), ready=True):
        path = os.path.join(self.case.dir, self.label + ".notify")
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        notify.bind(path)
        os.chmod(path, 0o777)  # as the service manager's is: kosd may become another user
        notify.settimeout(0.2)
        log = open(self.log, "ab")
        self.process = subprocess.Popen([program("kosd"), "-i", self.dir, "--foreground", *arguments], stdin=subprocess.DEVNULL,
                                        stdout=log, stderr=log, env={**os.environ, "NOTIFY_SOCKET": path})
        log.close()
        end = time.monotonic() + DEADLINE
        while ready:
            check(time.monotonic() < end, f"{self.name} was not ready in {DEADLINE} s")
            try:
                if b"READY=1" in notify.recv(4096):
                    break
            except socket.timeout:
                check(self.process.poll() is None, f"{self.name} ended with {self.process.returncode}: {self.tail()}")
        notify.close()
        return self

    def stop(self, how=signal.SIGTERM):
        if self.process and self.process.poll() is None:
            self.process.send_signal(how)
        if self.process:
            try:
                status = self.process.wait(DEADLINE)
            except subprocess.TimeoutExpired:
                self.process.kill()
                raise Failed(f"{self.name} did not end within {DEADLINE} s: {self.tail()}")
            self.process = None
            if how == signal.SIGTERM:
                equal(status, 0, f"{self.name} ended badly: {self.tail()}")
        return self

    def tail(self):
        with open(self.log, errors="replace") as log:
            return log.read()[-3000:]

    def tail_all(self):
        with open(self.log, errors="replace") as log:
            return log.read()

    def raw(self, *arguments, data=None, timeout=DEADLINE):
        """kosctl: the CompletedProcess, in bytes, whatever its status."""
        return subprocess.run([program("kosctl"), "-i", self.dir, *arguments], input=data, capture_output=True, timeout=timeout, check=False)

    def ctl(self, *arguments, status=0, timeout=DEADLINE, data=None):
        """Its output as text; anything but `status` fails. With another status than 0: its stderr."""
        done = self.raw(*arguments, timeout=timeout, data=data)
        check(done.returncode == status, f"kosctl {' '.join(arguments):.200}: status {done.returncode}, wanted {status}: "
              f"{done.stderr.decode(errors='replace')}{done.stdout[:300].decode(errors='replace')}")
        return (done.stderr if status else done.stdout).decode(errors="replace")

    def json(self, *arguments, timeout=DEADLINE):
        return json.loads(self.ctl("--json", *arguments, timeout=timeout))

    def popen(self, *arguments, **more):
        return subprocess.Popen([program("kosctl"), "-i", self.dir, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more)

    def peer(self, other):
        return next((p for p in self.json("peers")["peers"] if p["id"] == other.id), None)

    def counters(self):
        return self.json("status")["status"]["counters"]

    def setting(self, name, value):
        """Replaces a setting of kosd.conf, or adds it."""
        path = os.path.join(self.dir, "kosd.conf")
        with open(path, encoding="utf-8") as conf:
            lines = [line for line in conf.read().splitlines() if not line.startswith(name + " =")]
        with open(path, "w", encoding="utf-8") as conf:
            conf.write("\n".join([*lines, f"{name} = {value};", ""]))

    def control(self):
        return Control(os.path.join(self.dir, "kosd.sock"))

    def agent(self, name):
        return next(a for a in self.json("agent", "list")["agents"] if a["name"] == name)

    def own(self, name, file=""):
        """A path in an agent's own directory."""
        return os.path.join(self.dir, "state", "agents", self.agent(name)["id"], file)


class Control:
    """A varlink client that can also misbehave: it sends what it is given."""

    def __init__(self, path, timeout=DEADLINE):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self.socket.settimeout(timeout)
        self.buffer = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, method, parameters=None, **more):
        self.socket.sendall(json.dumps({"method": method, "parameters": parameters or {}, **more}).encode() + b"\0")

    def read(self):
        """The next message; None when the other side hung up."""
        while b"\0" not in self.buffer:
            try:
                got = self.socket.recv(65536)
            except ConnectionError:
                return None
            if not got:
                return None
            self.buffer += got
        message, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(message)

    def call(self, method, parameters=None, **more):
        self.send(method, parameters, **more)
        return self.read()


class Case:
    """One test's temporary directory and nodes."""

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="kos-test-")
        self.nodes = []
        self.processes = []
        self.plugins = os.path.join(self.dir, "plugins")
        os.mkdir(self.plugins)
        for path in glob.glob(os.path.join(BUILD, "plugins", "*", "*", ".libs", "*.so")):
            shutil.copy(path, self.plugins)

    def node(self, name, **more):
        return Node(self, name, **more)

    def pair(self, trust=True, connect=True):
        """home, which listens, and laptop, which is connected to it; both trust each other."""
        home, laptop = self.node("home.kai").start(), self.node("laptop.kai", listen=False).start()
        if connect:
            laptop.ctl("connect", f"peer://127.0.0.1:{home.port}")
        if trust:
            home.ctl("trust", laptop.address)
            laptop.ctl("trust", home.address)
        return home, laptop

    def path(self, name, content=None):
        path = os.path.join(self.dir, name)
        if content is not None:
            with open(path, "wb") as file:
                file.write(content)
        return path

    def until(self, condition, text, seconds=DEADLINE):
        end = time.monotonic() + seconds
        while True:
            value = condition()
            if value:
                return value
            check(time.monotonic() < end, f"not within {seconds} s: {text}")
            time.sleep(0.05)

    def close(self):
        for process in self.processes:
            if process.poll() is None:
                process.kill()
                process.wait()
        for node in self.nodes:
            if node.process and node.process.poll() is None:
                node.process.kill()
                node.process.wait()
        shutil.rmtree(self.dir, ignore_errors=True)


def run(names):
    tests = [(n, f) for n, f in names.items() if n.startswith("test_")]
    only = sys.argv[1:]
    tests = [(n, f) for n, f in tests if not only or n in only]
    print(f"1..{len(tests)}", flush=True)
    failed = 0
    for number, (name, test) in enumerate(tests, 1):
        case = Case()
        try:
            test(case)
            print(f"ok {number} - {name}", flush=True)
        except Skipped as reason:
            print(f"ok {number} - {name} # SKIP {reason}", flush=True)
        except Exception as error:  # pylint: disable=broad-except
            failed += 1
            print(f"not ok {number} - {name}", flush=True)
            for line in (str(error) if isinstance(error, Failed) else traceback.format_exc()).splitlines():
                print("# " + line)
            for node in case.nodes:
                if os.path.exists(node.log):
                    for line in node.tail().splitlines()[-25:]:
                        print(f"# {node.label}: {line}")
            sys.stdout.flush()
        finally:
            case.close()
    sys.exit(1 if failed or not tests else 0)
