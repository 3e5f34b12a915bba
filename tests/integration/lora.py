#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Nodes that have nothing but a LoRa medium: real kosds with the plugin, over kos-radio-sim, which judges them."""
import json
import os
import re
import subprocess

from kit import check, equal, has, program, run

POLICY = """version = 1;
plugins = {
    lora = {
        module = "lora.so";
        isolate = true;
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


def test_three_hundred_bytes_in_three_packets(case):
    radio, home, laptop = pair(case, "--speed", "5")
    laptop.ctl("task", "send", "klp://agent.shout.home.kai", "--input", "a session and all that it begins with")
    quiet(case, radio)
    before = len(radio.frames())
    equal(laptop.ctl("task", "send", "klp://agent.shout.home.kai", "--input", "x" * 300), "X" * 300, "the task")
    asked = radio.frames()[before:]
    quiet(case, radio)
    whole = radio.frames()[before:]
    sizes = [[f["bytes"] for f in frames if f["from"] == n] for frames in (asked, whole) for n in (1, 0)]
    print("# bytes of each frame until the result is here: there", sizes[0], "back", sizes[1], "- with what acknowledges it: there", sizes[2],
          "back", sizes[3])
    check(len(sizes[0]) <= 3 and len(sizes[1]) <= 3, f"at most three each way: {sizes}")
    # The last word is an acknowledgement of a few bytes that waited for company in vain.
    check(len(sizes[2]) <= 3 and len(sizes[3]) <= 4 and (len(sizes[3]) < 4 or sizes[3][-1] < 64), f"and little after it: {sizes}")
    check(max(f["bytes"] for f in whole) <= 500, "500 bytes at a time")
    lawful(radio)


def test_the_budget_used_up(case):
    # 0.3 % is 10.8 s in an hour: a handshake and a few tasks. The simulator's hour is shorter than ours, and it judges by it.
    radio, home, laptop = pair(case, "--speed", "10", "--duty", "0.3",
                               settings='region = "eu868"; frequency = 868300000; spreading = 7; duty_cycle = 0.3;')
    modem = status(laptop)["modem"]
    equal((modem["band"], modem["limit_ms"], modem["window_ms"]), ("eu868 g1", 10800, 3600000), "the law")
    send = ("task", "send", "klp://agent.shout.home.kai", "--deadline", "10s", "--input")
    said = laptop.ctl(*send, "x" * 12000, status=1)
    has(said, "limit_exceeded")
    has(said, "bytes take")
    has(said, "ms of airtime on lora://0x0001")
    frames = radio.stats()["frames"]
    answers = []
    while len(answers) < 15 and not (answers and answers[-1]):
        answers.append(laptop.raw(*send, "y" * 200, timeout=60).stderr.decode())
    check(answers[-1], "fifteen tasks are more than 10.8 s of airtime")
    print("#", len(answers) - 1, "tasks, then:", answers[-1].strip())
    check(any(word in answers[-1] for word in ("airtime", "deadline", "expired")), answers[-1])
    check(len(answers) > 1, "and one is less")
    check(radio.stats()["frames"] <= frames + 100, "it waits, it does not flood")
    for node in (home, laptop):
        check(status(node)["modem"]["used_ms"] <= 10800, f"within the law: {status(node)}")
    check(max(status(node)["modem"]["used_ms"] for node in (home, laptop)) > 9000, "and used as far as it goes")
    lawful(radio)


def test_a_modem_that_starts_anew(case):
    radio, home, laptop = pair(case, "--speed", "10")
    equal(laptop.ctl("task", "send", "klp://agent.shout.home.kai", "--input", "before"), "BEFORE", "before")
    for number, node in ((1, laptop), (0, home)):
        radio.tell(f"reset {number}")
        case.until(lambda: "started anew (reset or power loss)" in node.tail(), "the log says it")
        case.until(lambda: status(node)["modem"]["state"] == "online", "and it is set again")
        case.until(lambda: all(e["up"] for e in status(node)["endpoints"]) and status(node)["endpoints"], "and listened on")
        equal(laptop.ctl("task", "send", "klp://agent.shout.home.kai", "--input", "after"), "AFTER", f"after {node.name}")
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


def test_it_conforms(case):
    radio = Radio(case, "--nodes", "1", "--speed", "10")
    settings = [f"--settings={word}" for word in (f"device={radio.paths[0]}", "region=none", "frequency=868300000", "bandwidth=500000",
                                                  "spreading=7")]
    done = subprocess.run([program("kos-conform"), "--hosting", "both", *settings, "--listen", "lora://0x1", program("plugins/transport/lora/.libs/lora.so")],
                          capture_output=True, text=True, timeout=300, check=False)
    equal(done.returncode, 0, done.stdout[-1500:] + done.stderr[-500:])
    check(re.search(r"^ok \d+ - transport/listen:", done.stdout, re.M), done.stdout)
    lawful(radio)


run(globals())
