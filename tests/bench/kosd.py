# SPDX-License-Identifier: Apache-2.0
"""The kosd under measurement: as `make install` lays it down, on instances of their own, driven over its control socket."""
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time

READY_SECONDS = 60


class Failed(Exception):
    """What keeps a figure from being taken; said in the report in its place."""


class Stage:
    """An installed tree, and a directory for instances. The load is put beside the installed plugins."""

    def __init__(self, root, load, state=None):
        self.root = os.path.abspath(root)
        self.dir = tempfile.mkdtemp(prefix="kos-bench-", dir=state)
        self.nodes = []
        self.load = os.path.abspath(load)

    def find(self, name):
        for folder, _, files in os.walk(self.root):
            if name in files and "completions" not in folder:
                return os.path.join(folder, name)
        raise Failed(f"{self.root} has no {name}: make install did not lay it down")

    def env(self):
        libraries = os.path.dirname(self.find("libklp.so.0"))
        return {**os.environ, "LD_LIBRARY_PATH": libraries, "KOS_CELL": self.find("kos-cell")}

    def node(self, name, **more):
        return Node(self, name, **more)

    def close(self):
        for node in self.nodes:
            node.kill()
        shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Control:
    """One connection to a control socket."""

    def __init__(self, path, timeout=120):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(timeout)
        self.socket.connect(path)
        self.buffer = b""

    def send(self, method, **parameters):
        self.socket.sendall(json.dumps({"method": method, "parameters": parameters}).encode() + b"\0")

    def read(self):
        while b"\0" not in self.buffer:
            got = self.socket.recv(65536)
            if not got:
                raise Failed("kosd hung up")
            self.buffer += got
        message, self.buffer = self.buffer.split(b"\0", 1)
        answer = json.loads(message)
        if "error" in answer:
            raise Failed(f"{answer['error']}: {answer.get('parameters')}")
        return answer["parameters"]

    def call(self, method, **parameters):
        self.send(method, **parameters)
        return self.read()

    def close(self):
        self.socket.close()


class Node:
    """An instance with the shipped policy, the load wired in a file of its own, and its kosd."""

    def __init__(self, stage, name, isolate=False, gather=True, conf=(), policy=None, wrap=(), load=True, expires="10s"):
        self.stage, self.name, self.label = stage, name, name.split(".")[0]
        self.dir = os.path.join(stage.dir, self.label)
        self.wrap = list(wrap)
        self.process = self.pid = None
        self.log = os.path.join(stage.dir, self.label + ".log")
        self.port = free_port()
        stage.nodes.append(self)
        self.ctl("init", "--name", name, "--listen", f"tcp://127.0.0.1:{self.port}")
        with open(os.path.join(self.dir, "kosd.conf"), "a", encoding="utf-8") as file:
            file.write(f'plugin_dir = "{os.path.dirname(stage.find("tcp.so"))}";\n' + "".join(line + "\n" for line in conf))
        shipped = os.path.join(self.dir, "policy.d", "default.klp-policy")
        if isolate:
            with open(shipped, encoding="utf-8") as file:
                text = file.read()
            with open(shipped, "w", encoding="utf-8") as file:
                file.write(text.replace("isolate = false", "isolate = true"))
        if load:
            self.policy("bench", 'name = "bench";\nplugins = { load = { module = "%s"; isolate = %s; rights = [ "send" ];\n'
                        "  settings = { gather = %s; expires = \"%s\"; }; }; };\n" % (stage.load, str(isolate).lower(), str(gather).lower(), expires))
        if policy:
            self.policy("more", policy)
        self.id = self.json("id")["id"]

    @property
    def address(self):
        return f"klp://node.{self.id}"

    def policy(self, name, text):
        with open(os.path.join(self.dir, "policy.d", name + ".klp-policy"), "w", encoding="utf-8") as file:
            file.write(text)

    def start(self, settle=True):
        path = os.path.join(self.stage.dir, self.label + ".notify")
        if os.path.exists(path):
            os.unlink(path)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify, open(self.log, "ab") as log:
            notify.bind(path)
            notify.settimeout(0.1)
            self.process = subprocess.Popen([*self.wrap, self.stage.find("kosd"), "-i", self.dir, "--foreground"],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            env={**self.stage.env(), "NOTIFY_SOCKET": path})
            end = time.monotonic() + READY_SECONDS
            while True:
                try:
                    if b"READY=1" in notify.recv(4096):
                        break
                except socket.timeout:
                    if self.process.poll() is not None or time.monotonic() > end:
                        raise Failed(f"{self.name} did not start: {self.tail()}") from None
        self.pid = self.process.pid
        if settle:
            self.control = Control(os.path.join(self.dir, "kosd.sock"))
            self.pid = self.status()["pid"]
        return self

    def stop(self):
        if self.process and self.process.poll() is None:
            os.kill(self.pid or self.process.pid, signal.SIGTERM)
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.kill()
                raise Failed(f"{self.name} did not end within 60 s: {self.tail()}") from None
        self.process = None

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.process = None

    def tail(self):
        with open(self.log, errors="replace", encoding="utf-8") as log:
            return log.read()[-2000:]

    def ctl(self, *arguments):
        done = subprocess.run([self.stage.find("kosctl"), "-i", self.dir, *arguments], capture_output=True, text=True, check=False,
                              env=self.stage.env(), timeout=120)
        if done.returncode:
            raise Failed(f"kosctl {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    def json(self, *arguments):
        return json.loads(self.ctl("--json", *arguments))

    def status(self):
        """What `kosctl status --json` prints: the same call on the same socket, without a process for each reading."""
        return self.control.call("org.kos.node.Status")["status"]

    def bench(self, method, **parameters):
        return self.control.call("org.kos.bench." + method, **parameters)

    def sending(self, **parameters):
        """Starts a load; read() of what is returned waits for its end."""
        control = Control(os.path.join(self.dir, "kosd.sock"))
        control.send("org.kos.bench.Send", **parameters)
        return control

    def cpu(self):
        """Processor seconds of kosd and what it started, so far."""
        return sum(processor_seconds(pid) for pid in self.pids())

    def threads(self):
        """Processor seconds of each thread, by (process, thread)."""
        found = {}
        for pid in self.pids():
            with contextlib.suppress(OSError):
                for task in os.listdir(f"/proc/{pid}/task"):
                    with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{task}/schedstat", encoding="utf-8") as file:
                        found[pid, int(task)] = int(file.read().split()[0]) / 1e9
        return found

    def memory(self):
        """Bytes of memory of kosd, with what its spawner and its cells do not share."""
        total = 0
        for pid in self.pids():
            kinds = ("Rss:",) if pid == self.pid else ("Private_Clean:", "Private_Dirty:")
            with contextlib.suppress(OSError), open(f"/proc/{pid}/smaps_rollup", encoding="utf-8") as file:
                total += sum(1024 * int(line.split()[1]) for line in file if line.startswith(kinds))
        return total

    def pids(self):
        return processes(self.process.pid)


def processes(root):
    """A process and all that descend from it."""
    found, queue = [], [root]
    while queue:
        pid = queue.pop()
        found.append(pid)
        with contextlib.suppress(OSError):
            for task in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{task}/children", encoding="utf-8") as file:
                    queue += [int(child) for child in file.read().split()]
    return found


def processor_seconds(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    except OSError:
        return 0


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def pair(stage, wraps=None, **more):
    """Two connected nodes that trust each other: receiver, sender. `wraps`: by label, the command that starts kosd."""
    receiver, sender = (stage.node(label + ".bench", wrap=(wraps or {}).get(label, ()), **more).start() for label in ("receiver", "sender"))
    acquaint(receiver, sender)
    return receiver, sender


def acquaint(receiver, sender):
    sender.ctl("connect", f"peer://127.0.0.1:{receiver.port}")
    receiver.ctl("trust", sender.address)
    sender.ctl("trust", receiver.address)
