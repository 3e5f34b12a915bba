#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The HTTP service and a bridge over it, in a real kosd: a hook becomes a message that a peer answers, the answer goes out as
a request; each once, whatever is repeated, refused, stopped or killed meanwhile."""
import contextlib
import http.client
import http.server
import json
import os
import shutil
import signal
import ssl
import subprocess
import threading
import time

from kit import BUILD, DEADLINE, check, equal, free_port, has, many, run

OPEN = 'messages = { allow = [ "PING", "PONG" ]; };\ntrust = { PING = 5; PONG = 5; };\n'


class Sink:
    """The other network: takes POSTs, remembers them, and answers what it is told to."""

    def __init__(self, case, tls=None):
        sink = self
        self.got, self.answers, self.lock = [], [], threading.Lock()

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):  # pylint: disable=invalid-name
                body = self.rfile.read(int(self.headers["content-length"]))
                with sink.lock:
                    status = sink.answers.pop(0) if sink.answers else 200
                    sink.got.append((status, self.path, self.headers["idempotency-key"], self.headers["x-kos-type"], json.loads(body)))
                self.send_response(status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_):  # pylint: disable=arguments-differ
                pass

        class Server(http.server.ThreadingHTTPServer):
            def handle_error(self, request, client_address):
                pass  # who is killed hangs up

        self.server = Server(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        case.processes.append(self)

    def taken(self):
        with self.lock:
            return [body["n"] for status, _, _, _, body in self.got if status == 200]

    def messages(self):
        """What each key brought."""
        with self.lock:
            return {key: body["n"] for status, _, key, _, body in self.got if status == 200}

    # What Case.close asks of a process.
    def poll(self):
        return None

    def kill(self):
        self.server.shutdown()
        self.server.server_close()

    def wait(self):
        pass


def plugins(case):
    for name in ("bridge_web", "handler_ping"):
        shutil.copy(os.path.join(BUILD, "sdk", "examples", ".libs", name + ".so"), case.plugins)


def hooks(case, home, laptop, url, http_settings="fetch_private = true;", isolate="false", read=""):
    """laptop: hooks at /hook become PING to home; PONG goes out to `url`. home: answers PING."""
    plugins(case)
    laptop.web = free_port()
    home.policy("ping", OPEN + f'plugins = {{ ping = {{ module = "{case.plugins}/handler_ping.so"; isolate = false; '
                               'rights = [ "send" ]; }; };')
    laptop.policy("web", OPEN + f"""plugins = {{
  http = {{ module = "http.so"; isolate = {isolate}; {read}rights = [ "listen", "net" ];
           settings = {{ listen = [ "127.0.0.1:{laptop.web}" ]; {http_settings} }}; }};
  web = {{ module = "{case.plugins}/bridge_web.so"; isolate = {isolate}; rights = [ "send", "connect" ];
          maps = ( {{ type = "PONG"; destination = "{url}"; }} );
          settings = {{ target = "{home.address}"; }}; }};
}};""")
    home.start()
    laptop.start()
    laptop.ctl("connect", f"peer://127.0.0.1:{home.port}")
    home.ctl("trust", laptop.address)
    laptop.ctl("trust", home.address)


def nodes(case):
    return case.node("home.kai"), case.node("laptop.kai", listen=False)


def ask(node, method, path, body=None, **headers):
    """status and JSON or text of one request, on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", node.web, timeout=60)
    with contextlib.closing(connection):
        connection.request(method, path, body, {k.replace("_", "-"): v for k, v in headers.items()})
        response = connection.getresponse()
        text = response.read().decode()
        if response.headers.get("content-type") == "application/json":
            return response.status, json.loads(text)
        return response.status, text


def post(node, body, path="/hook/PING", **headers):
    headers.setdefault("content_type", "application/json")
    return ask(node, "POST", path, body if isinstance(body, bytes) else json.dumps(body), **headers)


def ready(case, node):
    def served():
        with contextlib.suppress(OSError):
            return ask(node, "GET", "/hook")[1] != "404 Not Found\n"
        return False
    case.until(served, "the hook is served")


def test_a_hook_is_answered_by_a_peer(case):
    home, laptop = nodes(case)
    sink = Sink(case)
    hooks(case, home, laptop, f"http://127.0.0.1:{sink.port}/out?x=y")
    ready(case, laptop)
    equal(post(laptop, {"n": 1, "é": [1.50, "\n"]}), (202, {"status": "accepted"}), "durable")
    case.until(sink.got.copy, "the answer of the peer went out")
    status, path, key, kind, body = sink.got[0]
    equal((status, path, kind, body), (200, "/out?x=y", "PONG", {"n": 1, "é": [1.5, "\n"]}), "what went out")
    equal(len(key), 32, "the key is the message's id")
    # Twice is once: by what it says, and by what the caller calls it, also after a restart.
    equal(post(laptop, {"é": [1.5, "\n"], "n": 1}), (200, {"status": "known"}), "the same, written otherwise")
    equal(post(laptop, {"n": 2}, idempotency_key="a")[0], 202, "another")
    equal(post(laptop, {"n": 3}, idempotency_key="a")[0], 200, "called the same")
    equal(post(laptop, {"n": 2}, idempotency_key="b")[0], 202, "called otherwise")
    case.until(lambda: len(sink.messages()) == 3, "all went out")
    case.until(lambda: laptop.json("status")["status"]["inbox"]["messages"] == 0, "and is settled: a stop meanwhile has it go out again")
    laptop.stop().start()
    ready(case, laptop)
    equal(post(laptop, {"n": 3}, idempotency_key="a")[0], 200, "after a restart")
    equal(post(laptop, {"n": 9})[0], 202, "goes on")
    case.until(lambda: 9 in sink.taken(), "the last one went out")
    # Each once: by the key, which is what a receiver goes by.
    equal(sorted(sink.messages().values()), [1, 2, 2, 9], "what went out")


def test_what_is_refused_says_so(case):
    home, laptop = nodes(case)
    sink = Sink(case)
    hooks(case, home, laptop, f"http://127.0.0.1:{sink.port}/")
    ready(case, laptop)
    for args, status, name in (((b"{",), 400, "syntax_error"), ((b"[1]",), 400, "invalid_argument"), ((b"",), 400, "syntax_error"),
                               ((b'{"a":1,"a":2}',), 400, None), (({"n": 1}, "/hook"), 404, "not_found"),
                               (({"n": 1}, "/hook/ping"), 404, "not_found"), (({"n": 1}, "/hook/PING/x"), 404, "not_found"),
                               (({"n": 1}, "/hook/PING?x"), 404, "not_found")):
        got, said = post(laptop, *args)
        equal(got, status, f"{args}: {said}")
        check(name is None or said["error"] == name, f"{args}: {said}")
        check(said["text"], "a sentence")
    equal(post(laptop, {"n": 1}, content_type="text/plain")[0], 415, "what a browser's form may send")
    equal(ask(laptop, "GET", "/hook/PING")[0], 405, "GET")
    equal(post(laptop, {"n": "x" * (256 << 10)}), (413, "413 Content Too Large\n"), "large")
    equal(ask(laptop, "GET", "/elsewhere"), (404, "404 Not Found\n"), "no one's")
    equal(sink.got, [], "nothing of it went anywhere")
    # What the policy does not let out is refused by name.
    laptop.policy("block", 'messages = { outbound = { block = [ "PING" ]; }; };')
    laptop.ctl("policy", "reload")
    status, said = post(laptop, {"n": 1})
    equal((status, said["error"]), (403, "policy_denied"), "policy")


def test_deliveries_are_tried_again(case):
    home, laptop = nodes(case)
    sink = Sink(case)
    sink.answers = [503, 429, 200, 404]
    hooks(case, home, laptop, f"http://127.0.0.1:{sink.port}/")
    ready(case, laptop)
    equal(post(laptop, {"n": 1})[0], 202, "taken")
    case.until(lambda: sink.taken() == [1], "it is there in the end")
    equal(len({key for _, _, key, _, _ in sink.got}), 1, "always under the same key")
    equal(post(laptop, {"n": 2})[0], 202, "taken")
    case.until(lambda: len(sink.got) == 4, "it was refused for good")
    equal(post(laptop, {"n": 3})[0], 202, "taken")
    case.until(lambda: sink.taken() == [1, 3], "the next one")
    equal(len(sink.got), 5, "what was refused does not come again")


def test_private_addresses_are_closed(case):
    home, laptop = nodes(case)
    sink = Sink(case)
    hooks(case, home, laptop, f"http://localhost:{sink.port}/", http_settings="")
    ready(case, laptop)
    equal(post(laptop, {"n": 1})[0], 202, "taken")
    case.until(lambda: "fetch_private = true" in laptop.tail(), "the log says what would allow it")
    equal(sink.got, [], "nothing arrived")


def test_certificates_are_verified(case, isolate="false"):
    key, cert = case.path("key.pem"), case.path("cert.pem")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-keyout", key,
                    "-out", cert, "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"], check=True, capture_output=True)
    home, laptop = nodes(case)
    sink = Sink(case, tls=(cert, key))
    hooks(case, home, laptop, f"https://localhost:{sink.port}/", isolate=isolate, read=f'read = [ "{cert}" ]; ')
    ready(case, laptop)
    equal(post(laptop, {"n": 1})[0], 202, "taken")
    case.until(lambda: "SSL certificate problem" in laptop.tail(), "not trusted")
    equal(sink.got, [], "nothing arrived")
    laptop.stop()
    path = os.path.join(laptop.dir, "policy.d", "web.klp-policy")
    with open(path, encoding="utf-8") as file:
        text = file.read()
    laptop.policy("web", text.replace("fetch_private = true;", f'fetch_private = true; ca_file = "{cert}";'))
    laptop.start()
    case.until(lambda: sink.taken() == [1], "trusted")


def test_status_and_kill(case):
    home, laptop = nodes(case)
    sink = Sink(case)
    hooks(case, home, laptop, f"http://127.0.0.1:{sink.port}/")
    ready(case, laptop)
    for n in range(3):
        equal(post(laptop, {"n": n})[0], 202, "taken")
    with laptop.control() as control:
        status = control.call("org.kos.http.Status")["parameters"]
        equal(status["addresses"], [f"127.0.0.1:{laptop.web}"], "addresses")
        equal([p["prefix"] for p in status["prefixes"]], ["/hook"], "prefixes")
        check(status["requests"]["served"] >= 3, str(status))
        has(control.call("org.kos.http.Nothing")["error"], "MethodNotFound")
    # All that was answered 202 is there after kill -9, and nothing twice.
    laptop.stop(9)
    laptop.start()
    ready(case, laptop)
    for n in range(6):
        check(post(laptop, {"n": n})[0] in (200, 202), "again")
    case.until(lambda: set(sink.taken()) == set(range(6)), f"all there: {sink.taken()}")
    keys = {}
    for _, _, key, _, body in sink.got:
        keys.setdefault(body["n"], set()).add(key)
    check(all(len(k) == 1 for k in keys.values()), f"one message each: {keys}")


def test_many_at_once(case):
    home, laptop = nodes(case)
    sink = Sink(case)
    hooks(case, home, laptop, f"http://127.0.0.1:{sink.port}/")
    ready(case, laptop)
    said = []

    def client(first):
        for n in range(first, first + 25):
            status = 503
            while status == 503:
                status = post(laptop, {"n": n})[0]
            said.append(status)
    threads = [threading.Thread(target=client, args=(i * 25,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    equal(said.count(202), 200, "all taken")
    case.until(lambda: sorted(set(sink.taken())) == list(range(200)), "all went out")


# ---- in cells ----

def isolated(node):
    """All of its plugins in cells, the shipped ones too."""
    path = os.path.join(node.dir, "policy.d", "default.klp-policy")
    with open(path, encoding="utf-8") as file:
        text = file.read()
    with open(path, "w", encoding="utf-8") as file:
        file.write(text.replace("isolate = false", "isolate = true"))
    return node


def cells(case):
    """home, and a laptop whose plugins all have cells; where answers go, the hook served."""
    home, laptop = nodes(case)
    sink = Sink(case)
    hooks(case, home, isolated(laptop), f"http://127.0.0.1:{sink.port}/", isolate="true")
    ready(case, laptop)
    return home, laptop, sink


def listed(node):
    return {p["name"]: p for p in node.json("plugin", "list")["plugins"]}


class Clients:
    """Hooks from several clients at once, each sent again until it is taken, whatever else comes back."""

    def __init__(self, node, each, count=4):
        self.node, self.each, self.taken, self.trouble, self.lock = node, each, {}, [], threading.Lock()
        self.threads = [threading.Thread(target=self.client, args=(i * each,)) for i in range(count)]
        self.total = each * count
        for thread in self.threads:
            thread.start()

    def client(self, first):
        for n in range(first, first + self.each):
            end = time.monotonic() + DEADLINE
            while n not in self.taken and time.monotonic() < end:
                try:
                    status = post(self.node, {"n": n})[0]
                except (OSError, http.client.HTTPException) as error:
                    status = type(error).__name__
                with self.lock:
                    if status in (200, 202):
                        self.taken[n] = status
                    else:
                        self.trouble.append(status)
                if n not in self.taken:
                    time.sleep(0.02)  # as a client does that is told to come again

    def join(self):
        for thread in self.threads:
            thread.join()
        equal(len(self.taken), self.total, f"taken in the end; trouble: {self.trouble[:20]}")
        wrong = [t for t in self.trouble if isinstance(t, int) and t not in (503, 404)]
        equal(wrong, [], "what clients may hear meanwhile")


def once(case, sink, total):
    """Each hook went through the peer exactly once: its answer has one id, whatever how often it was delivered."""
    case.until(lambda: len(set(sink.taken())) == total, f"all went out: {len(set(sink.taken()))} of {total}")
    ledger = {}
    for _, _, key, _, body in list(sink.got):
        ledger.setdefault(body["n"], set()).add(key)
    equal({n: k for n, k in ledger.items() if len(k) > 1}, {}, "handled more than once")


def fall(case, name, times):
    """Kills the cell of `name` so many times while hooks come."""
    _, laptop, sink = cells(case)
    before = listed(laptop)
    equal({p["hosting"] for p in before.values()}, {"cell"}, "hosting")
    clients = Clients(laptop, many(40, 10))
    for i in range(times):
        case.until(lambda wanted=20 * (i + 1): len(clients.taken) >= wanted, "hooks are taken")
        os.kill(listed(laptop)[name]["pid"], signal.SIGKILL)

        def back(restarts=i + 1):
            now = listed(laptop)[name]
            return now["restarts"] == restarts and now["state"] == "running"
        case.until(back, f"{name} is back")
    clients.join()
    once(case, sink, clients.total)
    after = listed(laptop)
    has(after[name]["cause"], f"plugin {name} was killed")
    equal({n: p["pid"] for n, p in after.items() if n != name}, {n: p["pid"] for n, p in before.items() if n != name}, "the others' processes")
    equal({p["restarts"] for n, p in after.items() if n != name}, {0}, "the others' restarts")
    if not clients.trouble:
        print("# all hooks were answered before the fall was felt")
    ready(case, laptop)


def test_the_http_cell_falls(case):
    fall(case, "http", many(3, 1))


def test_the_cell_of_the_bridge_falls(case):
    fall(case, "web", many(3, 1))


def test_the_http_cell_is_reloaded(case):
    _, laptop, sink = cells(case)
    before = listed(laptop)
    clients = Clients(laptop, 40)
    case.until(lambda: len(clients.taken) >= 20, "hooks are taken")
    has(laptop.ctl("plugin", "reload", "http"), "http was reloaded")
    clients.join()
    once(case, sink, clients.total)
    after = listed(laptop)
    equal([n for n in before if before[n]["pid"] != after[n]["pid"]], ["http"], "whose process is another")
    equal({p["restarts"] for p in after.values()}, {0}, "a reload is no fall")
    with laptop.control() as control:
        status = control.call("org.kos.http.Status")["parameters"]
    equal([p["prefix"] for p in status["prefixes"]], ["/hook"], "served again")
    equal(post(laptop, {"n": -1})[0], 202, "goes on")
    once(case, sink, clients.total + 1)


def test_certificates_are_verified_in_a_cell(case):
    test_certificates_are_verified(case, isolate="true")


run(globals())
