#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Nodes whose plugins all run in cells: tasks are done, and go on when a cell is killed or replaced."""
import os
import signal

from kit import check, equal, has, run


def isolated(case, name, **more):
    """An instance whose manifest isolates everything."""
    node = case.node(name, **more)
    path = os.path.join(node.dir, "policy.d", "default.klp-policy")
    with open(path, encoding="utf-8") as file:
        text = file.read()
    check("isolate = false" in text, "the shipped manifest exempts its plugins")
    with open(path, "w", encoding="utf-8") as file:
        file.write(text.replace("isolate = false", "isolate = true"))
    return node


def pair(case):
    home, laptop = isolated(case, "home.kai").start(), isolated(case, "laptop.kai", listen=False).start()
    laptop.ctl("connect", f"peer://127.0.0.1:{home.port}")
    home.ctl("trust", laptop.address)
    laptop.ctl("trust", home.address)
    return home, laptop


def plugin(node, name):
    return next(p for p in node.json("plugin", "list")["plugins"] if p["name"] == name)


def kill(case, node, name):
    """Kills a plugin's cell and waits until it is back."""
    before = plugin(node, name)
    os.kill(before["pid"], signal.SIGKILL)
    case.until(lambda: plugin(node, name)["restarts"] > before["restarts"] and plugin(node, name)["state"] == "running", f"{name} is back")
    return plugin(node, name)


def test_a_task_through_cells(case):
    home, laptop = pair(case)
    home.ctl("agent", "add", "shout", "--skill", "text", "--exec", "tr a-z A-Z")
    equal(laptop.ctl("task", "send", "klp://agent.shout.home.kai", "--input", "hello"), "HELLO", "answer")
    for node in (home, laptop):
        for one in node.json("plugin", "list")["plugins"]:
            equal((one["hosting"], one["state"], one["restarts"]), ("cell", "running", 0), one["name"])
            check(one["pid"] > 1 and one["memory_bytes"] > 0, one)
    equal(laptop.json("announce", "hello, all")["peers"], 1, "peers told")


def test_a_killed_cell_comes_back(case):
    home, laptop = pair(case)
    home.ctl("agent", "add", "shout", "--skill", "text", "--exec", "tr a-z A-Z")
    for node in (home, laptop):
        for name in ("tcp", "task_request", "broadcast_announce"):
            after = kill(case, node, name)
            has(after["cause"], f"plugin {name} was killed")
            equal(laptop.ctl("task", "send", "klp://agent.shout.home.kai", "--input", name), name.upper(), f"after {name} was killed")


SLOW = "sed -u s/^/one:/ <&0; for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do echo $i; sleep 0.1; done"


def slow(case, home, laptop):
    """A task of two seconds that is at work: its process and its first output are there."""
    home.ctl("agent", "add", "slow", "--skill", "x", "--concurrency", "8", "--exec", SLOW)
    task = laptop.ctl("task", "send", "klp://agent.slow.home.kai", "--input", "in", "--detach").strip()
    case.until(lambda: laptop.json("task", "show", task)["task"]["bytes"] > 6, "it is at work")
    return task


ANSWER = "one:in" + "".join(f"{i}\n" for i in range(1, 21))


def test_a_task_goes_on_while_transports_fall(case):
    home, laptop = pair(case)
    task = slow(case, home, laptop)
    kill(case, home, "tcp")
    kill(case, laptop, "tcp")
    kill(case, laptop, "broadcast_announce")
    equal(laptop.ctl("task", "wait", task), ANSWER, "nothing lost, nothing twice")


def test_a_task_goes_on_while_its_sender_falls(case):
    home, laptop = pair(case)
    task = slow(case, home, laptop)
    kill(case, laptop, "task_request")
    equal(laptop.ctl("task", "wait", task), ANSWER, "nothing lost, nothing twice")


def test_a_task_whose_handler_falls_says_so(case):
    home, laptop = pair(case)
    task = slow(case, home, laptop)
    kill(case, home, "task_request")
    has(laptop.ctl("task", "wait", task, status=1), "outcome_unknown")
    equal(laptop.ctl("task", "send", "klp://agent.slow.home.kai", "--input", "in"), ANSWER, "the next")


def test_reload(case):
    home, laptop = pair(case)
    watch = home.popen("--json", "watch")
    case.processes.append(watch)
    task = slow(case, home, laptop)
    before = {p["name"]: p["pid"] for p in home.json("plugin", "list")["plugins"]}
    has(home.ctl("plugin", "reload", "tcp"), "tcp was reloaded")
    after = {p["name"]: p["pid"] for p in home.json("plugin", "list")["plugins"]}
    equal([n for n in before if before[n] != after[n]], ["tcp"], "whose process is another")
    equal((plugin(home, "tcp")["restarts"], plugin(home, "tcp")["cause"]), (0, ""), "a reload is no fall")
    equal(laptop.ctl("task", "wait", task), ANSWER, "nothing lost, nothing twice")
    laptop.ctl("plugin", "reload", "task_request")
    equal(laptop.ctl("task", "send", "klp://agent.slow.home.kai", "--input", "in"), ANSWER, "after")
    has(home.ctl("plugin", "reload", "nobody", status=1), "there is no plugin nobody")


def test_what_cannot_be_reloaded_works_on(case):
    home = isolated(case, "home.kai").start()
    pid = plugin(home, "tcp")["pid"]
    module = os.path.join(case.plugins, "tcp.so")
    with open(module, "rb") as file:
        good = file.read()
    os.unlink(module)  # its pages are mapped: a file is replaced, never written over
    has(home.ctl("plugin", "reload", "tcp", status=1), "there is no such file; the old one works on")
    with open(module, "wb") as file:
        file.write(good[:5000])
    has(home.ctl("plugin", "reload", "tcp", status=1), "is cut off")
    path = os.path.join(home.dir, "policy.d", "default.klp-policy")
    with open(path, encoding="utf-8") as file:
        text = file.read()
    with open(path, "w", encoding="utf-8") as file:
        file.write(text.replace('rights = [ "listen", "connect" ];', 'rights = [ "listen" ];'))
    os.unlink(module)
    with open(module, "wb") as file:
        file.write(good)
    home.ctl("policy", "reload")
    has(home.ctl("plugin", "reload", "tcp", status=1), 'write there: rights = [ "listen", "connect" ];')
    equal((plugin(home, "tcp")["pid"], plugin(home, "tcp")["state"]), (pid, "running"), "the old one")
    with open(path, "w", encoding="utf-8") as file:
        file.write(text.replace("isolate = true", "isolate = false"))
    home.ctl("policy", "reload")
    has(home.ctl("plugin", "reload", "tcp", status=1), "isolate = true")


def test_without_the_program_there_are_no_cells(case):
    home = isolated(case, "home.kai")
    home.configure('cell_program = "/nowhere/kos-cell";')
    home.start(ready=False)
    equal(home.process.wait(60), 1, "status")
    home.process = None
    has(home.tail(), "/nowhere/kos-cell cannot be run")


run(globals())
