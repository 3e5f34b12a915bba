#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What is wrong is said once, by a stable name, with the thing and the line or limit, and leaves nothing half-done."""
import base64
import json
import os
import shlex
import signal
import socket
import subprocess
import sys

from kit import BUILD, SRC, Node, check, equal, free_port, has, program, run

ECHO = "klp://agent.same.home.kai"


def kosd(node, *arguments, data=None):
    return subprocess.run([program("kosd"), "-i", node.dir, *arguments], input=data, capture_output=True, timeout=60, check=False, start_new_session=True)


def refuses(node, *parts, arguments=("--check",), name=None):
    """kosd ends with status 1 and one line that names all the parts."""
    done = kosd(node, *arguments)
    said = done.stderr.decode(errors="replace")
    equal(done.returncode, 1, f"kosd {' '.join(arguments)} (wanted: {parts}): {said}")
    equal(len(said.splitlines()), 1, f"one line: {said}")
    if name:
        has(said, f"kosd: {name}: ")
    for part in parts:
        has(said, part)
    check(not os.path.exists(os.path.join(node.dir, "kosd.sock")), "no socket is left")
    return said


def write(path, text):
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


CONFS = (
    ('name = "home.kai";\nnonsense = 3;\n', ":2", "nonsense"),
    ('name = "home.kai";\n\nworker = 3;\n', ":3", "workers"),
    ('name = "home.kai";\nworkers = "two";\n', ":2", "workers"),
    ('name = "home.kai";\nworkers = 65;\n', ":2", "64"),
    ('name = "home.kai";\nhandshake_ms = "10 parsecs";\n', ":2", "handshake_ms"),
    ('name = "home.kai";\ncredit_bytes = "1K";\n', ":2", "credit_bytes"),
    ('name = "home.kai";\nlisten = "tcp://127.0.0.1:1";\n', ":2", "listen"),
    ('name = "home.kai";\nlisten = [ "127.0.0.1:1" ];\n', ":2", "127.0.0.1:1"),
    ('name = "home.kai";\nroles = [ "gateway" ];\n', ":2", "gateway"),
    ('name = "home.kai";\nlog_level = "loud";\n', ":2", "loud"),
    ('name = "home.kai";\nname = "other.kai";\n', ":2", "name"),
    ('name = "home kai";\n', ":1", "home kai"),
    ('workers = 2;\n', "kosd.conf", "name"),
    ('', "kosd.conf", "name"),
    ('name = "home.kai"\nidle_ping_ms = "90s"; dead_ms = "10s";\n', ":2", "idle_ping_ms"),
    ('name = "home.kai";\n@include "/etc/passwd"\n', ":2", "@include"),
    ('name = "home.kai";\nlisten = [ "tcp://127.0.0.1:1"\n', ":2", "]"),
    ('name = "home.kai;\n', ":1", '"'),
    ('name = "home.kai";\n\0\n', ":2", "NUL"),
    ('name = "home.kai";\nlinks = 0x;\n', ":2", "0x"),
    ('name = "home.kai";\ncontrol_group = "no-such-group";\n', "no-such-group", "control_group"),
    ('name = "home.kai";\n' + "# long\n" * 200000, "kosd.conf", "1048576"),
)


def test_configurations(case):
    home = case.node("home.kai")
    path = os.path.join(home.dir, "kosd.conf")
    good = f'name = "home.kai";\nplugin_dir = "{case.plugins}";\n' + ('user = "root";\n' if os.geteuid() == 0 else "")
    for text, *parts in CONFS:
        write(path, text)
        refuses(home, "kosd.conf", *parts, name="unsupported" if "gateway" in text else "bad_configuration")
    write(path, CONFS[0][0])
    refuses(home, "kosd.conf:2", arguments=("--foreground",), name="bad_configuration")
    os.unlink(path)
    refuses(home, "kosd.conf", name="not_found")
    os.mkdir(path)
    refuses(home, "kosd.conf")
    os.rmdir(path)
    write(path, good)
    done = kosd(home, "--check")
    equal((done.returncode, done.stderr), (0, b""), "a good one")
    has(done.stdout.decode(), "in order")
    home.start()


POLICIES = (
    ('nonsense = 1;', 1, "nonsense"),
    ('version = 2;', 1, "version"),
    ('\n\ntrust = { TASK_REQUEST = 11; };', 3, "11"),
    ('trust = { task_request = 1; };', 1, "task_request"),
    ('trust = {\n TASK_REQUEST = "much"; };', 2, "TASK_REQUEST"),
    ('messages = { alow = [ ]; };', 1, "allow"),
    ('messages = { allow = [ "nonsense words" ]; };', 1, "nonsense words"),
    ('peers = {\n\n block = [ "*", "!!" ]; };', 3, "!!"),
    ('limits = ( { peer = "*"; } );', 1, "limit"),
    ('limits = ( { messages_per_minute = -1; } );', 1, "messages_per_minute"),
    ('limits = ( { bytes_per_day = "many"; } );', 1, "many"),
    ('plugins = { x = { isolate = false; }; };', 1, "module"),
    ('plugins = { X = { module = "x.so"; }; };', 1, "X"),
    ('plugins = { x = { module = "../x.so"; }; };', 1, "plugins.x.module"),
    ('name = "a";\n@include "b"\n', 2, "@include"),
    ('name = "a', 1, '"'),
    ('name = "a" }', 1, "}"),
    ('a = ' + "(" * 40, 1, ""),
    ('messages = { allow = [' + ",".join(['"A"'] * 1100) + ']; };', 1, "1024"),
)


def test_policies(case):
    home = case.node("home.kai")
    for text, line, part in POLICIES:
        path = case.path("x.klp-policy", text.encode())
        said = home.ctl("policy", "check", path, status=1)
        has(said, "kosctl: bad_policy: ")
        has(said, f"x.klp-policy:{line}:")
        has(said, part)
        equal(len(said.splitlines()), 1, "one line")
    has(home.ctl("policy", "check", case.path("large", b"# x\n" * 300000), status=1), "1048576")
    has(home.ctl("policy", "check", case.path("latin", b'name = "\xe9";'), status=1), "UTF-8")
    has(home.ctl("policy", "check", os.path.join(case.dir, "none"), status=1), "none")
    home.ctl("policy", "check", os.path.join(home.dir, "policy.d", "default.klp-policy"))
    home.policy("bad", POLICIES[2][0])
    refuses(home, "bad.klp-policy:3", name="bad_policy")
    refuses(home, "bad.klp-policy:3", arguments=(), name="bad_policy")


GOOD = r"""
#include <kos/handler.h>
#include <kos/plugin.h>
static int32_t init(const struct kos_host *host, const struct kos_conf *conf, void **ret_self, struct kos_error *ret_error)
{ (void)conf; (void)ret_error; INIT; *ret_self = (void *)host; return KOS_OK; }
static void start(void *self) { (void)self; }
static void stop(void *self) { const struct kos_host *host = self; host->stopped(host); }
static void fini(void *self) { (void)self; }
static void handle(void *self, const struct kos_message *message, uint64_t tx, uint64_t op) { (void)self; (void)message; (void)tx; (void)op; }
static const char *const types[] = { "TEST_ONLY", NULL };
static const struct kos_handler handler = { .size = sizeof handler, .types = types, .handle = handle };
static const struct kos_feature feature = { .size = sizeof feature, .name = KOS_HANDLER, .table = &handler };
static const struct kos_feature *const features[] = { &feature, NULL };
static const struct kos_setting colour = { .size = sizeof colour, .type = KOS_SETTING_INT, .name = "colour", .summary = "a number", .fallback = "1", .min = 1, .max = 9 };
static const struct kos_setting *const settings[] = { &colour, NULL };
static const struct kos_right send = { .size = sizeof send, .name = "send", .why = "to say things" };
static const struct kos_right *const rights[] = { &send, NULL };
KOS_EXPORT const struct kos_plugin kos_plugin_v1 = { .size = sizeof kos_plugin_v1, .abi = KOS_ABI, .id = "org.example.sample", .name = "sample", .version = "1",
    .summary = "a sample", .settings = settings, .rights = rights, .features = features, .init = init, .start = start, .stop = stop, .fini = fini };
"""


def build(case, name, text):
    path = os.path.join(case.dir, name + ".so")
    source = case.path(name + ".c", text.encode())
    flags = ["-shared", "-fPIC", "-fvisibility=hidden", "-w", "-I", os.path.join(SRC, "sdk"), "-I", os.path.join(BUILD, "sdk")]
    done = subprocess.run([*shlex.split(os.environ.get("CC", "cc")), *flags, "-o", path, source], capture_output=True, check=False)
    equal(done.returncode, 0, done.stderr.decode())
    return path


def wire(home, path, rights='"send"', settings=""):
    home.policy("sample", f'plugins = {{\n sample = {{\n  module = "{path}";\n  isolate = false;\n  rights = [ {rights} ];\n  {settings}\n }};\n}};\n')


def test_plugins(case):
    home = case.node("home.kai")
    good = build(case, "good", GOOD.replace("INIT", "(void)0"))
    wire(home, good)
    equal(kosd(home, "--check").returncode, 0, "a good plugin")
    has(home.ctl("plugin", "info", good), "org.example.sample")
    wire(home, good, settings="settings = { colour = 10; };")
    refuses(home, "sample.klp-policy:6", "colour", "9")
    wire(home, good, settings='settings = {\n   color = 1; };')
    refuses(home, "sample.klp-policy:7", "color", "colour")
    wire(home, good, settings='settings = { colour = "red"; };')
    refuses(home, "sample.klp-policy:6", "colour")
    wire(home, good, rights="")
    refuses(home, "sample.klp-policy:", "send", "to say things")
    cases = {
        "major": (GOOD.replace("INIT", "(void)0").replace(".abi = KOS_ABI,", ".abi = 2u << 16,"), "version_mismatch", "major"),
        "symbol": (GOOD.replace("INIT", "(void)0").replace("kos_plugin_v1 =", "kos_plugin_v2 ="), "version_mismatch", "2"),
        "none": ("int x;", "plugin_failed", "kos_plugin_v1"),
        "undefined": ("void nobody_has_this(void);\n" + GOOD.replace("INIT", "nobody_has_this()"), "plugin_failed", "nobody_has_this"),
        "crash": ("__attribute__((constructor)) static void crash(void) { __builtin_trap(); }\n" + GOOD.replace("INIT", "(void)0"), "plugin_failed", "crash"),
        "leave": ("#include <unistd.h>\n__attribute__((constructor)) static void leave(void) { _exit(0); }\n" + GOOD.replace("INIT", "(void)0"), "plugin_failed", "leave"),
    }
    files = {name: (build(case, name, text), error, part) for name, (text, error, part) in cases.items()}
    files["text"] = (case.path("text.so", b"this is no plugin at all, but a longer text than an ELF header has"), "plugin_failed", "ELF")
    files["cut"] = (case.path("cut.so", open(good, "rb").read()[:3000]), "plugin_failed", "cut")
    files["empty"] = (case.path("empty.so", b""), "plugin_failed", "empty.so")
    files["missing"] = (os.path.join(case.dir, "missing.so"), "not_found", "missing.so")
    for name, (path, error, part) in files.items():
        wire(home, path)
        refuses(home, os.path.basename(path), part, name=error)
        said = home.ctl("plugin", "info", path, status=1)
        has(said, f"kosctl: {error}: ")
        has(said, os.path.basename(path))
    wire(home, files["undefined"][0])
    refuses(home, "undefined.so", "nobody_has_this", arguments=("--foreground",))
    broken = build(case, "init", GOOD.replace("INIT", 'return kos_fail(ret_error, KOS_E_IO, "the device is on fire")'))
    wire(home, broken)
    refuses(home, "sample", "the device is on fire", arguments=("--foreground",))


def test_passphrases(case):
    words, wrong = case.path("words", b"correct horse\nsecond line\n"), case.path("wrong", b"incorrect horse\n")
    for path in (words, wrong):
        os.chmod(path, 0o600)
    home = case.node("home.kai", arguments=("--passphrase-file", words))
    home.start()
    home.stop()
    refuses(home, "passphrase", arguments=("--passphrase-file", wrong, "--foreground"), name="wrong_passphrase")
    has(home.ctl("message", "sign", case.path("m", b"{}"), "--key", home.dir, "--passphrase-file", wrong, status=1), "wrong_passphrase")
    home.setting("passphrase_file", '""')
    refuses(home, "passphrase_file", arguments=("--foreground",), name="wrong_passphrase")
    refuses(home, "none", arguments=("--passphrase-file", os.path.join(case.dir, "none"), "--foreground"))
    os.chmod(words, 0o644)
    refuses(home, "words", "chmod", arguments=("--passphrase-file", words, "--foreground"), name="permission_denied")
    os.chmod(words, 0o600)
    refuses(home, "empty", arguments=("--passphrase-file", private(case, "empty", b""), "--foreground"))
    env = {**os.environ, "CREDENTIALS_DIRECTORY": os.path.join(case.dir, "credentials")}
    os.mkdir(env["CREDENTIALS_DIRECTORY"], 0o700)
    private(case, "credentials/kos-passphrase", b"correct horse")
    done = subprocess.run([program("kosd"), "-i", home.dir, "--check"], env=env, capture_output=True, timeout=60, check=False)
    equal((done.returncode, done.stderr), (0, b""), "a systemd credential")


def private(case, name, content):
    path = case.path(name, content)
    os.chmod(path, 0o600)
    return path


def test_keys(case):
    home = case.node("home.kai")
    keys = os.path.join(home.dir, "keys")
    key = os.path.join(keys, "node.key")
    with open(key, "rb") as file:
        content = file.read()
    for changed in (b"", content[:-10], content[:len(content) // 2] + b"\x00" + content[len(content) // 2 + 1:], b"{}", b"nonsense", content * 2000):
        private(case, "home/keys/node.key", changed)
        refuses(home, "node.key", arguments=("--foreground",))
    private(case, "home/keys/node.key", content)
    equal(kosd(home, "--check").returncode, 0, "as it was")
    os.chmod(key, 0o644)
    refuses(home, "node.key", "chmod", name="permission_denied")
    os.chmod(key, 0o600)
    os.chmod(keys, 0o755)
    refuses(home, "keys", "chmod", name="permission_denied")
    os.chmod(keys, 0o700)
    os.rename(keys, keys + ".else")
    refuses(home, "keys")
    os.symlink(keys + ".else", keys)
    refuses(home, "keys", name="permission_denied")
    os.unlink(keys)
    os.rename(keys + ".else", keys)
    log = os.path.join(keys, "node.log")
    with open(log, "rb") as file:
        content = file.read()
    with open(log, "wb") as file:
        file.write(content[:40] + bytes([content[40] ^ 1]) + content[41:])
    refuses(home, "node.log")
    other = case.node("other.kai")
    with open(os.path.join(other.dir, "keys", "node.log"), "rb") as file, open(log, "wb") as mine:
        mine.write(file.read())
    refuses(home, "node.")
    with open(log, "wb") as file:
        file.write(content)
    home.start()


def test_a_second_kosd(case):
    home = case.node("home.kai").start()
    done = kosd(home, "--foreground")
    equal(done.returncode, 1, done.stderr.decode())
    has(done.stderr.decode(), "kosd: instance_locked: ")
    has(done.stderr.decode(), home.dir)
    done = kosd(home)
    equal(done.returncode, 1, "in the background too")
    has(done.stderr.decode(), "instance_locked")
    equal(home.json("status")["status"]["pid"], home.process.pid, "the first one serves")
    equal(kosd(home, "--check").returncode, 0, "--check works beside it")


def test_a_port_in_use(case):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        home = case.node("home.kai")
        home.setting("listen", f'[ "tcp://127.0.0.1:{port}", "tcp://127.0.0.1:{home.port}" ]')
        done = kosd(home)
        try:
            equal(done.returncode, 0, "it is up with the others")
            has(done.stderr.decode(), f"cannot listen on tcp://127.0.0.1:{port}")
            endpoints = {e["address"]: e for e in home.json("status")["status"]["endpoints"]}
            equal(endpoints[f"tcp://127.0.0.1:{port}"]["state"], "down", "the taken one")
            has(endpoints[f"tcp://127.0.0.1:{port}"]["error"], "in use")
            equal(endpoints[f"tcp://127.0.0.1:{home.port}"]["state"], "up", "the other")
            laptop = case.node("laptop.kai", listen=False).start()
            laptop.ctl("connect", f"peer://127.0.0.1:{home.port}")
        finally:
            os.kill(home.json("status")["status"]["pid"], signal.SIGTERM)
            case.until(lambda: home.raw("status").returncode == 3, "it ends")


def test_init(case):
    home = case.node("home.kai")
    before = home.json("id")
    has(home.ctl("init", "--name", "other.kai", status=1), "kosctl: already_exists: ")
    equal(home.json("id"), before, "nothing of it changed")

    def fails(name, *arguments, status=1):
        node = Node(case, name, init=False)
        done = node.raw("init", *arguments)
        equal(done.returncode, status, f"{arguments}: {done.stderr.decode()}")
        check(not os.path.exists(node.dir), f"{node.dir} is left behind")
        return done.stderr.decode()
    for role in ("gateway", "peer,archive", "validator"):
        has(fails("a", "--name", "a.kai", "--role", role), role.split(",")[-1])
    has(fails("a", "--name", "a.kai", "--role", "emperor"), "emperor")
    for name in ("", "a b", "a..b", "ä.kai", "a" * 300, "x/y"):
        has(fails("a", "--name", name), name[:60])
    has(fails("a", "--name", "a.kai", "--listen", "nonsense"), "nonsense")
    has(fails("a", status=2), "--name")
    has(fails("a", "--name", "a.kai", "--algorithm", "rsa", status=2), "rsa")
    has(fails("a", "--name", "a.kai", "--passphrase-file", case.dir + "/none"), "none")
    file = case.path("file", b"not a directory")
    nowhere = Node(case, "b.kai", init=False)
    nowhere.dir = os.path.join(file, "b")
    has(nowhere.ctl("init", "--name", "b.kai", status=1), file)
    nowhere.dir = "/proc/kos-test"
    has(nowhere.ctl("init", "--name", "b.kai", status=1), "/proc/kos-test")
    # What failed half-way can be run again.
    half = Node(case, "c.kai", init=False)
    os.mkdir(half.dir)
    write(os.path.join(half.dir, "policy.d"), "in the way")
    has(half.ctl("init", "--name", "c.kai", status=1), "policy.d")
    os.unlink(os.path.join(half.dir, "policy.d"))
    half.ctl("init", "--name", "c.kai")
    identity = half.json("id")["id"]
    os.unlink(os.path.join(half.dir, "kosd.conf"))
    half.ctl("init", "--name", "c.kai")
    equal(half.json("id")["id"], identity, "an identity is made once")


def test_addresses(case):
    home, laptop = case.pair()
    bad = ["", " ", "klp://", "klp://agent.", "klp://emperor.kai", "klp://node.a..b", "klp://agent.x.home.kai.", "agent://x", "agent://x.0xzz", "agent://x.0x", "peer://", "peer://host:99999",
           "http://home.kai/", "klp:/node.home.kai", "0x", "0xzz", "did:klp:short", "did:web:home.kai", "klp://node.0123456789abcdefghijklmnop", "x" * 5000, "a\nb", "\u00e9.kai", "klp://doc.x.y/z", "../../etc"]
    names = {"syntax_error", "not_found", "invalid_argument", "limit_exceeded", "unsupported", "unreachable"}
    for address in bad:
        for command in (["connect", address, "--timeout", "2s"], ["disconnect", address], ["trust", address], ["untrust", address], ["task", "send", address, "--input", "x"],
                        ["policy", "explain", "--from", address, "--type", "TASK_REQUEST"]):
            done = home.raw("--json", *command)
            what = " ".join(command)[:100]
            check(done.returncode in (1, 2), f"{what}: status {done.returncode}")
            said = done.stderr.decode()
            check(len(said.splitlines()) in (1, 2) and len(said) < 1200, f"{what}: {said}")
            if done.returncode == 1:
                document = json.loads(done.stdout)
                check(document["error"] in names, f"{what}: {document}")
                check(len(document["text"]) > 10, f"{what}: {document}")
    for task in ("", "x", "A" * 26, "1" * 26, "a" * 27, "../..", "aaaaaaaaaaaaaaaaaaaaaaaaab"):
        for verb in ("show", "wait", "cancel"):
            said = home.ctl("task", verb, task, status=1)
            check("invalid_argument" in said or "not_found" in said, said)
    equal(home.json("trust")["entries"], home.json("trust")["entries"], "kosd answers")
    equal(len(home.json("peers")["peers"]), 1, "no peer was made up")
    equal(len(home.json("trust")["entries"]), 1, "nor trusted")
    check(laptop.peer(home), "and the other is up")


def test_agents_refused(case):
    home = case.node("home.kai").start()
    bad = [["a.b", "--skill", "x"], ["", "--skill", "x"], ["A b", "--skill", "x"], ["x" * 100, "--skill", "x"], ["x", "--skill", "no good"], ["x", "--skill", ""]]
    for arguments in bad:
        has(home.ctl("agent", "add", *arguments, "--exec", "cat", status=1), "kosctl: ")
    for arguments in (["x"], ["x", "--skill", "x", "--concurrency", "0"], ["x", "--skill", "x", "--concurrency", "257"], ["x", "--skill", "x", "--trust-required", "11"],
                      ["x", "--skill", "x", "--output-max", "much"], ["x", "--skill", "x", "--stdio", "cat"]):
        home.ctl("agent", "add", *arguments, "--exec", "cat", status=2)
    has(home.ctl("agent", "add", "x", "--skill", "x", "--exec", "c" * 70000, status=1), "kosctl: ")
    has(home.ctl("agent", "add", "x", "--skill", "x", "--exec", "", status=1), "kosctl: ")
    home.ctl("agent", "add", "x", "--skill", "x", "--exec", "cat")
    has(home.ctl("agent", "add", "x", "--skill", "x", "--exec", "cat", status=1), "already_exists")
    has(home.ctl("agent", "remove", "y", status=1), "not_found")
    equal([a["name"] for a in home.json("agent", "list")["agents"]], ["x"], "what there is")


def test_messages(case):
    home, other = case.node("home.kai"), case.node("other.kai")
    letter = case.path("letter", json.dumps({"type": "BROADCAST_ANNOUNCE", "target": other.address, "target_id": other.id, "payload": {"text": "hello"}}).encode())
    signed = case.path("signed", home.ctl("message", "sign", letter, "--key", home.dir).encode())
    log = case.path("log", home.ctl("id", "--log").encode())
    verified = other.json("message", "verify", signed, "--log", log)
    equal((verified["verified"], verified["fresh"], verified["source_id"]), (True, True, home.id), "another verifies it")
    equal(home.json("message", "verify", signed)["verified"], True, "so does who signed, with its own log")
    with open(signed, encoding="utf-8") as file:
        text = file.read()

    def refused(content, *parts, arguments=("--log", log)):
        said = other.ctl("message", "verify", case.path("altered", content.encode()), *arguments, status=1)
        for part in parts:
            has(said, part)
    refused(text.replace("hello", "hallo"), "bad_signature")
    whole = json.loads(text)
    signature = whole["signature"]
    refused(json.dumps({**whole, "signature": signature[:-1] + ("0" if signature[-1] != "0" else "1")}), "kosctl: ")
    refused(json.dumps({**whole, "event": 7}), "kosctl: ")
    refused(json.dumps({k: v for k, v in whole.items() if k != "signature"}), "kosctl: ", "signature")
    refused(text[:-20], "syntax_error", "altered")
    refused("[]", "kosctl: ")
    refused(text, "unknown_identity", arguments=("--log", case.path("wrong", other.ctl("id", "--log").encode())))
    refused(text, "kosctl: ", arguments=())
    refused(text, "none", arguments=("--log", os.path.join(case.dir, "none")))
    refused(text, "kosctl: ", arguments=("--log", case.path("nolog", b"nonsense\n")))
    has(other.ctl("message", "verify", os.path.join(case.dir, "nothing"), "--log", log, status=1), "nothing")
    old = case.path("old", json.dumps({"type": "BROADCAST_ANNOUNCE", "target": other.address, "target_id": other.id, "payload": {}, "created": 1700000000000, "expires": 1700000060000}).encode())
    expired = case.path("expired", home.ctl("message", "sign", old, "--key", os.path.join(home.dir, "keys")).encode())
    verified = other.json("message", "verify", expired, "--log", log)
    equal((verified["verified"], verified["fresh"]), (True, False), "an expired message was signed all the same")
    has(home.ctl("message", "sign", letter, "--key", os.path.join(case.dir, "none"), status=1), "none")
    has(home.ctl("message", "sign", case.path("nojson", b"{nonsense"), "--key", home.dir, status=1), "syntax_error")
    has(home.ctl("message", "sign", letter, status=2), "--key")


def test_inputs_too_large(case):
    home, laptop = case.pair()
    home.ctl("agent", "add", "same", "--skill", "x", "--exec", "cat")
    limit = 768 * 1024
    for data in (os.urandom(limit - 1024), b"a line of text\n" * (limit // 15) + b"x" * (limit % 15)):
        largest = case.path("largest", data)
        done = laptop.raw("task", "send", ECHO, "--input", "@" + largest)
        equal(done.returncode, 0, done.stderr.decode())
        check(done.stdout == data, "the largest input comes back")
    larger = case.path("larger", data + b"x")
    said = laptop.ctl("task", "send", ECHO, "--input", "@" + larger, status=1)
    has(said, "limit_exceeded")
    has(said, str(limit))
    has(said, "larger")
    has(laptop.ctl("task", "send", ECHO, "--input", "@-", data=data + b"x", status=1), str(limit))
    has(laptop.ctl("task", "send", ECHO, "--input", "@" + largest, "--input", "@" + largest, status=1), "limit_exceeded")
    has(laptop.ctl("task", "send", ECHO, "--input", "@" + os.path.join(case.dir, "none"), status=1), "not_found")
    with laptop.control() as control:
        reply = control.call("org.kos.task.Send", {"target": ECHO, "inputs": [base64.b64encode(data).decode(), "x" * 100000], "detach": True})
    equal(reply["parameters"]["error"], "limit_exceeded", "whoever asks")
    equal(laptop.ctl("task", "send", ECHO, "--input", "small"), "small", "afterwards")


def test_blocked_peers(case):
    home, laptop = case.pair()
    home.ctl("agent", "add", "same", "--skill", "x", "--exec", "cat")
    laptop.policy("block", f'peers = {{ block = [ "{home.address}" ]; }};')
    laptop.ctl("policy", "reload")
    said = laptop.ctl("task", "send", ECHO, "--input", "x", status=1)
    has(said, "policy_denied")
    has(said, "block.klp-policy:1")
    os.unlink(os.path.join(laptop.dir, "policy.d", "block.klp-policy"))
    laptop.ctl("policy", "reload")
    laptop.ctl("connect", f"peer://127.0.0.1:{home.port}")
    equal(laptop.ctl("task", "send", ECHO, "--input", "x"), "x", "unblocked")
    home.policy("block", f'peers = {{ block = [ "{laptop.id}" ]; }};')
    home.ctl("policy", "reload")
    case.until(lambda: not laptop.peer(home)["sessions"], "home hangs up")
    equal(laptop.raw("task", "send", ECHO, "--input", "x", "--deadline", "2s").returncode, 4, "nothing is said to a blocked peer")
    explained = home.json("policy", "explain", "--from", laptop.address, "--type", "TASK_REQUEST")
    equal((explained["allowed"], explained["error"]), (False, "policy_denied"), "explain")


def fill(directory):
    path = os.path.join(directory, "ballast")
    with open(path, "wb", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1):
            try:
                while file.write(b"\0" * size) == size:
                    pass
            except OSError:
                pass
    return path


def full_disk(case):
    home, laptop = case.node("home.kai"), case.node("laptop.kai", listen=False)
    for node in (home, laptop):
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m,mode=0700", "kos-test", os.path.join(node.dir, "state")], capture_output=True, check=False)
        equal(done.returncode, 0, done.stderr.decode())
    try:
        home.start()
        laptop.start()
        laptop.ctl("connect", f"peer://127.0.0.1:{home.port}")
        home.ctl("trust", laptop.address)
        laptop.ctl("trust", home.address)
        home.ctl("agent", "add", "count", "--skill", "x", "--exec", "wc -c")
        large = case.path("large", b"x" * 700000)
        equal(laptop.ctl("task", "send", "klp://agent.count.home.kai", "--input", "@" + large), "700000\n", "while there is room")
        ballast = fill(os.path.join(laptop.dir, "state"))
        said = case.until(lambda: laptop.raw("task", "send", "klp://agent.count.home.kai", "--input", "@" + large, "--detach").stderr.decode(), "a task is refused")
        has(said, "disk_full")
        equal(laptop.json("status")["status"]["store"]["state"], "disk_full", "status says so")
        os.unlink(ballast)
        case.until(lambda: laptop.raw("task", "send", "klp://agent.count.home.kai", "--input", "@" + large).stdout == b"700000\n", "tasks go on when there is room")
        equal(laptop.json("status")["status"]["store"]["state"], "ok", "status too")
        ballast = fill(os.path.join(home.dir, "state"))
        tasks = []

        def refused():
            tasks.append(laptop.ctl("task", "send", "klp://agent.count.home.kai", "--input", "@" + large, "--detach", "--deadline", "100s").strip())
            return home.json("status")["status"]["store"]["state"] == "disk_full"
        case.until(refused, "home's disk is full")
        os.unlink(ballast)
        equal([laptop.ctl("task", "wait", task) for task in tasks], ["700000\n"] * len(tasks), "every task is done when there is room")
    finally:
        for node in (home, laptop):
            if node.process:
                node.process.kill()
                node.process.wait()
            subprocess.run(["umount", "-l", os.path.join(node.dir, "state")], capture_output=True, check=False)


def test_full_disk(case):
    """Mounts small disks: as root, or in a user namespace of its own."""
    if os.geteuid() == 0:
        full_disk(case)
        return
    done = subprocess.run(["unshare", "--user", "--map-root-user", "--mount", sys.executable, os.path.abspath(__file__), "test_full_disk"], capture_output=True, check=False)
    check(done.returncode == 0, done.stdout.decode() + done.stderr.decode())


run(globals())
