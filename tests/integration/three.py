#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Three nodes: two ask one at once, policies that change under open sessions, quotas of one that leave the other alone, and
connections that come, go, move and cross."""
import json
import os
import time

from kit import check, equal, free_port, has, run

ECHO = "klp://agent.echo.home.kai"


def three(case):
    home = case.node("home.kai").start()
    askers = [case.node(name, listen=False).start() for name in ("laptop.kai", "phone.kai")]
    for asker in askers:
        asker.ctl("connect", f"peer://127.0.0.1:{home.port}")
        home.ctl("trust", asker.address)
        asker.ctl("trust", home.address)
    home.ctl("agent", "add", "echo", "--skill", "text", "--concurrency", "4", "--exec", "cat")
    return home, *askers


def sessions(one, other):
    return (one.peer(other) or {"sessions": []})["sessions"]


def reload(node, name, text):
    node.policy(name, text)
    node.ctl("policy", "reload")


def send(asker, text, *arguments):
    return asker.raw("task", "send", ECHO, "--input", text, *arguments)


def test_two_ask_one_at_once(case):
    home, laptop, phone = three(case)
    rounds = 12
    sends = [(asker, n, asker.popen("--json", "task", "send", ECHO, "--input", f"{asker.label} {n}")) for n in range(rounds) for asker in (laptop, phone)]
    for asker, n, process in sends:
        out, err = process.communicate(timeout=60)
        equal(process.returncode, 0, err.decode())
        equal(json.loads(out)["output"], f"{asker.label} {n}", "each gets its own answer")
    agent = home.agent("echo")
    equal((agent["done"], agent["failed"], agent["running"]), (2 * rounds, 0, 0), "all were done")
    for asker in (laptop, phone):
        equal(len(asker.json("task", "list")["tasks"]), rounds, "and are kept by whom they concern")
    equal(len(home.json("task", "list")["tasks"]), 2 * rounds, "home knows them all")
    equal({t["with"] for t in home.json("task", "list")["tasks"]}, {laptop.address, phone.address} if any(laptop.id in t["with"] for t in home.json("task", "list")["tasks"])
          else {"klp://node.laptop.kai", "klp://node.phone.kai"}, "by whom they were asked")


def test_one_is_blocked_midway(case):
    home, laptop, phone = three(case)
    home.ctl("agent", "add", "gated", "--skill", "x", "--concurrency", "4", "--exec", "echo begun; while ! [ -e go ]; do sleep 0.02; done; echo ended")
    tasks = {asker: asker.ctl("task", "send", "klp://agent.gated.home.kai", "--detach", "--deadline", time).strip() for asker, time in ((laptop, "60s"), (phone, "5s"))}
    for asker, task in tasks.items():
        case.until(lambda a=asker, t=task: a.json("task", "show", t)["task"]["bytes"] == 6, "both are under way")
    reload(home, "block", f'peers = {{ block = [ "{phone.id}" ]; }};')
    case.until(lambda: not sessions(home, phone), "the session with who is blocked ends")
    with open(home.own("gated", "go"), "w", encoding="utf-8"):
        pass
    equal(laptop.ctl("task", "wait", tasks[laptop]), "begun\nended\n", "the other's task goes on")
    equal(send(laptop, "x").stdout, b"x", "and new ones are taken")
    blocked = send(phone, "x", "--deadline", "1s")
    equal(blocked.returncode, 4, blocked.stderr.decode())
    reload(home, "block", 'name = "block";')
    phone.ctl("connect", f"peer://127.0.0.1:{home.port}")
    equal(send(phone, "y").stdout, b"y", "unblocked")
    has(phone.ctl("task", "wait", tasks[phone], status=4), "deadline_passed")
    case.until(lambda: home.json("task", "show", tasks[phone])["task"]["state"] == "done", "home has done with it")
    equal(home.agent("gated")["running"], 0, "nothing runs for it any more")


def test_trust_is_taken_back_under_an_open_session(case):
    home, laptop, phone = three(case)
    home.ctl("trust", phone.address, "4")
    has(send(phone, "x").stderr.decode(), "trust_too_low")
    equal(send(laptop, "x").stdout, b"x", "the other one")
    reload(home, "session", "trust = { session = 5.0; };")
    case.until(lambda: not sessions(home, phone), "a threshold for sessions ends those below it")
    check(sessions(home, laptop), "and no other")
    home.ctl("trust", phone.address, "5")
    phone.ctl("connect", f"peer://127.0.0.1:{home.port}")
    equal(send(phone, "x").stdout, b"x", "enough")


def test_messages_per_minute(case):
    home, laptop, phone = three(case)
    reload(home, "quota", f'limits = ( {{ peer = "{phone.id}"; type = "TASK_REQUEST"; messages_per_minute = 2; }} );')
    equal([send(phone, "x").returncode for _ in range(2)], [0, 0], "within the quota")
    third = phone.ctl("task", "send", ECHO, "--input", "third", "--detach").strip()
    case.until(lambda: home.counters()["refused"].get("quota_exceeded"), "the third is refused for now")
    has(home.tail(), "quota.klp-policy:1")
    for n in range(8):
        equal(send(laptop, f"{n}").stdout, f"{n}".encode(), "the other is not harmed")
    reload(home, "quota", 'name = "quota";')
    begun = time.monotonic()
    equal(phone.ctl("task", "wait", third), "third", "it was kept and is tried again")
    check(time.monotonic() - begun < 55, "soon")
    reload(home, "quota", f'limits = ( {{ peer = "{phone.id}"; type = "TASK_REQUEST"; messages_per_minute = 1; }} );')
    outcomes = [phone.raw("--json", "task", "send", ECHO, "--input", "x", "--deadline", "2s") for _ in range(3)]
    late = [json.loads(done.stdout) for done in outcomes if done.returncode]
    check(len(late) >= 2, "beyond the quota")
    for one in late:
        check(one["error"] in ("quota_exceeded", "deadline_passed") and one["retry"] is True, f"trying again can help: {one}")


def test_concurrent_tasks(case):
    home, laptop, phone = three(case)
    home.ctl("agent", "add", "gated", "--skill", "x", "--concurrency", "8", "--exec", "echo begun; while ! [ -e go ]; do sleep 0.02; done; echo ended")
    reload(home, "quota", f'limits = ( {{ peer = "{phone.id}"; type = "TASK_REQUEST"; concurrent_tasks = 2; }} );')
    tasks = [phone.ctl("task", "send", "klp://agent.gated.home.kai", "--detach").strip() for _ in range(4)]
    others = [laptop.ctl("task", "send", "klp://agent.gated.home.kai", "--detach").strip() for _ in range(4)]
    case.until(lambda: home.agent("gated")["running"] == 6, "two of one, four of the other")
    outcomes = [phone.raw("--json", "task", "wait", task) for task in tasks[2:]]
    for done in outcomes:
        said = json.loads(done.stdout)
        equal((said["error"], said["retry"]), ("quota_exceeded", True), "the rest is refused, and may be tried again")
        has(said["text"], "2")
    equal(home.agent("gated")["running"], 6, "no more than that")
    with open(home.own("gated", "go"), "w", encoding="utf-8"):
        pass
    equal([laptop.ctl("task", "wait", task) for task in others], ["begun\nended\n"] * 4, "the other's")
    equal([phone.ctl("task", "wait", task) for task in tasks[:2]], ["begun\nended\n"] * 2, "the one's")
    equal(phone.ctl("task", "send", "klp://agent.gated.home.kai"), "begun\nended\n", "tried again")


def test_disconnect_and_connect(case):
    home, laptop, phone = three(case)
    for _ in range(5):
        laptop.ctl("disconnect", home.address)
        case.until(lambda: not sessions(home, laptop), "home sees it go")
        check(sessions(home, phone), "the other stays")
        laptop.ctl("connect", f"peer://127.0.0.1:{home.port}")
        equal(send(laptop, "x").stdout, b"x", "connected again")
    laptop.ctl("disconnect", home.address)
    laptop.stop().start()
    equal(sessions(laptop, home), [], "it does not dial by itself after that")
    phone.ctl("connect", f"peer://127.0.0.1:{home.port}")
    equal(len(sessions(phone, home)), 1, "connecting twice is one session")
    laptop.ctl("connect", home.address)
    equal(send(laptop, "x").stdout, b"x", "by its id, at the address that is known")


def test_a_node_moves_to_another_port(case):
    home, laptop, phone = three(case)
    home.stop()
    home.port = free_port()
    home.setting("listen", f'[ "tcp://127.0.0.1:{home.port}" ]')
    home.start()
    equal(send(laptop, "x", "--deadline", "1s").returncode, 4, "nobody is at the old address")
    for asker in (laptop, phone):
        asker.ctl("connect", f"peer://127.0.0.1:{home.port}")
        equal(send(asker, "x").stdout, b"x", "reached again, by the name it had")
        equal(len({p["id"] for p in asker.json("peers")["peers"]}), 1, "it is still one peer")
    home.stop().start()
    for asker in (laptop, phone):
        case.until(lambda a=asker: sessions(a, home), "they come back to the new address by themselves")


def test_both_connect_at_the_same_time(case):
    nodes = [case.node(name).start() for name in ("home.kai", "laptop.kai", "phone.kai")]
    connects = [one.popen("connect", f"peer://127.0.0.1:{other.port}") for one in nodes for other in nodes if one is not other]
    for process in connects:
        _, err = process.communicate(timeout=60)
        equal(process.returncode, 0, err.decode())
    for one in nodes:
        one.ctl("agent", "add", "me", "--skill", "x", "--exec", f"cat; echo {one.label}")
        for other in nodes:
            if one is not other:
                one.ctl("trust", other.address)
    for _ in range(3):
        for one in nodes:
            for other in nodes:
                if one is not other:
                    equal(one.ctl("task", "send", f"klp://agent.me.{other.name}", "--input", f"{one.label} to "), f"{one.label} to {other.label}\n", "each way")
    nodes[0].stop()
    equal(nodes[1].ctl("task", "send", "klp://agent.me.phone.kai"), "phone\n", "without the third")
    nodes[0].start()
    for other in nodes[1:]:
        case.until(lambda o=other: sessions(nodes[0], o), "they find each other again")
        equal(nodes[0].ctl("task", "send", f"klp://agent.me.{other.name}"), f"{other.label}\n", "and work")


def test_names_are_the_operators_word(case):
    home, laptop = case.pair()
    home.ctl("agent", "add", "echo", "--skill", "x", "--exec", "cat")
    false = case.node("false.kai")
    false.setting("name", '"home.kai"')
    false.start()
    false.ctl("agent", "add", "echo", "--skill", "x", "--exec", "echo I am false")
    laptop.ctl("connect", f"peer://127.0.0.1:{false.port}")
    false.ctl("trust", laptop.address)
    equal(send(laptop, "true").stdout, b"true", "a name that is given stays with whom it was given to")
    equal(laptop.peer(false)["claimed_name"], "home.kai", "what the other calls itself")
    check(laptop.peer(false)["name"] != laptop.peer(home)["name"], "is not its name here")
    home.stop()
    done = send(laptop, "x", "--deadline", "1s")
    check(b"false" not in done.stdout, "nor when the true one is away")
    check(os.path.exists(home.dir), "home")


run(globals())
