#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""bridge/nats in real kosds, with a real nats-server: what a stream holds crosses the mesh and stands in another stream at the
other end, each once, whatever is killed meanwhile."""
import json
import os
import signal
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "interop"))
from kit import DEADLINE, check, equal, has, run  # noqa: E402
from nats_server import Client, Server  # noqa: E402

OPEN = 'messages = { allow = [ "ORDER" ]; };\ntrust = { ORDER = 5; };\n'


def secret(node, name, value):
    folder = os.path.join(node.dir, "keys", "secrets")
    os.makedirs(folder, mode=0o700, exist_ok=True)
    with open(os.open(os.path.join(folder, name), os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="ascii") as file:
        file.write(value)


def bridged(node, server, maps="", settings="", isolate="false"):
    secret(node, "nats.seed", server.user.seed + "\n")
    authority = server.ca[0]
    if isolate == "true":
        with open(authority, encoding="ascii") as file:
            authority = file.read().replace("\n", "\\n")
    node.policy("nats", OPEN + f"""plugins = {{
  nats = {{ module = "nats.so"; isolate = {isolate}; rights = [ "net", "send" ]; {maps}
           settings = {{ servers = [ "{server.url}" ]; tls_ca = "{authority}"; nkey = "seed"; ack_timeout = "1s"; {settings} }}; }};
}};""")


def inward(subject, target, **more):
    extra = " ".join(f'{k} = "{v}";' for k, v in more.items())
    return f'inward = ( {{ subject = "{subject}"; type = "ORDER"; target = "{target}"; {extra} }} );'


def status(node):
    with node.control() as control:
        return control.call("org.kos.nats.Status")["parameters"]


def pair(case, server, isolate="false"):
    """in.> -> home -> mesh -> laptop -> out.ORDER"""
    home, laptop = case.node("home.kai"), case.node("laptop.kai", listen=False)
    bridged(home, server, settings=inward("in.>", laptop.address), isolate=isolate)
    bridged(laptop, server, maps='maps = ( { type = "ORDER"; destination = "out.{type}"; } );', isolate=isolate)
    home.start()
    laptop.start()
    laptop.ctl("connect", f"peer://127.0.0.1:{home.port}")
    home.ctl("trust", laptop.address)
    laptop.ctl("trust", home.address)
    return home, laptop


def streams(server):
    client = Client(server)
    client.stream("OUT", "out.>")
    client.stream("IN", "in.>")
    return client


def test_through_two_nodes(case):
    server = Server(case.path("server")).start()
    client = streams(server)
    home, laptop = pair(case, server)
    client.publish("in.a", b'{"n":1}')
    case.until(lambda: client.state("OUT")["messages"] == 1, "it stands at the other end")
    (_, subject, headers, body), = client.messages("OUT")
    document = json.loads(body)
    equal((subject, document["payload"], document["source_id"]), ("out.ORDER", {"n": 1}, home.id))
    has(headers, "Kos-Origin: " + status(laptop)["origin"])
    equal(status(home)["counters"]["injected"], 1)
    equal(status(laptop)["counters"]["delivered"], 1)
    # What the node refuses for good is said and left out, and what is behind it comes.
    client.publish("in.a", b"no json")
    client.publish("in.a", b'{"n":2}')
    case.until(lambda: client.state("OUT")["messages"] == 2, "the next one comes")
    equal(status(home)["counters"]["terminated"], 1)
    has(home.tail(), "message 2 of the stream IN was left out for good")
    home.stop()
    laptop.stop()


def test_what_is_killed_in_the_middle(case):
    server = Server(case.path("server")).start()
    streams(server)
    home, laptop = pair(case, server)
    count, sent = 600, [0]

    def publish():
        while sent[0] < count:
            try:
                client = Client(server)
                while sent[0] < count:
                    client.publish(f"in.{sent[0] % 3}", json.dumps({"n": sent[0]}).encode(), {"Nats-Msg-Id": f"test{sent[0]}"})
                    sent[0] += 1
                    time.sleep(0.005)
            except (OSError, AssertionError):
                time.sleep(0.05)

    publisher = threading.Thread(target=publish, daemon=True)
    publisher.start()
    for number, what in enumerate([home, server, laptop, home, laptop, server]):
        goal = (number + 1) * count // 8
        case.until(lambda: sent[0] >= goal, "messages flow")
        if what is server:
            server.kill()
            server.start()
        else:
            what.stop(signal.SIGKILL)
            what.start()
    publisher.join(DEADLINE)
    client = Client(server)
    case.until(lambda: client.state("OUT")["messages"] >= count, f"all {count} at the other end", 2 * DEADLINE)
    numbers = [json.loads(body)["payload"]["n"] for _, _, _, body in client.messages("OUT")]
    equal(sorted(numbers), list(range(count)), "each exactly once")
    equal(client.consumers("IN")[0]["num_ack_pending"], 0)
    home.stop()
    laptop.stop()


def test_in_cells(case):
    """The plugin in processes of their own, which may read no file: what is PEM stands in the policy."""
    server = Server(case.path("server")).start()
    client = streams(server)
    home, laptop = pair(case, server, isolate="true")
    for n in range(50):
        client.publish(f"in.{n % 3}", json.dumps({"n": n}).encode())
    server.kill()
    server.start()
    client = Client(server)
    case.until(lambda: client.state("OUT")["messages"] == 50, "all stand at the other end")
    equal(sorted(json.loads(body)["payload"]["n"] for _, _, _, body in client.messages("OUT")), list(range(50)))
    home.stop()
    laptop.stop()


def test_a_maps_settings_are_checked_before_anything_runs(case):
    server = Server(case.path("server"))
    home = case.node("home.kai")
    bridged(home, server, settings='inward = ( { subject = "a..b"; type = "ORDER"; target = "klp://node.x"; } );')
    home.start(ready=False)
    equal(home.process.wait(DEADLINE), 1)
    home.process = None
    has(home.tail(), "inward, group 1: subject: a part between its dots is empty")


def test_no_server(case):
    """A node does not wait for NATS, and says why nothing flows."""
    server = Server(case.path("server"))
    home = case.node("home.kai")
    bridged(home, server, settings='deliver_timeout = "1s";')
    home.start()
    case.until(lambda: "cannot be reached" in status(home).get("text", ""), "the status says why")
    check(not status(home)["connected"], "nobody is there")
    server.start()
    case.until(lambda: status(home)["connected"], "it connects when there is a server")
    home.stop()


if __name__ == "__main__":
    run(globals())
