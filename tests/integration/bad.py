#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Plugins that misbehave in every way tests/bad/bad.c knows, each in a cell of one kosd that goes on with its work: a task
that was open before stays open and ends well, messages between the nodes arrive, the other plugins are not restarted, and
what kosd says names the plugin and the cause. What was seen of each is printed as a table."""
import os
import re
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from kit import BUILD, Control, check, equal, has, program, run  # noqa: E402

# Way: what the cause says, as a regular expression. A way in STANDS ends nothing: it is refused where it stands.
ENDS = {
    "CRASH": r"SIGSEGV|signal 11|[Ss]egmentation", "ABORT": r"SIGABRT|signal 6|[Aa]bort", "EXIT": r"ended|exit",
    "OVERFLOW": r"SIGSEGV|signal 11|[Ss]egmentation", "WILD": r"SIGSEGV|SIGBUS|signal|malformed|rule",
    "UNMAP": r"SIGSEGV|signal 11|[Ss]egmentation|kind|rule|malformed", "THREAD_CRASH": r"SIGSEGV|signal 11|[Ss]egmentation",
    "HANG": r"answer", "LEAK": r"memory", "LOG_FLOOD": r"memory|flood", "OP_FLOOD": r"flood|more than|operations|under way",
    "TX_FLOOD": r"flood|transaction|more than", "EVENT_FLOOD": r"flood|more than|events",
    "STEADY_FLOOD": r"more than|a second",
    "FILES": r"SIGABRT|signal 6|[Aa]bort", "THREADS": r"SIGABRT|signal 6|[Aa]bort|thread",
    "TWICE": r"replied to call \d+, which is not open", "WRONG_ID": r"completed operation 123456789, which is not open",
    "VERDICT": r"verdict about message 999", "THREAD_CALL": r"timer_set from a thread", "FREE_FOREIGN": r"SIGABRT|SIGSEGV|signal|[Aa]bort",
    "GARBAGE": r"frame|malformed|bytes|understand|sense", "LENGTH": r"frame|bytes|large|length", "COUNT": r"malformed|frame|sense",
    "KIND": r"malformed|kind|frame|sense", "CLOSED": r"closed|ended|hung",
    "FORK": r"clone|fork", "EXEC": r"execve", "SOCKET": r"socket", "WRITE_FILE": r"openat.*rights = ", "RIGHT": r"used the right \"connect\", which it never asked for", "PTRACE": r"ptrace", "KILL": r"kill",
}
AT_START = {"LOAD": r"crashed|signal", "INIT_CRASH": r"signal 11", "INIT_HANG": r"within|answer|begin", "INIT_FAIL": r"it does not want to"}
# Sanitizers see a crash first, and end the process in their own way.
with open(program("kos-cell"), "rb") as file:
    if b"__asan_init" in file.read():
        ENDS = {way: cause + "|ended its process by itself" for way, cause in ENDS.items()}
        AT_START = {way: cause + "|ended" for way, cause in AT_START.items()}
STANDS = ["GOOD", "READ_KEYS", "UNIX", "NEVER"]


def section(case, way, name=None):
    return (f'    {name or "bad_" + way.lower()} = {{ module = "{os.path.join(BUILD, "tests", "bad", way + ".so")}"; '
            f'isolate = true; memory = "64M"; heartbeat = "2s"; }};\n')


def wire(node, sections):
    path = os.path.join(node.dir, "policy.d", "default.klp-policy")
    with open(path, encoding="utf-8") as file:
        text = file.read()
    at = text.rindex("};")
    text = text[:at] + sections + text[at:]
    # A plugin of kos among them, so that there is a good cell beside the bad ones.
    text = text.replace('broadcast_announce.so";\n        isolate = false;', 'broadcast_announce.so";\n        isolate = true;')
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def plugins(node):
    return {p["name"]: p for p in node.json("plugin", "list")["plugins"]}


def go(node, way, path=None):
    """What the caller of the bad method hears, or None when the answer does not come."""
    interface = "org.kos.bad." + way.lower().replace("_", "-")
    try:
        with Control(os.path.join(node.dir, "kosd.sock"), timeout=4 if way == "NEVER" else 30) as control:
            return control.call(interface + ".Go", {"path": path} if path else None)
    except TimeoutError:
        return None


def test_ways(case):
    home = case.node("home.kai")
    wire(home, "".join(section(case, way) for way in [*STANDS, *ENDS]))
    home.start()
    laptop = case.node("laptop.kai", listen=False).start()
    laptop.ctl("connect", f"peer://127.0.0.1:{home.port}")
    laptop.ctl("trust", home.address)
    home.ctl("trust", laptop.address)
    home.ctl("agent", "add", "patient", "--skill", "wait", "--exec", "while [ ! -e done ]; do sleep 0.2; done; echo well")
    home.ctl("agent", "add", "echo", "--skill", "echo", "--exec", "cat")
    open_task = laptop.popen("task", "send", "klp://agent.patient.home.kai", "--input", "x")
    case.until(lambda: home.agent("patient")["running"] == 1, "the open task runs")
    before = plugins(home)
    pid = home.process.pid
    rows = []
    for way in [*STANDS, *ENDS]:
        name = "bad_" + way.lower()
        secret = {"READ_KEYS": next(os.path.join(home.dir, "keys", f) for f in sorted(os.listdir(os.path.join(home.dir, "keys"))) if os.path.isfile(os.path.join(home.dir, "keys", f))),
                  "UNIX": os.path.join(home.dir, "kosd.sock")}.get(way)
        answer = go(home, way, secret)
        if way in ENDS:
            def cut():
                p = plugins(home)[name]
                return p if p["restarts"] > before[name]["restarts"] or p["state"] != "running" else None
            seen = case.until(cut, f"{name} is cut off")
            cause = seen.get("cause") or ""
            check(re.search(ENDS[way], cause), f"{way}: the cause is {cause!r}")
            if answer is not None and "error" in answer:
                has(str(answer), name)
            has(home.tail_all(), name)
            rows.append((way, "cut off", cause))
        else:
            seen = plugins(home)[name]
            equal((seen["restarts"], seen["state"]), (0, "running"), way)
            if secret:
                equal(answer["parameters"]["fd"], -1, f"{way}: {secret}")
            rows.append((way, "stands", str(answer)[:100]))
        equal(home.process.poll(), None, f"kosd after {way}")
        equal(laptop.ctl("task", "send", "klp://agent.echo.home.kai", "--input", way), way, f"a task after {way}")
    after = plugins(home)
    equal(after["broadcast_announce"]["hosting"], "cell")
    for name, p in after.items():
        if not name.startswith("bad_"):
            equal((p.get("restarts", 0), p["state"]), (0, "running"), name)
    equal(home.process.pid, pid)
    with open(home.own("patient", "done"), "w", encoding="utf-8"):
        pass
    out, err = open_task.communicate(timeout=30)
    equal((open_task.returncode, out.strip()), (0, b"well"), f"the task that was open: {err!r}")
    width = max(len(row[0]) for row in rows)
    for row in rows:
        print(f"# {row[0]:{width}}  {row[1]:8}  {row[2]}")
    check(not os.path.exists("/tmp/kos-bad-was-here"), "a file was written")
    # All that were cut off come back.
    for way in ENDS:
        case.until(lambda name="bad_" + way.lower(): plugins(home)[name]["state"] == "running", f"{way} runs again")
    home.stop()


def test_at_start(case):
    """What is bad before it does anything is said at the start, with file, line and plugin, and can be tried beforehand."""
    for way, cause in AT_START.items():
        home = case.node(f"{way.lower().replace('_', '')}.kai")
        wire(home, section(case, way))
        home.start(ready=False)
        equal(home.process.wait(60), 1, way)
        said = home.tail()
        has(said, "bad_" + way.lower())
        check(re.search(cause, said), f"{way}: {said}")
        print(f"# {way}: {said.strip().splitlines()[-1]}")
        home.process = None


def test_reload_of_a_bad_one(case):
    """A module that became bad on disk is refused while the old one goes on."""
    home = case.node("home.kai")
    module = case.path("it.so")
    shutil.copy(os.path.join(BUILD, "tests", "bad", "GOOD.so"), module)
    wire(home, f'    it = {{ module = "{module}"; isolate = true; }};\n')
    home.start()
    before = plugins(home)["it"]
    for way in ("LOAD", "INIT_FAIL", "INIT_CRASH"):
        shutil.copy(os.path.join(BUILD, "tests", "bad", way + ".so"), module + ".new")
        os.rename(module + ".new", module)
        said = home.ctl("plugin", "reload", "it", status=1)
        has(said, "it")
        print(f"# {way}: {said.strip()}")
        has(said, {"LOAD": "the old one works on", "INIT_FAIL": "it does not want to", "INIT_CRASH": "plugin it"}[way])
    check(before["hosting"] == "cell", str(before))
    shutil.copy(os.path.join(BUILD, "tests", "bad", "GOOD.so"), module + ".new")
    os.rename(module + ".new", module)
    home.ctl("plugin", "reload", "it")
    case.until(lambda: plugins(home)["it"]["state"] == "running", "it runs again")


def test_stop_never(case):
    """One that never says stopped does not keep kosd from ending."""
    home = case.node("home.kai")
    wire(home, section(case, "STOP_NEVER"))
    home.start()
    home.stop()
    has(home.tail(), "bad_stop_never")


def test_info_is_safe(case):
    """kosctl plugin info of a hostile file: a sentence, and nothing of it happened here."""
    home = case.node("home.kai")
    said = home.ctl("plugin", "info", os.path.join(BUILD, "tests", "bad", "LOAD.so"), status=1)
    check(re.search(AT_START["LOAD"], said), said)
    done = subprocess.run([program("kosctl"), "plugin", "info", os.path.join(BUILD, "tests", "bad", "GOOD.so")], capture_output=True,
                          check=False, text=True)
    has(done.stdout, "misbehaves when told to")


run(globals())
