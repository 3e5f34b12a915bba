# SPDX-License-Identifier: Apache-2.0
"""The peers: small C programs over libnats, libzmq and toxcore that do the work that kos does, and what they need around
them. None of them signs each message."""
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile

from kosd import Failed, processes, processor_seconds

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "interop"))

NATS, ZMQ, TOX = "NATS TLS nkeys", "zmq CURVE", "toxcore"
# Messages under way: what each carries most with. toxcore drops beyond its receiver's buffer.
WINDOWS = {NATS: 8192, ZMQ: 4096, TOX: 128}
ASKS = {TOX: 64}


class Peers:
    def __init__(self, programs, report):
        self.dir = tempfile.mkdtemp(prefix="kos-bench-peers-")
        self.nats = self.tox = None
        self.programs = {}
        for name, file in ((NATS, "nats"), (ZMQ, "zmq"), (TOX, "tox")):
            path = os.path.join(programs, "peers", file)
            if os.path.exists(path):
                self.programs[name] = path
            else:
                report.without(name, f"{path} was not built: tools/packages bench installs its library")
        if NATS in self.programs and not shutil.which("nats-server"):
            report.without(NATS, "nats-server is not installed: tools/packages bench")
            del self.programs[NATS]

    def where(self, name):
        if name != NATS:
            return []
        if not self.nats:
            import nats_server  # pylint: disable=import-outside-toplevel,import-error
            self.nats = nats_server.Server(os.path.join(self.dir, "nats"), jetstream=False)
            self.nats.start()
            with open(os.path.join(self.dir, "seed"), "w", encoding="ascii") as file:
                file.write(self.nats.user.seed)
        return [self.nats.url, self.nats.ca[0], os.path.join(self.dir, "seed"), self.nats.user.public]

    def spawn(self, name, words):
        done = subprocess.run([self.programs[name], *words, *self.where(name)], capture_output=True, text=True, timeout=120, check=False)
        if done.returncode:
            raise Failed(f"{name}: {done.stderr.strip()}")
        return done.stdout

    def serve(self, name, words):
        """toxcore takes ten seconds to find a friend: its two processes stay for the whole run, idle between measurements."""
        if not self.tox:
            self.tox = subprocess.Popen([self.programs[name], "serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            self.tox.stdin.write(" ".join(words) + "\n")
            self.tox.stdin.flush()
            line = self.tox.stdout.readline()
        except OSError:
            line = ""
        if not line:
            self.tox.kill()
            said = self.tox.stderr.read().strip()
            self.tox = None
            raise Failed(f"{name}: {said or 'it ended'}")
        return line

    def cpu(self, name):
        """Processor seconds of what stays between measurements, and of those that ended."""
        stays = self.nats.process.pid if name == NATS and self.nats else self.tox.pid if name == TOX and self.tox else None
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        return ended.ru_utime + ended.ru_stime + (sum(processor_seconds(pid) for pid in processes(stays)) if stays else 0)

    def run(self, name, what, seconds, window=0, rate=0):
        self.where(name)
        before = self.cpu(name)
        words = [what, str(seconds), str(window or WINDOWS[name]), str(rate)]
        got = json.loads(self.serve(name, words) if name == TOX else self.spawn(name, words))
        if got["arrived"] != got["sent"]:
            raise Failed(f"{name}: of {got['sent']} messages {got['arrived']} arrived")
        got["cpu_us"] = (self.cpu(name) - before) * 1e6 / max(1, got["arrived"])
        return got

    def close(self):
        if self.nats:
            self.nats.kill()
        if self.tox:
            self.tox.kill()
            self.tox.wait()
        shutil.rmtree(self.dir, ignore_errors=True)
