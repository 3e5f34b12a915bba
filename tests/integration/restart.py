#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Nodes that are ended, killed and started again: what was acknowledged is done, nothing is done twice, and who is told what."""
import os
import random
import signal
import subprocess
import threading
import time

from kit import check, equal, has, many, run

SEED = int(os.environ.get("KOS_TEST_SEED", time.time_ns() % 1000000))
KILLS = many(30, 8)
ASKERS = 3

# Numbers its lines, and stops after the first hundred until its directory has a file "go".
GATED = ("i=0; while [ $i -lt 200 ]; do echo line $i of the answer; i=$((i+1)); "
         "if [ $i = 100 ]; then while ! [ -e go ]; do sleep 0.02; done; fi; done")
GATED_ANSWER = "".join(f"line {i} of the answer\n" for i in range(200))


def lines(path):
    if not os.path.exists(path):
        return []
    with open(path, encoding="utf-8") as file:
        return file.read().splitlines()


def connected(one, other):
    peer = one.peer(other)
    return peer and peer["state"] == "connected"


def test_a_detached_task_waits_for_home(case):
    home, laptop = case.pair()
    home.ctl("agent", "add", "shout", "--skill", "text", "--exec", "tr a-z A-Z")
    equal(laptop.ctl("task", "send", "klp://agent.shout.home.kai", "--input", "before"), "BEFORE", "while both are up")
    home.stop()
    tasks = [laptop.ctl("task", "send", "klp://agent.shout.home.kai", "--input", f"text {n}", "--detach").strip() for n in range(3)]
    equal([laptop.json("task", "show", t)["task"]["state"] for t in tasks], ["sent"] * 3, "in the outbox")
    laptop.stop().start()
    equal(laptop.peer(home)["outbox"]["messages"], 3, "the outbox outlives a restart")
    home.start()
    for n, task in enumerate(tasks):
        equal(laptop.ctl("task", "wait", task), f"TEXT {n}", "done after home came back")
    case.until(lambda: laptop.peer(home)["outbox"]["messages"] == 0, "the outbox is empty")


def test_home_is_killed_while_a_program_runs(case):
    home, laptop = case.pair()
    home.ctl("agent", "add", "once", "--skill", "x", "--exec", "echo ran >>runs; echo begun; sleep 3218")
    task = laptop.ctl("task", "send", "klp://agent.once.home.kai", "--detach").strip()
    waiting = laptop.popen("task", "wait", task)
    case.until(lambda: laptop.json("task", "show", task)["task"]["bytes"] == 6, "its first part is here")
    runs = home.own("once", "runs")
    home.stop(signal.SIGKILL)
    case.until(lambda: not subprocess.run(["pgrep", "-f", "^sleep 3218"], capture_output=True, check=False).stdout, "the spawner ends what ran")
    home.start()
    out, err = waiting.communicate(timeout=60)
    equal((waiting.returncode, out), (1, b"begun\n"), err.decode())
    has(err.decode(), "outcome_unknown")
    equal(laptop.json("task", "show", task)["task"]["error"], "outcome_unknown", "it stays so")
    equal(lines(runs), ["ran"], "it ran once")
    home.stop().start()
    case.until(lambda: connected(laptop, home), "connected anew")
    equal(lines(runs), ["ran"], "nor does another restart run it again")


def test_laptop_is_killed_in_a_stream(case):
    home, laptop = case.pair()
    home.ctl("agent", "add", "gated", "--skill", "x", "--exec", GATED)
    task = laptop.ctl("task", "send", "klp://agent.gated.home.kai", "--detach").strip()
    case.until(lambda: laptop.json("task", "show", task)["task"]["bytes"] > 2000, "half of the stream is here")
    laptop.stop(signal.SIGKILL)
    with open(home.own("gated", "go"), "w", encoding="utf-8"):
        pass
    laptop.start()
    equal(laptop.ctl("task", "wait", task), GATED_ANSWER, "the whole answer")
    equal(laptop.ctl("task", "wait", task, "--from", "2222"), GATED_ANSWER[2222:], "a part of it")
    equal(laptop.ctl("task", "wait", task, "--from", str(len(GATED_ANSWER))), "", "what there is beyond its end")
    equal(laptop.json("task", "show", task)["task"]["state"], "done", "its state")


def test_a_large_answer_over_a_broken_connection(case):
    home, laptop = case.pair()
    home.ctl("agent", "add", "large", "--skill", "x", "--exec", "seq 300000")
    task = laptop.ctl("task", "send", "klp://agent.large.home.kai", "--detach").strip()
    for _ in range(3):
        case.until(lambda: laptop.json("task", "show", task)["task"]["bytes"] > 0, "it streams")
        laptop.ctl("disconnect", home.address)
        laptop.ctl("connect", f"peer://127.0.0.1:{home.port}")
    wanted = "".join(f"{n}\n" for n in range(1, 300001))
    got = laptop.ctl("task", "wait", task)
    check(got == wanted, f"{len(got)} of {len(wanted)} bytes, or others")


def test_a_clean_restart_keeps_everything(case):
    home, laptop = case.pair()
    home.ctl("agent", "add", "shout", "--skill", "text", "--trust-required", "6", "--concurrency", "3", "--exec", "tr a-z A-Z")
    task = laptop.ctl("task", "send", "klp://agent.shout.home.kai", "--input", "kept", "--detach").strip()
    equal(laptop.ctl("task", "wait", task), "KEPT", "done")
    before = [home.json("id"), home.json("trust"), home.json("agent", "list"), laptop.json("id"), laptop.json("trust"), laptop.json("task", "show", task), home.json("task", "show", task)]
    home.stop()
    laptop.stop()
    laptop.start()
    home.start()
    after = [home.json("id"), home.json("trust"), home.json("agent", "list"), laptop.json("id"), laptop.json("trust"), laptop.json("task", "show", task), home.json("task", "show", task)]
    for old, new in zip(before, after):
        equal(new, old, "after a restart")
    equal(laptop.ctl("task", "wait", task), "KEPT", "the answer is kept")
    case.until(lambda: connected(laptop, home), "laptop comes back by itself")
    equal(laptop.ctl("task", "send", "klp://agent.shout.home.kai", "--input", "again"), "AGAIN", "and works")


class Asker(threading.Thread):
    """Sends tasks until told to end; remembers their ids, and the inputs of those of which it never learnt an id."""

    def __init__(self, laptop, number):
        super().__init__()
        self.laptop, self.number, self.ended, self.tasks = laptop, number, threading.Event(), {}

    def run(self):
        n = 0
        while not self.ended.is_set():
            n += 1
            text = f"task {self.number}.{n}"
            try:
                with self.laptop.control() as control:
                    reply = control.call("org.kos.task.Send", {"target": "klp://agent.log.home.kai", "inputs": [text + "\n"], "detach": True, "deadline_ms": 100000})
            except OSError:
                reply = None
            if reply and "error" not in reply:
                self.tasks[text] = reply["parameters"]["task"]
            self.ended.wait(0.05 if reply else 0.02)


def outcome(laptop, task):
    done = laptop.raw("task", "wait", task)
    return "done" if done.returncode == 0 else done.stderr.decode().split(": ")[1]


def test_kills_at_random_moments(case):
    print(f"# KOS_TEST_SEED={SEED}", flush=True)
    chance = random.Random(SEED)
    home, laptop = case.pair()
    home.ctl("agent", "add", "log", "--skill", "x", "--concurrency", "4", "--exec", "cat >>log")
    log = home.own("log", "log")
    askers = [Asker(laptop, n) for n in range(ASKERS)]
    for asker in askers:
        asker.start()
    try:
        for _ in range(KILLS):
            time.sleep(chance.uniform(0, 0.5))  # the moment is what is tried here; nothing waits for anything
            node = chance.choice([home, laptop])
            node.stop(signal.SIGKILL).start()
    finally:
        for asker in askers:
            asker.ended.set()
        for asker in askers:
            asker.join()
    case.until(lambda: connected(laptop, home), "both are up")
    tasks = {text: task for asker in askers for text, task in asker.tasks.items()}
    outcomes = {text: outcome(laptop, task) for text, task in tasks.items()}
    written = lines(log)
    counts = {text: written.count(text) for text in set(written)}
    equal([text for text, count in counts.items() if count != 1], [], "nothing was done twice")
    equal([text for text, what in outcomes.items() if what == "done" and text not in counts], [], "what is reported done was done")
    equal({what for what in outcomes.values()} - {"done", "outcome_unknown"}, set(), "nothing else becomes of a task")
    done = sum(what == "done" for what in outcomes.values())
    print(f"# {len(tasks)} tasks, {done} done, {KILLS} kills", flush=True)
    check(done > len(tasks) / 2, f"most tasks are done: {done} of {len(tasks)}")


run(globals())
