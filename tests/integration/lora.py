#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Nodes that have nothing but a LoRa medium: real kosds with the plugin, over kos-radio-sim, which judges them."""
import json
import os
import subprocess

from kit import check, equal, has, program, run

POLICY = """version = 1;
plugins = {
    lora = {
        module = "lora.so";
        isolate = false;
        rights = [ "device" ];
        settings = { device = "%s"; address = "0x%04x"; %s };
    };
};
"""
FAST = 'region = "none"; frequency = 868300000; bandwidth = 500000; spreading = 7;'


class Radio:
    def __init__(self, case, *options):
        self.trace = os.path.join(case.dir, "radio.trace")
        self.process = subprocess.Popen([program("tests/radio/kos-radio-sim"), "--trace", self.trace, *options], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        case.processes.append(self.process)
        self.paths = []
        for line in self.process.stdout:
            if line == "ready\n":
                break
            self.paths.append(line.split()[2])

    def tell(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()

    def stats(self):
        self.tell("stats")
        return json.loads(self.process.stdout.readline())

    def frames(self):
        with open(self.trace, encoding="utf-8") as trace:
            return [json.loads(line) for line in trace if line.endswith("\n")]


def on_air(case, radio, number, name, settings=FAST):
    node = case.node(name, listen=False, arguments=["--listen", f"lora://0x{number + 1:04x}"])
    node.policy("lora", POLICY % (radio.paths[number], number + 1, settings))
    return node.start()


def meet(a, b, number):
    """a knows b as the node with the short address number + 1."""
    a.ctl("connect", f"lora://0x{number + 1:04x}")
    a.ctl("trust", b.address)
    b.ctl("trust", a.address)


def status(node):
    with node.control() as control:
        answer = control.call("org.kos.lora.Status")
        check("parameters" in answer, f"Status: {answer}")
        return answer["parameters"]


def pair(case, *options, settings=FAST):
    """home, which has agents, and laptop, which knows it: over the air alone."""
    radio = Radio(case, "--nodes", "2", *options)
    home, laptop = on_air(case, radio, 0, "home.kai", settings), on_air(case, radio, 1, "laptop.kai", settings)
    meet(laptop, home, 0)
    home.ctl("agent", "add", "shout", "--skill", "text", "--exec", "tr a-z A-Z")
    return radio, home, laptop


def quiet(case, radio):
    """Until nothing more is said: what was to be acknowledged is."""
    last = [None, 0]

    def look():
        frames = radio.stats()["frames"]
        last[:] = [frames, last[1] + 1 if frames == last[0] else 0]
        return last[1] >= 20
    case.until(look, "the medium is quiet")


def lawful(radio):
    for node in radio.stats()["nodes"]:
        equal((node["violations"], node["bad_commands"], node["overruns"]), (0, 0, 0), f"node {node['node']}")


def test_a_task_over_the_air(case):
    radio, home, laptop = pair(case, "--speed", "5")
    equal(laptop.ctl("task", "send", "klp://agent.shout.home.kai", "--input", "over the air"), "OVER THE AIR", "a task")
    blob = bytes(range(97, 123)) * 100
    done = laptop.raw("task", "send", "klp://agent.shout.home.kai", "--input", "@" + case.path("blob", blob))
    equal(done.stdout, blob.upper(), f"what takes many frames: {done.stderr}")
    quiet(case, radio)
    stats = radio.stats()
    for node, simulated in ((home, stats["nodes"][0]), (laptop, stats["nodes"][1])):
        modem = status(node)["modem"]
        equal((modem["state"], modem["firmware"], modem["mtu"]), ("online", "1.74", 500), "the modem")
        equal(modem["sent"], simulated["sent"], "frames")
        # Two programs reckoned it apart from each other.
        check(simulated["airtime_ms"] <= modem["airtime_ms"] <= simulated["airtime_ms"] + modem["sent"] / 1000 + 1,
              f"airtime: {modem} {simulated}")
        check(modem["rssi"] < 0, "a signal was heard")
    link = status(home)["links"][0]
    equal((link["local"], link["remote"], link["accepted"], link["waiting"]), ("0x0001", "0x0002", True, 0), "the link")
    lawful(radio)
    check(max(f["bytes"] for f in radio.frames()) <= 500, "no frame is above 500 bytes")


def test_three_nodes_and_a_medium_that_loses(case):
    radio = Radio(case, "--nodes", "3", "--speed", "10", "--loss", "0.15", "--delay", "5", "--seed", "3")
    nodes = [on_air(case, radio, i, name) for i, name in enumerate(("one.kai", "two.kai", "three.kai"))]
    for a in range(3):
        b = (a + 1) % 3
        meet(nodes[a], nodes[b], b)
        nodes[b].ctl("agent", "add", "shout", "--skill", "text", "--exec", "tr a-z A-Z")
    asked = []
    for a in range(3):
        name = nodes[(a + 1) % 3].name
        asked.append((nodes[a].popen("task", "send", f"klp://agent.shout.{name}", "--input", f"from {a} " + "x" * 600), a))
    for process, a in asked:
        out, err = process.communicate(timeout=120)
        case.processes.append(process)
        equal(out.decode(), f"FROM {a} " + "X" * 600, f"{nodes[a].name}: {err}")
    stats = radio.stats()
    check(sum(n["lost"] for n in stats["nodes"]) > 0, "the medium lost something")
    for node in nodes:
        equal(sorted(l["remote"] for l in status(node)["links"]),
              sorted(f"0x{i + 1:04x}" for i in range(3) if nodes[i] is not node), "links")
    lawful(radio)


def test_the_budget_used_up(case):
    # 0.1 % is 3.6 s in an hour: a handshake and little more. The simulator's hour is shorter than ours, and it judges by it.
    radio, home, laptop = pair(case, "--speed", "10", "--duty", "0.1",
                               settings='region = "eu868"; frequency = 868950000; bandwidth = 125000; spreading = 7;')
    modem = status(laptop)["modem"]
    equal((modem["band"], modem["limit_ms"], modem["window_ms"]), ("eu868 g2", 3600, 3600000), "the law")
    task = laptop.popen("task", "send", "klp://agent.shout.home.kai", "--input", "x" * 3000, "--deadline", "20s")
    case.processes.append(task)
    case.until(lambda: status(laptop)["modem"]["next_frame_ms"] > 0 or task.poll() is not None, "the budget is used up")
    out, err = task.communicate(timeout=60)
    check(task.returncode != 0, f"a task that the air cannot carry: {out} {err}")
    said = err.decode()
    print("#", said.strip())
    check(any(word in said for word in ("airtime", "deadline", "expired")), said)
    modem = status(laptop)["modem"]
    check(modem["used_ms"] <= 3600, f"within the law: {modem}")
    lawful(radio)


def test_a_modem_that_starts_anew(case):
    radio, home, laptop = pair(case, "--speed", "10")
    equal(laptop.ctl("task", "send", "klp://agent.shout.home.kai", "--input", "before"), "BEFORE", "before")
    radio.tell("reset 1")
    case.until(lambda: "started anew" in laptop.tail(), "the log says it")
    has(laptop.ctl("status"), "started anew (reset or power loss)")
    equal(laptop.ctl("task", "send", "klp://agent.shout.home.kai", "--input", "after"), "AFTER", "after")
    lawful(radio)


def test_what_is_no_modem(case):
    node = case.node("home.kai", listen=False, arguments=["--listen", "lora://0x0001"])
    # The links are every Linux system's own: one leads out of /dev, the other to /dev/null, which is kosd's standard input.
    for device, settings, said in (("/dev/kos-no-such-modem", FAST, "there is no device /dev/kos-no-such-modem"),
                                   ("/dev/fd", FAST, "the device's name is a link that leads out of /dev"),
                                   ("/dev/stdin", FAST, "/dev/stdin is not a serial port"),
                                   ("/dev/../etc/passwd", FAST, "a device is named device:/dev/NAME"),
                                   ("/dev/null", FAST.replace('"none"', '"eu868"').replace("8683", "8686"),
                                    "eu868 has no band for 500000 Hz wide signals at 868600000 Hz")):
        node.policy("lora", POLICY % (device, 1, settings))
        node.start(ready=False)
        equal(node.process.wait(60) != 0, True, f"{device}: a node that hears nothing does not stay")
        node.process = None
        has(node.tail(), said)


run(globals())
