#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Nodes that know each other only by discovery/static: by its setting, by its file, in kosd and in a cell."""
import os

from kit import check, equal, has, run

DIRECTORY = 'read = [ "{directory}" ]; '


def static(node, settings, isolate, read="", text=""):
    node.policy("static", f'plugins = {{ static = {{ module = "static.so"; isolate = {isolate}; {read}'
                          f'settings = {{ ttl = "2s"; interval = "50ms"; {settings} }}; }}; }};\n{text}')
    return node


def entry(node, more=""):
    return f'{{ addresses = "tcp://127.0.0.1:{node.port}"; {more} }}'


def sessions(node, other):
    """Since when each."""
    return [session["since"] for session in (node.peer(other) or {}).get("sessions", [])]


def met(node, other):
    return sessions(node, other) != []


def together(case, one, other, text):
    case.until(lambda: met(one, other) and met(other, one), text)


def write(path, text):
    """A new file renamed into the place of the old, as the manual says."""
    with open(path + ".new", "w", encoding="utf-8") as file:
        file.write(text)
    os.rename(path + ".new", path)


def nodes(case):
    return case.node("home.kai"), case.node("laptop.kai")


def by_setting(case, isolate):
    home, laptop = nodes(case)
    static(home, f'peers = ( {entry(laptop, f"""id = "{laptop.id}";""")} );', isolate).start()
    static(laptop, f'peers = ( {entry(home, f"""id = "{home.id}"; name = "home";""")} );', isolate).start()
    together(case, home, laptop, "they have met")
    for node in (home, laptop):
        hosting = {p["name"]: p["hosting"] for p in node.json("plugin", "list")["plugins"]}
        equal(hosting["static"], "cell" if isolate == "true" else "process", "hosting")
    home.stop(9)
    case.until(lambda: not met(laptop, home), "one is gone")
    home.start()
    together(case, home, laptop, "it is back")
    laptop.stop().start()
    together(case, home, laptop, "the other is back")


def test_by_setting(case):
    by_setting(case, "false")


def test_by_setting_in_a_cell(case):
    by_setting(case, "true")


def by_file(case, isolate):
    """Only laptop has a list; what it says changes while it runs."""
    home, laptop = nodes(case)
    other = case.node("other.kai").start()
    home.start()
    directory = case.path("lists")
    os.mkdir(directory)
    path = os.path.join(directory, "nodes")
    write(path, f"# the house\ntcp://127.0.0.1:{home.port} id={home.id} name=home\nnonsense\n")
    static(laptop, f'file = "{path}";', isolate, DIRECTORY.format(directory=directory) if isolate == "true" else "").start()
    together(case, home, laptop, "they have met")
    has(laptop.tail(), f"{path}:3: left out: a word is neither an address")
    check(not met(laptop, other), "nobody told of that one")
    write(path, f"tcp://127.0.0.1:{home.port} id={home.id} name=home\ntcp://127.0.0.1:{other.port}\n")
    together(case, other, laptop, "the file says more")
    os.unlink(path)
    case.until(lambda: "what it said before is kept" in laptop.tail(), "the file is gone, and that is said")
    home.stop(9).start()
    together(case, home, laptop, "what it said before is kept")


def test_by_file(case):
    by_file(case, "false")


def test_by_file_in_a_cell(case):
    by_file(case, "true")


def another(case, isolate):
    """The list says that other is at home's address: home is not taken for it."""
    home, laptop = nodes(case)
    other = case.node("other.kai")
    home.start()
    static(laptop, f'peers = ( {entry(home, f"""id = "{other.id}";""")} );', isolate).start()
    case.until(lambda: home.id in laptop.tail() and other.id in laptop.tail(), "both are named")
    has(laptop.tail(), f"tcp://127.0.0.1:{home.port}")
    check(not met(laptop, other) and not met(laptop, home) and not met(home, laptop), "no session")


def test_another_identity_is_refused(case):
    another(case, "false")


def test_another_identity_is_refused_in_a_cell(case):
    another(case, "true")


def test_a_file_that_a_cell_may_not_read(case):
    node = case.node("home.kai")
    path = case.path("nodes", b"tcp://127.0.0.1:1\n")
    static(node, f'file = "{path}";', "true").start(ready=False)
    equal(node.process.wait(60), 1, "status")
    node.process = None
    has(node.tail(), f'the file {path} (setting file) cannot be read: Permission denied; where the plugin is isolated, the policy lets it '
        f'read the directory: read = [ "{case.dir}" ];')


def test_a_list_that_is_wrong_says_where(case):
    node = case.node("home.kai")
    for settings, text in (('peers = ( { id = "x"; } );', "peers, entry 1: what follows id= is not the id of a node"),
                           ('peers = ( { name = "laptop"; } );', "peers, entry 1: there is neither an address nor a record"),
                           ('file = "/nowhere/nodes";', "the file /nowhere/nodes (setting file) cannot be read: No such file or directory")):
        static(node, settings, "false").start(ready=False)
        equal(node.process.wait(60), 1, "status")
        node.process = None
        has(node.tail(), text)


def test_a_fall_of_its_cell_ends_no_session(case):
    home, laptop = nodes(case)
    home.start()
    static(laptop, f"peers = ( {entry(home)} );", "true").start()
    together(case, home, laptop, "they have met")
    before = next(p for p in laptop.json("plugin", "list")["plugins"] if p["name"] == "static")
    since = sessions(laptop, home)
    os.kill(before["pid"], 9)

    def back():
        now = next(p for p in laptop.json("plugin", "list")["plugins"] if p["name"] == "static")
        return now["restarts"] == 1 and now["state"] == "running"
    case.until(back, "its cell is back")
    equal(sessions(laptop, home), since, "the session is the same")


run(globals())
