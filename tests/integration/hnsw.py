#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A vector backend with threads and files of its own, hosted in kosd and in a cell: it loads, runs, falls and is replaced, and
stops in order."""
import os
import signal

from kit import check, equal, has, run


def hosted(case, isolate, rights='rights = [ "files" ]; ', more=""):
    node = case.node("home.kai")
    node.policy("hnsw", f'plugins = {{ hnsw = {{ module = "hnsw.so"; isolate = {isolate}; {rights}{more}settings = {{ memory = "64M"; }}; }}; }};')
    return node


def plugin(node):
    return next(p for p in node.json("plugin", "list")["plugins"] if p["name"] == "hnsw")


def at_work(node, hosting):
    one = plugin(node)
    equal((one["hosting"], one["state"], one.get("restarts", 0), one.get("cause") or ""), (hosting, "running", 0, ""), "hnsw")
    return one


def test_in_a_cell(case):
    node = hosted(case, "true").start()
    first = at_work(node, "cell")
    has(node.ctl("plugin", "reload", "hnsw"), "hnsw was reloaded")
    second = at_work(node, "cell")
    check(first["pid"] != second["pid"], "another process")
    os.kill(second["pid"], signal.SIGKILL)
    case.until(lambda: plugin(node)["restarts"] == 1 and plugin(node)["state"] == "running", "it is back")
    has(plugin(node)["cause"], "plugin hnsw was killed")
    last = plugin(node)["pid"]
    node.stop()
    check(not os.path.exists(f"/proc/{last}"), "its process ended with kosd")
    equal([line for line in node.tail_all().splitlines() if " error " in line and "was killed" not in line], [], "errors")
    at_work(node.start(), "cell")


def test_in_kosd(case):
    node = hosted(case, "false").start()
    at_work(node, "process")
    node.stop()
    equal([line for line in node.tail_all().splitlines() if " error " in line], [], "errors")


def test_without_its_right(case):
    node = hosted(case, "true", rights="").start(ready=False)
    equal(node.process.wait(60), 1, "status")
    node.process = None
    has(node.tail(), 'rights = [ "files" ];')


run(globals())
