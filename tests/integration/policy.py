#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Policies as operators meet them: what explain says is what happens, quotas hold, bad files and open keys are refused."""
import os
import subprocess

from kit import check, equal, has, program, run

ECHO = "klp://agent.echo.home.kai"


def echo(home, *arguments):
    home.ctl("agent", "add", "echo", "--skill", "text", "--exec", "cat", *arguments)


def refused(laptop, *parts):
    said = laptop.ctl("task", "send", ECHO, "--input", "x", status=1)
    for part in parts:
        has(said, part)


def start_fails(node, *parts):
    done = subprocess.run([program("kosd"), "-i", node.dir, "--foreground"], capture_output=True, timeout=60, check=False)
    check(done.returncode == 1, f"kosd ended with {done.returncode}")
    for part in parts:
        has(done.stderr.decode(errors="replace"), part)


def test_explain_is_what_happens(case):
    home, laptop = case.pair()
    echo(home)

    def explain(node, other, *more):
        return node.json("policy", "explain", "--from", other.address, "--type", "TASK_REQUEST", *more)
    rule = explain(home, laptop)
    equal((rule["allowed"], rule["score"]), (True, 8.0), "trusted")
    has(rule["rule"], "default.klp-policy:")
    for name, text, error, where in (
            ("type", 'messages = {\n block = [ "TASK_REQUEST" ]; };', "policy_denied", "policy.d/type.klp-policy:2 messages.block"),
            ("allow", 'messages = { allow = [ "BROADCAST_ANNOUNCE" ]; };', "policy_denied", "policy.d/allow.klp-policy:1 messages.allow"),
            ("score", '\n\ntrust = { TASK_REQUEST = 8.5; };', "trust_too_low", "policy.d/score.klp-policy:3 trust.TASK_REQUEST = 8.5"),
            ("large", 'limits = ( { bytes_per_minute = 10; } );', "limit_exceeded", "policy.d/large.klp-policy:1 limits.bytes_per_minute")):
        home.policy(name, text)
        home.ctl("policy", "reload")
        rule = explain(home, laptop, "--size", "1000")
        equal((rule["allowed"], rule["error"]), (False, error), name)
        has(rule["rule"], where)
        refused(laptop, error)
        os.unlink(os.path.join(home.dir, "policy.d", name + ".klp-policy"))
    home.ctl("policy", "reload")
    equal(laptop.ctl("task", "send", ECHO, "--input", "x"), "x", "as before")


def test_outbound(case):
    home, laptop = case.pair()
    echo(home)
    laptop.policy("out", 'messages = { outbound = { block = [ "TASK_REQUEST" ]; }; };')
    laptop.ctl("policy", "reload")
    refused(laptop, "policy_denied", "policy.d/out.klp-policy:1")


def test_a_blocked_peer_is_gone(case):
    home, laptop = case.pair()
    echo(home)
    home.policy("block", f'peers = {{ block = [ "{laptop.address}" ]; }};')
    home.ctl("policy", "reload")
    case.until(lambda: not (home.peer(laptop) or {}).get("sessions"), "the session with a blocked peer ends")
    home.policy("block", 'name = "block";')
    home.ctl("policy", "reload")
    laptop.ctl("connect", f"peer://127.0.0.1:{home.port}")
    equal(laptop.ctl("task", "send", ECHO, "--input", "y"), "y", "unblocked")


def test_quota(case):
    home, laptop = case.pair()
    echo(home)
    home.policy("quota", 'limits = ( { type = "TASK_REQUEST"; messages_per_minute = 2; } );')
    home.ctl("policy", "reload")
    for _ in range(2):
        equal(laptop.ctl("task", "send", ECHO, "--input", "x"), "x", "within the quota")
    # The outbox would try again when the minute is over; the sender does not wait so long.
    check(laptop.raw("task", "send", ECHO, "--input", "x", "--deadline", "2s").returncode in (1, 4), "beyond the quota")
    has(home.tail(), "quota of 2 messages a minute (policy.d/quota.klp-policy:1 limits.messages_per_minute = 2)")
    home.policy("quota", 'limits = ( { type = "TASK_REQUEST"; messages_per_minute = 100000; } );')
    home.ctl("policy", "reload")
    case.until(lambda: laptop.raw("task", "send", ECHO, "--input", "z").stdout == b"z", "a higher quota fills soon")


def test_concurrent_tasks(case):
    home, laptop = case.pair()
    home.ctl("agent", "add", "echo", "--skill", "x", "--concurrency", "4", "--exec", "read line && exec sleep $line")
    home.policy("quota", 'limits = ( { type = "TASK_REQUEST"; concurrent_tasks = 1; } );')
    home.ctl("policy", "reload")
    first = laptop.json("task", "send", ECHO, "--input", "600\n", "--deadline", "300s", "--detach")["task"]
    case.until(lambda: home.json("agent", "list")["agents"][0]["running"] == 1, "the first runs")
    has(laptop.ctl("task", "send", ECHO, "--input", "0\n", status=1), "quota_exceeded")
    laptop.ctl("task", "cancel", first)
    case.until(lambda: home.json("agent", "list")["agents"][0]["running"] == 0, "the first has ended")
    laptop.ctl("task", "send", ECHO, "--input", "0\n")


def test_a_bad_manifest_stops_a_start(case):
    home = case.node("home.kai")
    path = os.path.join(home.dir, "policy.d", "bad.klp-policy")
    for text, reason in (("a = ;", "bad.klp-policy:1: ';' stands only after a setting"),
                         ("\ntrust = { TASK_REQUEST = 11; };", "bad.klp-policy:2: trust.TASK_REQUEST: the score 11"),
                         ("mesages = { };", "did you mean messages?"),
                         ('@include "/etc/passwd"', "bad.klp-policy:1: @include is not allowed"),
                         ('plugins = { tcp = { module = "other.so"; }; };', "are wired differently")):
        home.policy("bad", text)
        start_fails(home, reason)
        if "wired" not in reason:
            has(home.ctl("policy", "check", path, status=1), reason)
    home.policy("bad", 'name = "good-now";')
    home.ctl("policy", "check", path)
    home.start()


def test_keys_that_others_can_read(case):
    home = case.node("home.kai")
    key = os.path.join(home.dir, "keys", "node.key")
    for path, good, bad in ((key, 0o600, 0o640), (os.path.dirname(key), 0o700, 0o755)):
        os.chmod(path, bad)
        start_fails(home, path, f"chmod {good:o}")
        os.chmod(path, good)
    os.rename(key, key + ".moved")
    os.symlink(key + ".moved", key)
    start_fails(home, "symbolic link")
    os.unlink(key)
    os.rename(key + ".moved", key)
    with open(key, "r+b") as file:
        file.seek(30)
        byte = file.read(1)
        file.seek(30)
        file.write(bytes([byte[0] ^ 1]))
    start_fails(home, "node.key is damaged")


run(globals())
