#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The control socket, spoken to without kosctl: varlink as varlink.org says it, whoever may and may not, hostile clients; and
kosd's own life: ready, reloading, stopping, in the background."""
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time

from kit import Skipped, check, equal, has, program, run

SERVICE = "org.varlink.service."
INTERFACES = ["org.kos.announce", "org.kos.node", "org.kos.task", "org.varlink.service"]


def test_interfaces_are_varlink(case):
    home = case.node("home.kai").start()
    generator = shutil.which("varlink-go-interface-generator")
    check(generator, "the Debian package varlink-go is missing")
    with home.control() as control:
        info = control.call(SERVICE + "GetInfo")["parameters"]
        equal(sorted(info["interfaces"]), INTERFACES, "what is served")
        equal(sorted(info), ["interfaces", "product", "url", "vendor", "version"], "members")
        for name in INTERFACES:
            description = control.call(SERVICE + "GetInterfaceDescription", {"interface": name})["parameters"]["description"]
            path = case.path(name + ".varlink", description.encode())
            done = subprocess.run([generator, path], cwd=case.dir, capture_output=True, check=False)
            equal((done.returncode, done.stdout + done.stderr), (0, b""), f"another's tool reads {name}")
            check(all(len(line) < 1000 for line in description.splitlines()), "lines that a person can read")
    bad = subprocess.run([generator, case.path("bad.varlink", b"interface org.kos.x\nmethod A(a: b c) -> \n")], capture_output=True, check=False)
    check(bad.returncode != 0, "that tool does refuse what is wrong")


def test_every_method_is_described_and_served(case):
    home = case.node("home.kai").start()
    with home.control() as control:
        for name in INTERFACES[:3]:
            description = control.call(SERVICE + "GetInterfaceDescription", {"interface": name})["parameters"]["description"]
            methods = [line.split()[1].split("(")[0] for line in description.splitlines() if line.startswith("method ")]
            check(len(methods) >= 2, f"{name} has methods")
            for method in methods:
                if method == "PolicyReload":
                    continue
                reply = control.call(f"{name}.{method}", {})
                check("error" not in reply or reply["error"] == name + ".Failed", f"{name}.{method}: {reply}")
                if "error" in reply:
                    equal(sorted(reply["parameters"]), ["error", "retry", "text"], f"{name}.{method}")


def test_errors_are_those_of_varlink(case):
    home = case.node("home.kai").start()
    with home.control() as control:
        for method, parameters, error, said in (
                ("org.nobody.here.Ask", {}, "InterfaceNotFound", {"interface": "org.nobody.here"}),
                (SERVICE + "Nothing", {}, "MethodNotFound", {"method": SERVICE + "Nothing"}),
                ("org.kos.node.Nothing", {}, "MethodNotFound", {"method": "org.kos.node.Nothing"}),
                ("org.kos.task.Nothing", {}, "MethodNotFound", {"method": "org.kos.task.Nothing"}),
                ("org.kos.announce.Nothing", {}, "MethodNotFound", {"method": "org.kos.announce.Nothing"}),
                (SERVICE + "GetInterfaceDescription", {}, "InvalidParameter", {"parameter": "interface"}),
                (SERVICE + "GetInterfaceDescription", {"interface": "org.nobody"}, "InterfaceNotFound", {"interface": "org.nobody"})):
            equal(control.call(method, parameters), {"error": SERVICE + error, "parameters": said}, method)
        reply = control.call("org.kos.node.TrustSet", {"who": "nobody at all", "score": 5})
        equal(reply["error"], "org.kos.node.Failed", "an error of its own")
        equal(reply["parameters"]["retry"], False, "with advice")


def test_wrong_parameters(case):
    home = case.node("home.kai").start()
    home.ctl("agent", "add", "same", "--skill", "x", "--exec", "cat")
    strange = [None, True, 1, -1, 1e300, 2 ** 62, "", "x" * 100000, [], [1], {}, {"a": {}}, ["x"] * 2000]
    methods = {"org.kos.node": ["Connect:address,expect,timeout_ms", "Disconnect:peer", "TrustSet:who,score", "TrustUnset:who", "AgentAdd:name,skills,executor,command,trust_required,concurrency,output_max_bytes",
                                "AgentRemove:name", "PolicyExplain:from,type,size,agent,outbound"],
               "org.kos.task": ["Send:target,inputs,trust,deadline_ms,detach", "Wait:task,from", "Show:task", "Cancel:task"], "org.kos.announce": ["Send:text"]}
    good = {"target": "klp://agent.same.home.kai", "inputs": ["x"], "detach": True, "name": "y", "skills": ["x"], "executor": "exec", "command": "cat", "who": "home.kai", "score": 5, "from": "home.kai", "type": "TASK_REQUEST"}
    with home.control() as control:
        for interface, lines in methods.items():
            for line in lines:
                method, names = line.split(":")
                for name in names.split(","):
                    for value in strange:
                        parameters = {n: good[n] for n in names.split(",") if n in good}
                        parameters[name] = value
                        reply = control.call(f"{interface}.{method}", parameters)
                        check(reply is not None, f"{method} {name} {value!r:.40}: cut off")
                        if "error" in reply:
                            check(reply["error"] in (interface + ".Failed", SERVICE + "InvalidParameter"), f"{method} {name} {value!r:.40}: {reply}")
    equal(home.ctl("task", "send", "klp://agent.same.home.kai", "--input", "still here"), "still here", "afterwards")


def test_pipelined_calls(case):
    home, laptop = case.node("home.kai").start(), case.node("laptop.kai")
    home.ctl("agent", "add", "same", "--skill", "x", "--exec", "cat")
    with home.control() as control:
        for n in range(200):
            control.send("org.kos.node.TrustSet", {"who": laptop.address, "score": n % 10}) if n % 2 else control.send("org.kos.node.Id")
        for n in range(200):
            reply = control.read()
            equal(reply["parameters"].get("score" if n % 2 else "name"), float(n % 10) if n % 2 else "home.kai", f"answer {n} in order")
        control.send("org.kos.node.Id", oneway=True)
        control.send("org.kos.task.Send", {"target": "klp://agent.same.home.kai", "inputs": ["x"]}, more=True)
        control.send("org.kos.node.Id")
        events = []
        while True:
            reply = control.read()
            events.append(reply)
            if not reply.get("continues"):
                break
        equal([e["parameters"]["event"] for e in events][-2:], ["part", "result"], "one call after another; oneway has no answer")
        equal(control.read()["parameters"]["id"], home.id, "then the next")
        message = json.dumps({"method": "org.kos.node.Id"}).encode() + b"\0"
        for n in range(len(message)):
            control.socket.sendall(message[n:n + 1])
        equal(control.read()["parameters"]["id"], home.id, "byte by byte")


GARBAGE = (b"garbage\0", b"\0", b"{}\0", b"[]\0", b'{"method":5}\0', b'{"method":"x"}\0', b'{"method":".x"}\0', b'{"method":"org.kos.node.Id","parameters":[]}\0', b'{"method":"org.kos.node.Id"', b"\xff\xfe\0",
           b'{"method":"org.kos.node.Id","method":"org.kos.node.Id"}\0', b"[" * 100000 + b"\0", b'{"a":' * 100000 + b"\0", b"GET / HTTP/1.1\r\n\r\n\0", b'{"method":"a.' + b"x" * 3000000 + b'"}\0')


def test_hostile_clients(case):
    home = case.node("home.kai").start()
    for data in GARBAGE:
        with home.control() as control:
            control.socket.sendall(data)
            control.socket.shutdown(socket.SHUT_WR)
            reply = control.read()
            check(reply is None or reply["error"].startswith(SERVICE), f"{data[:30]}: {reply}")
            equal(control.read(), None, "cut off")
    with home.control() as control:
        try:
            control.socket.sendall(b"x" * (5 << 20))
        except OSError:
            pass
        equal(control.read(), None, "a message of 5 MiB")
    has(home.tail(), "4194304")
    with home.control() as never_reads:
        never_reads.socket.settimeout(3)
        call = json.dumps({"method": SERVICE + "GetInterfaceDescription", "parameters": {"interface": "org.kos.node"}}).encode() + b"\0"
        try:
            for _ in range(200):
                never_reads.socket.sendall(call * 500)
        except OSError:
            pass
        equal(home.json("status")["status"]["pid"], home.process.pid, "others are served meanwhile")
        with open(f"/proc/{home.process.pid}/statm", encoding="ascii") as file:
            check(int(file.read().split()[1]) < 300 << 8, "its memory is bounded")


def test_as_many_clients_as_there_may_be(case):
    home = case.node("home.kai").start()
    clients = [home.control() for _ in range(64)]
    for client in clients:
        equal(client.call("org.kos.node.Id")["parameters"]["id"], home.id, "each is served")
    with home.control() as one_more:
        equal(one_more.read(), None, "one more is not")
    has(home.tail(), "64 are connected")
    has(home.ctl("status", status=1), "its log says why")
    clients.pop().socket.close()
    case.until(lambda: home.raw("status").returncode == 0, "the next is when one has left")
    for client in clients:
        client.socket.close()


def test_another_user_is_refused(case):
    if os.geteuid() != 0:
        raise Skipped("needs root, to become another user")
    home = case.node("home.kai").start()
    path = os.path.join(home.dir, "kosd.sock")
    equal(os.stat(path).st_mode & 0o777, 0o600, "the socket's mode")
    for directory in (case.dir, home.dir):
        os.chmod(directory, 0o755)
    os.chmod(path, 0o777)
    script = ("import socket,sys;s=socket.socket(socket.AF_UNIX);s.connect(sys.argv[1]);s.settimeout(30)\n"
              "try:\n s.sendall(b'{\"method\":\"org.kos.node.Id\"}\\0');print(s.recv(100))\nexcept ConnectionError:\n print(b'')")
    as_nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", sys.executable if os.access(os.path.realpath(sys.executable), os.X_OK) and not sys.executable.startswith("/root") else "/usr/bin/python3", "-c", script, path]
    done = subprocess.run(as_nobody, capture_output=True, check=False)
    equal((done.returncode, done.stdout), (0, b"b''\n"), f"not a byte: {done.stderr.decode()}")
    has(home.tail(), "of user 65534")
    equal(home.json("id")["id"], home.id, "who may is served")


def test_who_hangs_up_does_not_end_the_task(case):
    home, laptop = case.pair()
    home.ctl("agent", "add", "gated", "--skill", "x", "--exec", "echo begun; while ! [ -e go ]; do sleep 0.02; done; echo ended")
    with laptop.control() as control:
        control.send("org.kos.task.Send", {"target": "klp://agent.gated.home.kai", "inputs": []}, more=True)
        task = None
        while True:
            event = control.read()["parameters"]
            task = event["task"]
            if event["event"] == "part":
                break
    sending = laptop.popen("task", "send", "klp://agent.gated.home.kai")
    case.until(lambda: len(laptop.json("task", "list")["tasks"]) == 2, "a second one, by kosctl")
    sending.send_signal(signal.SIGTERM)  # not SIGINT, which who runs this in the background may have had ignored
    sending.communicate(timeout=30)
    with open(home.own("gated", "go"), "w", encoding="utf-8"):
        pass
    for one in laptop.json("task", "list")["tasks"]:
        equal(laptop.ctl("task", "wait", one["task"]), "begun\nended\n", "it went on")
    equal(laptop.json("task", "show", task)["task"]["state"], "done", "and ended well")


def test_watch_ends_with_its_watcher(case):
    home = case.node("home.kai").start()
    with home.control() as control:
        control.send("org.kos.node.Watch")
        equal(control.read()["error"], "org.kos.node.Failed", "it needs more")
    for _ in range(100):
        with home.control() as control:
            control.send("org.kos.node.Watch", more=True)
    with home.control() as control:
        control.send("org.kos.node.Watch", more=True)
        laptop = case.node("laptop.kai", listen=False).start()
        laptop.ctl("connect", f"peer://127.0.0.1:{home.port}")
        seen = control.read()
        equal((seen["continues"], seen["parameters"]["event"]), (True, "peer_up"), "the first thing that happens")


def told(notify, word):
    notify.settimeout(30)
    seen = []
    while word not in seen:
        seen += notify.recv(4096).decode().split("\n")
    return seen


def test_what_systemd_is_told(case):
    home = case.node("home.kai")
    path = os.path.join(case.dir, "notify")
    for address in (path, "\0kos-test-" + os.path.basename(case.dir)):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.bind(address)
            env = {**os.environ, "NOTIFY_SOCKET": address.replace("\0", "@")}
            process = subprocess.Popen([program("kosd"), "-i", home.dir, "--foreground"], env=env, stderr=subprocess.DEVNULL)
            case.processes.append(process)
            told(notify, "READY=1")
            with socket.create_connection(("127.0.0.1", home.port)):
                pass
            equal(home.json("status")["status"]["pid"], process.pid, "ready means that it serves")
            process.send_signal(signal.SIGHUP)
            told(notify, "RELOADING=1")
            told(notify, "READY=1")
            process.send_signal(signal.SIGTERM)
            told(notify, "STOPPING=1")
            equal(process.wait(30), 0, "its exit status")


def test_in_the_background(case):
    home = case.node("home.kai")
    done = subprocess.run([program("kosd"), "-i", home.dir], capture_output=True, timeout=60, check=False)
    equal((done.returncode, done.stdout), (0, b""), done.stderr.decode())
    pid = home.json("status")["status"]["pid"]
    equal(os.getsid(pid), pid, "a session of its own")
    home.ctl("agent", "add", "same", "--skill", "x", "--exec", "cat")
    equal(home.ctl("task", "send", "klp://agent.same.home.kai", "--input", "x"), "x", "it works")
    os.kill(pid, signal.SIGTERM)
    case.until(lambda: home.raw("status").returncode == 3 and not os.path.exists(f"/proc/{pid}"), "it ends")
    with open(os.path.join(home.dir, "state", "kosd.log"), encoding="utf-8") as log:
        has(log.read(), "stopping")
    check(not os.path.exists(os.path.join(home.dir, "kosd.sock")), "its socket is gone")


def test_a_socket_that_was_left_behind(case):
    home = case.node("home.kai").start()
    home.stop(signal.SIGKILL)
    check(os.path.exists(os.path.join(home.dir, "kosd.sock")), "a killed kosd leaves its socket")
    has(home.ctl("status", status=3), "kosd.sock")
    home.start()
    home.ctl("status")


def test_a_clean_end_with_all_open(case):
    home, laptop = case.pair()
    home.ctl("agent", "add", "stubborn", "--skill", "x", "--concurrency", "3", "--exec", "trap '' TERM; echo begun; sleep 3221 & sleep 3221")
    home.ctl("agent", "add", "stays", "--skill", "x", "--stdio", "trap '' TERM; while :; do sleep 3221; done")
    sends = [laptop.popen("task", "send", f"klp://agent.{name}.home.kai") for name in ("stubborn", "stubborn", "stays")]
    case.until(lambda: sum(a["running"] for a in home.json("agent", "list")["agents"]) == 3, "all run")
    begun = time.monotonic()
    home.stop()
    check(time.monotonic() - begun < 30, "it ends soon")
    case.until(lambda: not subprocess.run(["pgrep", "-f", "sleep 3221"], capture_output=True, check=False).stdout, "all that ran has ended")
    case.until(lambda: not laptop.peer(home)["sessions"], "laptop heard it")
    home.start()
    for process in sends:
        _, err = process.communicate(timeout=60)
        equal(process.returncode, 1, err.decode())
        has(err.decode(), "outcome_unknown")
    laptop.stop()


run(globals())
