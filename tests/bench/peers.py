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
        self.nats = None
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

    def server_cpu(self, name):
        return sum(processor_seconds(pid) for pid in processes(self.nats.process.pid)) if name == NATS else 0

    def run(self, name, what, seconds, window=0, rate=0):
        where = self.where(name)
        if not window:
            window = WINDOWS[name]
        before = resource.getrusage(resource.RUSAGE_CHILDREN), self.server_cpu(name)
        done = subprocess.run([self.programs[name], what, str(seconds), str(window), str(rate), *where], capture_output=True, text=True,
                              timeout=120, check=False)
        after = resource.getrusage(resource.RUSAGE_CHILDREN), self.server_cpu(name)
        if done.returncode:
            raise Failed(f"{name}: {done.stderr.strip()}")
        got = json.loads(done.stdout)
        if got["arrived"] != got["sent"]:
            raise Failed(f"{name}: of {got['sent']} messages {got['arrived']} arrived")
        used = after[0].ru_utime + after[0].ru_stime - before[0].ru_utime - before[0].ru_stime + after[1] - before[1]
        got["cpu_us"] = used * 1e6 / max(1, got["arrived"])
        return got

    def close(self):
        if self.nats:
            self.nats.kill()
        shutil.rmtree(self.dir, ignore_errors=True)
