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


run(globals())
