#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Two real nodes under load, killed at random moments, judged by what can be seen from outside. README.md says what is guaranteed.

Without arguments: a short run of each mode, as a test. With --kills: a long one.
"""
import argparse
import collections
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "integration")]
import kit  # noqa: E402
import loss  # noqa: E402
from judge import Judge, Ledger  # noqa: E402
from kit import BUILD, check, equal, program  # noqa: E402

SEED = int(os.environ.get("KOS_TEST_SEED", time.time_ns() % 1000000))
WAITING_MAX = 2000    # entries of a round that may be under way
ANNOUNCEMENTS = 100   # of a node and round: it lists no more than the newest 128


class CrashNode(kit.Node):
    """A node that is started and killed without waiting for anything, with or without the fault layer."""

    def __init__(self, case, name, ledger, isolate=False, settings=()):
        super().__init__(case, name)
        self.ledger, self.spawned, self.isolate = ledger, 0, isolate
        self.loss_log = os.path.join(case.dir, self.label + ".loss")
        self.stats = collections.Counter()
        for line in settings:
            self.configure(line)
        path = os.path.join(self.dir, "policy.d", "default.klp-policy")
        with open(path, encoding="utf-8") as file:
            text = file.read()
        at = text.rindex("};")
        module = os.path.join(BUILD, "tests", "crash", ".libs", "ledger.so")
        text = text[:at] + f'    ledger = {{ module = "{module}"; isolate = {"true" if isolate else "false"}; rights = [ "send" ]; }};\n' + text[at:]
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)

    def spawn(self, fault=None):
        """fault: (seed, longest flush in us, lies in percent)"""
        environment = dict(os.environ)
        if fault:
            environment.update({"LD_PRELOAD": os.path.join(BUILD, "tests", "crash", "loss.so"), "KOS_LOSS_ROOT": self.dir,
                                "KOS_LOSS_LOG": self.loss_log, "KOS_LOSS_SEED": str(fault[0]), "KOS_LOSS_DELAY": str(fault[1]),
                                "KOS_LOSS_LIE": str(fault[2]),
                                "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0:detect_leaks=0"})
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen([program("kosd"), "-i", self.dir, "--foreground"], stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log, env=environment)
        self.spawned += 1
        self.ledger.up(self.label)

    def answers(self):
        """Whether its control socket does."""
        try:
            with kit.Control(os.path.join(self.dir, "kosd.sock"), timeout=10) as control:
                return control.call("org.kos.ledger.Read", {"from": "~"}) is not None
        except OSError:
            return False

    def until_ready(self, seconds=60):
        end = time.monotonic() + seconds
        while not self.answers():
            check(self.process.poll() is None, f"{self.name} ended by itself with {self.process.returncode}: {self.tail()}")
            check(time.monotonic() < end, f"{self.name} was not ready in {seconds} s: {self.tail()}")
            time.sleep(0.01)

    def kill(self, graceful=None):
        """SIGKILL; with `graceful`, SIGTERM so many seconds before it. It must not have ended by itself."""
        status = self.process.poll()
        check(status is None, f"{self.name} ended by itself with {status}: {self.tail()}")
        if graceful is not None:
            self.process.terminate()
            time.sleep(graceful)
        self.process.kill()
        status = self.process.wait()
        self.process = None
        self.ledger.down(self.label)
        check(status == -signal.SIGKILL or graceful is not None and status in (0, -signal.SIGTERM), f"{self.name} ended with {status}: {self.tail()}")

    def lose(self, chance):
        if os.path.exists(self.loss_log):
            self.stats.update(loss.lose(self.loss_log, chance))

    def call(self, method, parameters=None, timeout=60):
        with kit.Control(os.path.join(self.dir, "kosd.sock"), timeout=timeout) as control:
            reply = control.call(method, parameters)
        check(reply is not None and "error" not in reply, f"{self.name}: {method}: {reply}")
        return reply["parameters"]

    def dump(self):
        lines, start = [], ""
        while True:
            more = self.call("org.kos.ledger.Read", {"from": start})["lines"]
            if not more:
                return lines
            lines += more
            start = more[-1][0] + "!"

    def agent_log(self):
        path = self.own("log", "log")
        if not os.path.exists(path):
            return []
        with open(path, encoding="utf-8") as file:
            return file.read().splitlines()


class Load(threading.Thread):
    """Asks one thing of one node again and again, and writes down what it hears."""

    def __init__(self, world, node, kind, seed):
        super().__init__(daemon=True)
        self.world, self.node, self.kind, self.chance = world, node, kind, random.Random(seed)
        self.other = next(n for n in world.nodes if n is not node)
        self.control, self.announced = None, 0

    def run(self):
        pause = {"ledger": 0.01, "task": 0.12, "announce": 0.4}[self.kind]
        while not self.world.ended.is_set():
            if self.world.paused.is_set() or len(self.world.ledger.entries) > WAITING_MAX * 4:
                time.sleep(0.02)
                continue
            with self.world.gate:
                ok = getattr(self, self.kind)()
            time.sleep(self.chance.uniform(0, 2 * pause) if ok else 0.02)

    def ask(self, entry, method, parameters):
        """Its reply; None when none came. Whatever comes is written down."""
        if not entry:
            return None
        try:
            if not self.control:
                self.control = kit.Control(os.path.join(self.node.dir, "kosd.sock"), timeout=30)
            reply = self.control.call(method, parameters)
        except OSError:
            reply = None
        if reply is None:
            self.drop()
            return None
        if "error" in reply:
            error = str(reply.get("parameters", {}).get("error") or reply["error"])
            if error != "outcome_unknown":
                entry.refused = error
            return None
        entry.accepted = True
        return reply["parameters"]

    def drop(self):
        if self.control:
            self.control.socket.close()
        self.control = None

    def connect(self):
        """False while nobody listens: then nothing was asked, and no entry is made."""
        if self.control:
            return True
        try:
            self.control = kit.Control(os.path.join(self.node.dir, "kosd.sock"), timeout=30)
            return True
        except OSError:
            return False

    def ledger(self):
        if not self.connect():
            return False
        chance = self.chance
        life = 3600000 if chance.random() < 0.7 else chance.randrange(50, 2500)
        pad = int(chance.choice([0, 100, 400, 400, 1500, 1500, chance.uniform(0, 40000)]))
        target = self.other if chance.random() < 0.95 else self.node
        entry = self.world.ledger.new("ledger", self.node.label, target.label, life)
        reply = self.ask(entry, "org.kos.ledger.Send", {"n": entry.number, "target": target.address, "class": chance.choice([1, 1, 2]),
                                                        "pad": pad, "expires_ms": life})
        if reply:
            entry.id = reply["id"]
        return reply is not None

    def task(self):
        if not self.connect():
            return False
        entry = self.world.ledger.new("task", self.node.label, self.other.label, 3600000)
        reply = self.ask(entry, "org.kos.task.Send", {"target": f"klp://agent.log.{self.other.name}", "inputs": [entry.number + "\n"],
                                                      "detach": True, "deadline_ms": 3600000})
        if reply:
            entry.id = reply["task"]
        return reply is not None

    def announce(self):
        if self.announced >= ANNOUNCEMENTS or not self.connect():
            return False
        entry = self.world.ledger.new("announce", self.node.label, self.other.label, 3600000)
        reply = self.ask(entry, "org.kos.announce.Send", {"text": entry.number})
        if reply:
            self.announced += 1
            entry.answered = reply["peers"]
        return reply is not None


class World:
    """Two nodes, their load, and rounds of kills that each end in a judgement."""

    def __init__(self, case, mode, seed):
        self.case, self.mode, self.seed, self.chance = case, mode, seed, random.Random(f"{seed} {mode}")
        self.ledger, self.gate = Ledger(), Gate()
        self.ended, self.paused = threading.Event(), threading.Event()
        self.kills, self.entries, self.checked, self.started = 0, 0, 0, time.monotonic()
        self.counts, self.loose, self.stats = collections.Counter(), collections.Counter(), collections.Counter()
        self.failure, self.lock = None, threading.Lock()
        self.nodes = []

    def build(self):
        # Small files, so that segments change and checkpoints come every few seconds.
        settings = ['journal_bytes = "128K";', 'checkpoint_bytes = "192K";']
        isolate = self.chance.random() < 0.5
        self.nodes = [CrashNode(self.case, name, self.ledger, isolate, settings) for name in ("home.kai", "laptop.kai")]
        for node in self.nodes:
            node.start()
            self.ledger.up(node.label)
        home, laptop = self.nodes
        for one, other in ((home, laptop), (laptop, home)):
            one.ctl("connect", f"peer://127.0.0.1:{other.port}")
            one.ctl("trust", other.address)
            one.ctl("agent", "add", "log", "--skill", "x", "--concurrency", "4", "--exec", "cat >>log")
        self.ids = {n.label: n.id for n in self.nodes}
        self.loads = [Load(self, node, kind, f"{self.seed} {node.label} {kind}") for node in self.nodes for kind in ("ledger", "task", "announce")]

    def fault(self, lie=0):
        if self.mode == "kill":
            return None
        return self.chance.randrange(1 << 30), self.chance.choice([0, 2000, 20000, 60000]), lie

    def one_life(self, node, chance):
        """From its start to its kill."""
        with self.lock:
            fault = self.fault()
        node.spawn(fault)
        if chance.random() < 0.3:
            time.sleep(chance.uniform(0, 0.4))  # perhaps while it starts
        else:
            node.until_ready()
            time.sleep(chance.uniform(0, 0.8))
        node.kill(chance.uniform(0, 0.06) if chance.random() < 0.1 else None)
        if fault:
            node.lose(chance)
        if chance.random() < 0.1:
            self.check_store(node)

    def check_store(self, node):
        """What is left must be sound, whenever the kill came."""
        done = node.raw("store", "check")
        check(done.returncode == 0, f"{node.name}: kosctl store check: {done.stderr.decode()}{done.stdout.decode()}")
        self.checked += 1

    def killer(self, node, kills, seed):
        chance = random.Random(seed)
        try:
            for _ in range(kills):
                if self.failure:
                    return
                self.one_life(node, chance)
                self.kills += 1
            with self.lock:
                fault = self.fault()
            node.spawn(fault)
            node.until_ready()
        except Exception as error:  # pylint: disable=broad-except
            self.failure = error

    def round(self, kills):
        """So many kills, half of them of each node; then all is to come to rest, and is judged."""
        for load in self.loads:
            load.announced = 0
        self.paused.clear()
        for node in self.nodes:
            node.kill()
            node.lose(self.chance)
        threads = [threading.Thread(target=self.killer, args=(node, kills // 2, f"{self.seed} {node.label} {self.kills}")) for node in self.nodes]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.quiet()
        if self.failure:
            raise self.failure
        self.rest()
        self.judge()

    def quiet(self):
        """No load, and none on its way."""
        self.paused.set()
        self.gate.close()
        self.gate.open()

    def start_load(self):
        self.paused.set()
        for load in self.loads:
            load.start()

    def at_rest(self, tasks):
        for node in self.nodes:
            status = node.call("org.kos.node.Status")["status"]
            if status["outbox"]["messages"]:
                return False
            for task in [t for t in tasks if t.source == node.label]:
                shown = self.show(task)
                if shown and shown["state"] not in ("done", "failed"):
                    return False
                tasks.remove(task)
        # A handler may have put one off.
        return all(not self.pending(node) for node in self.nodes)

    @staticmethod
    def pending(node):
        return node.call("org.kos.node.Status")["status"].get("inbox", {}).get("messages", 0)

    def rest(self):
        tasks = [e for e in self.ledger.entries.values() if e.kind == "task" and e.accepted]
        end = time.monotonic() + 240
        before = None
        while True:
            if self.at_rest(tasks):
                counts = [len(node.dump()) for node in self.nodes]
                if counts == before:
                    return
                before = counts
                time.sleep(0.6)  # longer than the handler puts anything off
            else:
                time.sleep(0.1)
            check(time.monotonic() < end, f"the nodes do not come to rest: {[n.call('org.kos.node.Status')['status']['outbox'] for n in self.nodes]}, "
                  f"{len(tasks)} tasks: {[self.show(t) for t in tasks[:3]]}")

    def show(self, entry):
        node = next(n for n in self.nodes if n.label == entry.source)
        with kit.Control(os.path.join(node.dir, "kosd.sock")) as control:
            reply = control.call("org.kos.task.Show", {"task": entry.id})
        return None if reply is None or "error" in reply else reply["parameters"]["task"]

    def judge(self, lied=False):
        judge = Judge(self.ledger, self.ids, lied)
        judge.messages({node.label: node.dump() for node in self.nodes})
        logs = {node.label: node.agent_log() for node in self.nodes}
        judge.tasks({label: lines for label, lines in logs.items()}, self.show)
        judge.announcements({node.label: [a["text"] for a in node.call("org.kos.announce.List")["announcements"]] for node in self.nodes})
        self.counts.update(judge.counts)
        self.loose.update(judge.loose)
        self.entries += len(self.ledger.entries)
        check(not judge.faults, f"seed {self.seed}, mode {self.mode}, {self.kills} kills: {len(judge.faults)} faults:\n" + "\n".join(judge.faults[:12]))
        for node in self.nodes:
            while not node.call("org.kos.ledger.Forget")["done"]:
                pass
            path = node.own("log", "log")
            if os.path.exists(path):
                os.truncate(path, 0)
        self.ledger.forget()

    def end(self):
        self.ended.set()
        for load in self.loads:
            load.join()
        for node in self.nodes:
            self.stats.update(node.stats)
            node.stop()
            self.check_store(node)

    def figures(self):
        seconds = time.monotonic() - self.started
        return (f"mode {self.mode}, seed {self.seed}: {self.kills} kills in {seconds:.0f} s ({60 * self.kills / seconds:.0f} a minute), "
                f"{self.entries} entries in the ledger, {self.checked} stores checked; {dict(sorted(self.counts.items()))}"
                + (f"; not flushed: {dict(self.stats)}" if self.stats else ""))


class LyingWorld(World):
    """Disks that say of some flushes that they were done, and then lose power. Each round begins with the same two nodes."""

    def __init__(self, case, mode, seed):
        super().__init__(case, mode, seed)
        self.ends = collections.Counter()

    def build(self):
        super().build()
        for node in self.nodes:
            node.stop()
            self.ledger.down(node.label)
            for part in ("state", "keys"):
                shutil.copytree(os.path.join(node.dir, part), os.path.join(self.case.dir, "kept", node.label, part), symlinks=True)

    def restore(self):
        for node in self.nodes:
            for part in ("state", "keys"):
                shutil.rmtree(os.path.join(node.dir, part))
                shutil.copytree(os.path.join(self.case.dir, "kept", node.label, part), os.path.join(node.dir, part), symlinks=True)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(node.loss_log)

    def round(self, kills):
        """Up to two power losses. True when the nodes worked on afterwards."""
        del kills
        chance = self.chance
        self.restore()
        for load in self.loads:
            load.announced = 0
        lie = chance.choice([3, 20, 60, 100])
        for node in self.nodes:
            node.spawn(self.fault(lie))
        for node in self.nodes:
            node.until_ready()
        self.paused.clear()
        time.sleep(chance.uniform(0.3, 2.5))
        robbed = chance.choice([self.nodes[:1], self.nodes[1:], self.nodes])
        for node in robbed:
            node.kill()
            node.lose(chance)
            self.kills += 1
        whole = [self.comes_back(node) for node in robbed]
        self.quiet()
        self.entries += len(self.ledger.entries)
        if all(whole):
            self.settle()
            self.ends["went on"] += 1
            self.judge_lied()
        else:
            self.ends["damage said"] += 1
        for node in self.nodes:
            if node.process:
                node.kill()
        self.ledger.forget()

    def comes_back(self, node):
        """Whether the node starts. When not, it must say why, and the check must know it too."""
        checked = node.raw("store", "check")
        check(checked.returncode in (0, 1) and (checked.returncode == 0 or b"corrupt" in checked.stderr), f"store check: {checked}")
        self.checked += 1
        self.ends["check: damaged" if checked.returncode else "check: sound"] += 1
        node.spawn()
        end = time.monotonic() + 60
        while not node.answers():
            status = node.process.poll()
            if status is not None:
                node.process = None
                self.ledger.down(node.label)
                check(status == 1 and "corrupt" in node.tail()[-1500:], f"{node.name} ended with {status}: {node.tail()}")
                check(checked.returncode == 1, f"{node.name} does not start, and store check finds nothing: {checked} {node.tail()[-1500:]}")
                return False
            check(time.monotonic() < end, f"{node.name} was not ready: {node.tail()}")
            time.sleep(0.01)
        # A page that no start reads may be damaged: the check says so, and kosd when it comes to it.
        return checked.returncode == 0

    def settle(self):
        """What is lost cannot come to rest: so until nothing changes."""
        before, since = None, time.monotonic()
        end = since + 40
        while time.monotonic() < end:
            state = [(len(n.dump()), n.call("org.kos.node.Status")["status"]["outbox"]["messages"], len(n.agent_log())) for n in self.nodes]
            if state != before:
                before, since = state, time.monotonic()
            if time.monotonic() - since > (1 if not any(s[1] for s in state) else 4):
                return
            time.sleep(0.2)

    def judge_lied(self):
        judge = Judge(self.ledger, self.ids, lied=True)
        judge.messages({node.label: node.dump() for node in self.nodes})
        judge.tasks({node.label: node.agent_log() for node in self.nodes}, self.show)
        judge.announcements({node.label: [a["text"] for a in node.call("org.kos.announce.List")["announcements"]] for node in self.nodes})
        self.counts.update(judge.counts)
        self.loose.update(judge.loose)
        check(not judge.faults, f"seed {self.seed}, mode lie, {self.kills} kills: {len(judge.faults)} faults:\n" + "\n".join(judge.faults[:12]))

    def end(self):
        self.ended.set()
        for load in self.loads:
            load.join()
        for node in self.nodes:
            self.stats.update(node.stats)

    def figures(self):
        return super().figures() + f"; ends: {dict(sorted(self.ends.items()))}; excused: {dict(sorted(self.loose.items()))}"


class Gate:
    """Held by those who ask; close waits until nobody does, and keeps them out."""

    def __init__(self):
        self.condition, self.inside, self.closed = threading.Condition(), 0, False

    def __enter__(self):
        with self.condition:
            while self.closed:
                self.condition.wait()
            self.inside += 1

    def __exit__(self, *_):
        with self.condition:
            self.inside -= 1
            self.condition.notify_all()

    def close(self):
        with self.condition:
            self.closed = True
            while self.inside:
                self.condition.wait()

    def open(self):
        with self.condition:
            self.closed = False
            self.condition.notify_all()


def bar(world, total):
    done = world.kills
    seconds = max(time.monotonic() - world.started, 1)
    width = 30 * done // total
    left = (total - done) * seconds / max(done, 1)
    print(f"\r[{'#' * width}{'.' * (30 - width)}] {done}/{total} kills, {60 * done / seconds:.0f} a minute, "
          f"{world.entries + len(world.ledger.entries)} entries, {left / 60:.0f} min left ", end="", file=sys.stderr, flush=True)


def long_run(case, mode, kills, seed, progress=False, each=100):
    world = (LyingWorld if mode == "lie" else World)(case, mode, seed)
    world.build()
    world.start_load()
    shown = threading.Event()

    def show():
        while not shown.wait(1):
            bar(world, kills)
    if progress:
        threading.Thread(target=show, daemon=True).start()
    try:
        while world.kills < kills:
            world.round(min(each, kills - world.kills + 1))
        world.end()
    finally:
        world.ended.set()
        shown.set()
        if progress:
            print(file=sys.stderr)
    return world


# ---- as a test ----

def contents(node):
    found = {}
    for base, _, names in os.walk(node.dir):
        for name in names:
            path = os.path.join(base, name)
            if os.path.isfile(path):
                with open(path, "rb") as file:
                    found[os.path.relpath(path, node.dir)] = file.read()
    return found


def test_the_fault_layer_misses_nothing(case):
    """All that it wrote down undone, flushed or not, leaves the files as they were."""
    node = CrashNode(case, "home.kai", Ledger(), settings=['journal_bytes = "64K";', 'checkpoint_bytes = "64K";'])
    node.start()
    node.stop()
    before = contents(node)
    node.spawn((SEED, 2000, 0))
    node.until_ready()
    for n in range(60):
        node.call("org.kos.ledger.Send", {"n": f"n.{n}", "target": node.address, "class": 1, "pad": 3000, "expires_ms": 3600000})
    check(contents(node) != before, "nothing was written")
    node.kill()
    loss.lose(node.loss_log, random.Random(SEED), everything=True)
    after = contents(node)
    equal(sorted(after), sorted(before), "names")
    equal([name for name in before if after[name] != before[name]], [], "contents")


def test_kills(case):
    print("# " + long_run(case, "kill", 24, SEED).figures(), flush=True)


def test_power_loss(case):
    world = long_run(case, "loss", 24, SEED)
    print("# " + world.figures(), flush=True)
    check(world.stats["unflushed"] > 0, "the fault layer found nothing that was not flushed")


def test_lying_disks(case):
    world = long_run(case, "lie", 3, SEED)
    print("# " + world.figures(), flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--mode", choices=["kill", "loss", "lie"], default="loss")
    parser.add_argument("--kills", type=int)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--progress", action="store_true")
    parser.add_argument("tests", nargs="*")
    arguments = parser.parse_args()
    if not arguments.kills:
        kit.run(globals())
    case = kit.Case()
    try:
        print(long_run(case, arguments.mode, arguments.kills, arguments.seed, arguments.progress).figures())
    except Exception as error:  # pylint: disable=broad-except
        for node in case.nodes:
            if node.process and node.process.poll() is None:
                node.process.kill()
                node.process.wait()
        print(f"FAILED: {error}\nthe instances are kept: {case.dir}", flush=True)
        os._exit(1)
    case.close()


if __name__ == "__main__":
    main()
