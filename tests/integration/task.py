#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Two nodes do tasks for each other: every command of a task's life, right answers, and what refusals say."""
import json
import os
import signal
import subprocess

from kit import SRC, check, equal, has, run

README = os.path.join(SRC, "README.md")
LICENSE = os.path.join(SRC, "LICENSE")

# A --stdio agent in shell: five parts and a result for each task.
STREAM = r"""
while IFS= read -r line; do
  id=$(printf %s "$line" | sed 's/.*"task":"\([a-z2-7]*\)".*/\1/')
  n=$(printf %s "$line" | sed 's/.*"inputs":\["\([0-9]*\)"\].*/\1/')
  case $line in *'"verb":"task"'*)
    for i in 0 1 2 3 4; do printf '{"task":"%s","part":"%s.%s\\n"}\n' "$id" "$n" "$i"; done
    printf '{"task":"%s","result":{"parts":5}}\n' "$id";;
  esac
done
"""


def agents(home):
    home.ctl("agent", "add", "shout", "--skill", "text", "--exec", "tr a-z A-Z")
    home.ctl("agent", "add", "digest", "--skill", "hash", "--exec", "sha256sum")


def id_bytes(text):
    value = 0
    for c in text:
        value = value << 5 | "abcdefghijklmnopqrstuvwxyz234567".index(c)
    return (value >> 2).to_bytes(16, "big")


def test_filters_give_what_the_tool_gives(case):
    home, laptop = case.pair()
    agents(home)
    for path in (README, LICENSE):
        with open(path, "rb") as file:
            data = file.read()
        done = laptop.raw("task", "send", "klp://agent.shout.home.kai", "--input", "@" + path)
        wanted = subprocess.run(["tr", "a-z", "A-Z"], input=data, capture_output=True, check=True).stdout
        equal((done.returncode, done.stdout), (0, wanted), f"shout: {done.stderr}")
        wanted = subprocess.run(["sha256sum"], input=data, capture_output=True, check=True).stdout
        done = laptop.raw("task", "send", "klp://agent.digest.home.kai", "--input", "@" + path)
        equal((done.returncode, done.stdout), (0, wanted), f"digest: {done.stderr}")


def test_bytes_and_several_inputs(case):
    home, laptop = case.pair()
    home.ctl("agent", "add", "same", "--skill", "echo", "--exec", "cat")
    blob = bytes(range(256)) * 2600
    done = laptop.raw("task", "send", "klp://agent.same.home.kai", "--input", "@" + case.path("blob", blob), "--input", "é and ", "--input", "end")
    equal(done.stdout, blob + "é and end".encode(), "joined")
    whole = laptop.json("task", "send", "klp://agent.same.home.kai", "--input", "@" + case.path("blob2", b"\xff\x00\x01"))
    equal(whole["output"], {"base64": "/wAB"}, "bytes in JSON")
    whole = laptop.json("task", "send", "klp://agent.same.home.kai", "--input", "text")
    equal((whole["output"], whole["result"], whole["event"]), ("text", {"exit": 0}, "result"), "JSON document")


def test_a_stranger_is_refused_and_told_what_would_allow_it(case):
    home, laptop = case.pair(trust=False)
    agents(home)
    said = laptop.ctl("task", "send", "klp://agent.shout.home.kai", "--input", "x", status=1)
    has(said, "trust_too_low")
    has(said, f"kosctl trust klp://node.{laptop.id}")
    said = laptop.ctl("task", "send", "klp://agent.nobody.home.kai", "--input", "x", status=1)
    has(said, "trust_too_low")  # and not whether there is such an agent
    explained = home.json("policy", "explain", "--from", laptop.address, "--type", "TASK_REQUEST")
    equal((explained["allowed"], explained["error"], explained["score_needed"]), (False, "trust_too_low", 5.0), "explain")
    has(explained["rule"], "TASK_REQUEST")
    home.ctl("trust", laptop.address)
    equal(laptop.ctl("task", "send", "klp://agent.shout.home.kai", "--input", "x"), "X", "after trust")
    check(home.json("policy", "explain", "--from", laptop.address, "--type", "TASK_REQUEST")["allowed"], "explain after trust")
    home.ctl("untrust", laptop.address)
    has(laptop.ctl("task", "send", "klp://agent.shout.home.kai", "--input", "x", status=1), "trust_too_low")


def test_trust_is_asked_both_ways(case):
    home, laptop = case.pair()
    home.ctl("agent", "add", "picky", "--skill", "x", "--exec", "cat", "--trust-required", "9")
    has(laptop.ctl("task", "send", "klp://agent.picky.home.kai", "--input", "x", status=1), "trust_too_low")
    home.ctl("trust", laptop.address, "9.5")
    equal(laptop.ctl("task", "send", "klp://agent.picky.home.kai", "--input", "x"), "x", "enough")
    has(laptop.ctl("task", "send", "klp://agent.picky.home.kai", "--trust", "9", status=1), "trust_too_low")
    laptop.ctl("trust", home.address, "9")
    equal(laptop.ctl("task", "send", "klp://agent.picky.home.kai", "--trust", "9", "--input", "y"), "y", "enough both ways")


def test_stdio_agent_streams_many_at_a_time(case):
    home, laptop = case.pair()
    home.ctl("agent", "add", "stream", "--skill", "count", "--concurrency", "8", "--stdio", STREAM)
    sends = [laptop.popen("--json", "task", "send", "klp://agent.stream.home.kai", "--input", str(n)) for n in range(8)]
    for n, process in enumerate(sends):
        out, err = process.communicate(timeout=60)
        equal(process.returncode, 0, err.decode())
        answer = json.loads(out)
        equal(answer["output"], "".join(f"{n}.{i}\n" for i in range(5)), "parts in order")
        equal(answer["result"], {"parts": 5}, "the agent's own result")


def test_what_fails_says_so(case):
    home, laptop = case.pair()
    home.ctl("agent", "add", "broken", "--skill", "x", "--exec", "echo before; echo 'no such luck' >&2; exit 3")
    done = laptop.raw("task", "send", "klp://agent.broken.home.kai")
    equal(done.returncode, 1, "status")
    equal(done.stdout, b"before\n", "what it printed before")
    has(done.stderr.decode(), "agent_failed")
    has(done.stderr.decode(), "no such luck")
    has(laptop.ctl("task", "send", "klp://agent.nobody.home.kai", status=1), "not_found")
    has(laptop.ctl("task", "send", "klp://agent.x.nowhere.kai", status=1), "not_found")
    has(laptop.ctl("task", "send", "nonsense", status=1), "nonsense")


def test_deadline_and_cancel(case):
    home, laptop = case.pair()
    home.ctl("agent", "add", "slow", "--skill", "x", "--concurrency", "4", "--exec", "echo begun; sleep 3217 & sleep 3217")
    has(laptop.ctl("task", "send", "klp://agent.slow.home.kai", "--deadline", "1500ms", status=4), "deadline_passed")
    task = laptop.ctl("task", "send", "klp://agent.slow.home.kai", "--detach").strip()
    case.until(lambda: laptop.json("task", "show", task)["task"]["bytes"] == 6, "its first part is here")
    waiting = laptop.popen("task", "wait", task)
    laptop.ctl("task", "cancel", task)
    out, err = waiting.communicate(timeout=60)
    equal((waiting.returncode, out), (1, b"begun\n"), err.decode())
    has(err.decode(), "cancelled")
    has(laptop.ctl("task", "cancel", task, status=1), "wrong_state")
    case.until(lambda: all(a["running"] == 0 for a in home.json("agent", "list")["agents"]), "nothing runs any more")
    left = subprocess.run(["pgrep", "-f", "^sleep 3217"], capture_output=True, check=False).stdout.split()
    equal(left, [], "the whole process group is gone")


def test_queue_and_concurrency(case):
    home, laptop = case.pair()
    home.ctl("agent", "add", "one", "--skill", "x", "--concurrency", "1", "--exec", "mkdir lock || echo two at a time; sleep 0.2; rmdir lock; echo done")
    sends = [laptop.popen("task", "send", "klp://agent.one.home.kai") for _ in range(5)]
    for process in sends:
        out, err = process.communicate(timeout=60)
        equal((process.returncode, out), (0, b"done\n"), err.decode())


def test_list_show_wait(case):
    home, laptop = case.pair()
    home.ctl("agent", "add", "same", "--skill", "x", "--exec", "cat")
    task = laptop.json("task", "send", "klp://agent.same.home.kai", "--input", "0123456789", "--detach")["task"]
    equal(laptop.ctl("task", "wait", task), "0123456789", "wait")
    equal(laptop.ctl("task", "wait", task, "--from", "7"), "789", "wait from a byte on")
    shown = laptop.json("task", "show", task)["task"]
    equal((shown["state"], shown["direction"], shown["bytes"]), ("done", "out", 10), "show")
    agent = home.json("agent", "list")["agents"][0]
    equal(shown["evidence"]["source_id"], agent["id"], "the agent itself signed the answer")
    inward = home.json("task", "show", task)["task"]
    equal((inward["state"], inward["direction"]), ("done", "in"), "the other side's view")
    check(any(t["task"] == task for t in laptop.json("task", "list")["tasks"]), "list")
    check(agent["audit"]["seq"] >= 2, "audit trail")
    has(laptop.ctl("task", "show", "a" * 26, status=1), "not_found")


def test_announce_and_watch(case):
    home, laptop = case.pair()
    watch = home.popen("--json", "watch")
    case.processes.append(watch)
    os.set_blocking(watch.stdout.fileno(), False)
    seen = b""

    def told():
        nonlocal seen
        equal(laptop.json("announce", "hello, all")["peers"], 1, "peers told")
        seen += watch.stdout.read() or b""
        return b'"announce"' in seen and b"hello, all" in seen
    case.until(told, "watch tells of an announcement")


def test_own_agents_too(case):
    home = case.node("home.kai").start()
    home.ctl("agent", "add", "shout", "--skill", "x", "--exec", "tr a-z A-Z")
    equal(home.ctl("task", "send", "klp://agent.shout.home.kai", "--input", "me"), "ME", "by name")
    agent = home.json("agent", "list")["agents"][0]
    equal(home.ctl("task", "send", "klp://agent." + agent["id"], "--input", "me"), "ME", "by id")
    equal(home.ctl("task", "send", "agent://shout.0x" + id_bytes(agent["id"]).hex()[:6], "--input", "me"), "ME", "by prefix")
    home.ctl("agent", "remove", "shout")
    has(home.ctl("task", "send", "klp://agent.shout.home.kai", "--input", "me", status=1), "not_found")


def test_exit_status(case):
    home = case.node("home.kai")
    has(home.ctl("status", status=3), "kosd")
    home.ctl("nonsense", status=2)
    home.ctl("task", "send", status=2)
    home.ctl("task", "send", "klp://agent.x.y", "--deadline", "soon", status=2)
    home.start()
    has(home.ctl("init", "--name", "home.kai", status=1), "already_exists")
    said = home.raw("--json", "trust", "no such name")
    equal(said.returncode, 1, "a name that nobody has")
    check(json.loads(said.stdout)["error"] in ("not_found", "syntax_error", "invalid_argument"), said.stdout)
    home.stop()
    has(home.ctl("peers", status=3), "kosd")
    equal(home.json("id")["name"], "home.kai", "id works without kosd")


def test_plugins_tell_of_themselves(case):
    home = case.node("home.kai")
    told = home.ctl("plugin", "info", os.path.join(case.plugins, "task_request.so"))
    has(told, "setting waiting_max (int, default 256)")
    has(told, 'asks for the right "agents"')
    home.start()
    equal({p["name"]: p["state"] for p in home.json("plugin", "list")["plugins"]},
          {"broadcast_announce": "running", "task_request": "running", "tcp": "running"}, "all three")


def test_reload_keeps_a_good_policy(case):
    home, laptop = case.pair()
    agents(home)
    home.policy("strict", 'name = "strict";\ntrust: { TASK_REQUEST = 9.0; };\n')
    home.ctl("policy", "reload")
    has(laptop.ctl("task", "send", "klp://agent.shout.home.kai", "--input", "x", status=1), "trust_too_low")
    home.policy("strict", 'name = "strict";\ntrust: { TASK_REQUEST = 9.0; }\nnonsense nonsense\n')
    has(home.ctl("policy", "reload", status=1), "strict.klp-policy:3")
    has(laptop.ctl("task", "send", "klp://agent.shout.home.kai", "--input", "x", status=1), "trust_too_low")
    home.policy("strict", 'name = "strict";\n')
    home.process.send_signal(signal.SIGHUP)
    case.until(lambda: laptop.raw("task", "send", "klp://agent.shout.home.kai", "--input", "x").stdout == b"X", "SIGHUP loads it")


run(globals())
