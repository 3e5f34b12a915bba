#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""kos-conform itself: every sentence of its catalogue stands in the header that it names, and for each there is a plugin
that breaks it (mutants/) and is told so by that sentence. TAP."""
import concurrent.futures
import json
import os
import re
import subprocess
import sys

SRC = os.environ.get("KOS_SRCDIR", os.path.join(os.path.dirname(os.path.abspath(__file__)), "../.."))
BUILD = os.environ.get("KOS_BUILDDIR", os.path.join(SRC, "build"))
os.environ.setdefault("KOS_CELL", os.path.join(BUILD, "kos-cell"))
TIMEOUT_S = "4"     # of a test: so that what never happens is waited for a fifth of it

# (module, mutant, the sentence it breaks, the test that sees it)
MUTANTS = [
    ("plugin", "entry", "abi.entry", "plugin/manifest"),
    ("plugin", "newer", "abi.size", "plugin/newer-host"),
    ("plugin", "feature", "abi.feature", "plugin/older-host"),
    ("plugin", "borrow", "abi.borrow", "handler/garbage"),
    ("transport", "borrow", "abi.borrow", "transport/bytes"),
    ("vector", "twice", "abi.once", "vector/refused"),
    ("vector", "never", "abi.once", "vector/l2"),
    ("bridge", "twice", "abi.once", "bridge/deliver"),
    ("bridge", "lost", "plugin.stop", "bridge/deliver"),
    ("transport", "cross", "abi.cross", "plugin/foreign-events"),
    ("plugin", "thread", "abi.thread", "plugin/life"),
    ("plugin", "hang", "abi.soon", "handler/garbage"),
    ("plugin", "exit", "abi.process", "handler/garbage"),
    ("plugin", "crash", "abi.process", "handler/garbage"),
    ("plugin", "free", "abi.process", "handler/garbage"),
    ("plugin", "signal", "abi.process", "plugin/process"),
    ("plugin", "umask", "abi.process", "plugin/process"),
    ("plugin", "cwd", "abi.process", "plugin/process"),
    ("plugin", "zero", "abi.ids", "handler/garbage"),
    ("control", "run-id", "abi.ids", "control/garbage"),
    ("plugin", "utf8", "abi.utf8", "handler/garbage"),
    ("transport", "latin", "abi.utf8", "transport/listen"),
    ("plugin", "right", "plugin.right", "handler/garbage"),
    ("plugin", "sign", "plugin.right", "plugin/life"),
    ("plugin", "touch", "plugin.init", "plugin/life"),
    ("plugin", "reject", "plugin.error", "handler/garbage"),
    ("transport", "mute", "plugin.error", "transport/garbage"),
    ("plugin", "never-stopped", "plugin.stop", "plugin/life"),
    ("transport", "left-open", "plugin.stop", "plugin/teardown"),
    ("bridge", "lost", "plugin.stop", "bridge/stop"),
    ("plugin", "leak", "plugin.fini", "plugin/leaks"),
    ("plugin", "event", "plugin.events", "plugin/life"),
    ("plugin", "bounds", "conf.values", "plugin/bounds"),
    ("plugin", "log", "host.log", "handler/garbage"),
    ("plugin", "watch", "host.watch", "plugin/life"),
    ("plugin", "open-id", "host.complete", "plugin/life"),
    ("plugin", "after", "host.stopped", "plugin/life"),
    ("plugin", "early", "host.stopped", "plugin/life"),
    ("plugin", "thread-left", "host.stopped", "plugin/life"),
    ("plugin", "fd", "host.open", "plugin/leaks"),
    ("plugin", "key", "host.key", "plugin/life"),
    ("plugin", "tx", "host.tx", "handler/garbage"),
    ("plugin", "payload", "draft.payload", "handler/garbage"),
    ("plugin", "class", "draft.class", "handler/garbage"),
    ("plugin", "expires", "draft.expires", "handler/garbage"),
    ("plugin", "type", "draft.type", "handler/garbage"),
    ("plugin", "target", "draft.target", "handler/garbage"),
    ("plugin", "no-verdict", "handler.answer", "handler/garbage"),
    ("plugin", "verdicts", "handler.once", "handler/garbage"),
    ("plugin", "outcome", "handler.outcome", "handler/outcomes"),
    ("transport", "even", "transport.ids", "transport/bytes"),
    ("transport", "down-twice", "transport.end", "transport/close"),
    ("transport", "credit", "transport.credit", "transport/bytes"),
    ("transport", "window", "transport.window", "transport/bytes"),
    ("transport", "no-credit", "transport.window", "transport/bytes"),
    ("transport", "left", "transport.left", "transport/bytes"),
    ("transport", "up-twice", "transport.listen", "transport/listen"),
    ("transport", "bound", "transport.bound", "transport/listen"),
    ("transport", "links-go", "transport.endpoint_close", "transport/links-stay"),
    ("transport", "dial-twice", "transport.dial", "transport/bytes"),
    ("transport", "no-dial", "transport.dial", "transport/bytes"),
    ("transport", "answers", "transport.answers", "transport/bytes"),
    ("transport", "no-flush", "transport.close", "transport/flush"),
    ("transport", "flip", "transport.pieces", "transport/bytes"),
    ("transport", "tail", "transport.reliable", "transport/slow"),
    ("transport", "datagram", "transport.datagram", "transport/bytes"),
    ("transport", "mtu", "transport.mtu", "transport/bytes"),
    ("discovery", "complete", "discovery.complete", "discovery/announce"),
    ("discovery", "twice", "abi.once", "discovery/announce"),
    ("discovery", "kind", "discovery.kind", "discovery/kind"),
    ("discovery", "found", "discovery.found", "discovery/find"),
    ("discovery", "cancel", "discovery.cancel", "discovery/find"),
    ("discovery", "addresses", "discovery.addresses", "discovery/find"),
    ("bridge", "no-key", "bridge.key", "bridge/inject"),
    ("bridge", "other-key", "bridge.key", "bridge/inject"),
    ("bridge", "cursor", "bridge.cursor", "bridge/inject"),
    ("bridge", "goes-on", "bridge.inject", "bridge/refused"),
    ("vector", "open", "vector.open", "vector/l2"),
    ("vector", "space", "vector.space", "vector/spaces"),
    ("vector", "upsert", "vector.upsert", "vector/l2"),
    ("vector", "version", "vector.version", "vector/l2"),
    ("vector", "get", "vector.get", "vector/l2"),
    ("vector", "tombstone", "vector.tombstone", "vector/l2"),
    ("vector", "remove", "vector.remove", "vector/l2"),
    ("vector", "query", "vector.query", "vector/l2"),
    ("vector", "distance", "vector.distance", "vector/cosine"),
    ("vector", "hidden", "vector.hidden", "vector/ip"),
    ("vector", "filter", "vector.filter", "vector/l2"),
    ("vector", "scan", "vector.scan", "vector/l2"),
    ("vector", "limit", "vector.scan", "vector/l2"),
    ("vector", "fingerprint", "vector.fingerprint", "vector/l2"),
    ("vector", "snapshot", "vector.snapshot", "vector/snapshot"),
    ("vector", "stats", "vector.stats", "vector/stats"),
    ("vector", "drop", "vector.drop", "vector/drop"),
    ("control", "silent", "control.reply", "control/garbage"),
    ("control", "twice", "control.reply", "control/garbage"),
    ("control", "answer", "control.answer", "control/garbage"),
    ("control", "more", "control.more", "control/garbage"),
    ("control", "ends", "control.ends", "control/garbage"),
    ("control", "event", "control.event", "control/garbage"),
    ("control", "inputs", "agents.inputs", "control/garbage"),
    ("control", "respond", "http.respond", "http.user/requests"),
    ("control", "status", "http.respond", "http.user/requests"),
    ("service", "request", "http.request", "http/requests"),
    ("service", "prefix", "http.prefix", "http/requests"),
    ("service", "body", "http.body", "http/large"),
    ("service", "fetch", "http.fetch", "http/fetch"),
    ("service", "cancel", "http.cancel", "http/fetch"),
    ("service", "gone", "http.gone", "http/gone"),
    ("stream", "odd", "stream.ids", "stream/credit"),
    ("stream", "credit", "stream.credit", "stream/credit"),
    ("stream", "closed", "stream.close", "stream/credit"),
]
# What is to be seen within its process only: memory, descriptors, threads, what init was given. A cell that is silent, or
# sends what no cell would, is cut off for that.
HERE = {"newer", "signal", "umask", "cwd", "leak", "fd", "watch", "thread-left", "early", "hang", "addresses", "borrow"}
# What only a cell sees.
CELLS = [
    ("plugin", "socket", "plugin.right", "handler/garbage"),
    ("plugin", "flood", "abi.process", "handler/garbage"),
]
# In a build with sanitizers these see first what kos-conform would, end the process, and count its memory themselves.
SANITIZERS = {"borrow", "leak"}
SANITIZERS_CELL = SANITIZERS | {"feature", "crash", "free"}
# Sentences without a mutant, and why.
UNSEEN = {
    "abi.owner": "freeing what the host owns ends the process: mutant \"free\" is told abi.process",
    "bridge.deliver": "whether another network has a message durably is not to be seen from here",
}
SETTINGS = {
    "discovery": ["--settings", "directory={dir}", "--settings", "interval=50ms"],
    "bridge": ["--settings", "directory={dir}", "--settings", "target=klp://node.conform", "--settings", "interval=10ms",
               "--files", os.path.join(BUILD, "sdk/conform/mutants/files")],
    "service": ["--settings", 'listen=["127.0.0.1:0"]', "--settings", "fetch_private=true"],
}
SERVICE = os.path.join(BUILD, "plugins/service/http/.libs/http.so")


def catalogue():
    with open(os.path.join(SRC, "sdk/conform/rules.h"), encoding="utf-8") as file:
        text = file.read()
    entry = re.compile(r'X\(\w+,\s*"([^"]+)",\s*"(kos/[^"]+)",((?:\s|\\\n|"(?:[^"\\]|\\.)*")+)\)')
    for name, header, sentence in entry.findall(text):
        words = "".join(re.findall(r'"((?:[^"\\]|\\.)*)"', sentence)).replace('\\"', '"')
        yield name, header, words


def plain(header):
    """A header as running text: without the frame of its comments."""
    with open(os.path.join(SRC, "sdk", header), encoding="utf-8") as file:
        return re.sub(r"\s+", " ", re.sub(r"\n\s*\*\s?", " \n", file.read()))


def conform(module, mutant, test, hosting="process"):
    args = [os.path.join(BUILD, "kos-conform"), "--json", "--hosting", hosting] + SETTINGS.get(module, [])
    if test:
        args += ["--timeout", TIMEOUT_S, "--suite", test.split("/")[0], "--test", test.split("/")[1]]
    args.append(os.path.join(BUILD, f"sdk/conform/mutants/{module}.so"))
    env = dict(os.environ, KOS_MUTANT=mutant, KOS_MUTANT_OF=SERVICE)
    done = subprocess.run(args, env=env, capture_output=True, text=True, timeout=300, check=False)
    try:
        return json.loads(done.stdout), done
    except ValueError:
        return [], done


def judged(entry, hosting="process"):
    module, mutant, rule, test = entry
    results, done = conform(module, mutant, test, hosting)
    broken = sorted({r["rule"] for r in results if r["outcome"] == "broke"})
    said = "; ".join(f"{r['suite']}/{r['test']}: {r['outcome']} {r.get('rule', '')} {r.get('seen', '')}" for r in results)
    return broken == [rule] and done.returncode == 1, said + done.stderr[-300:]


def sound(module):
    results, done = conform(module, "", None)
    broken = [f"{r['suite']}/{r['test']}: {r['seen']}" for r in results if r["outcome"] == "broke"]
    return bool(results) and not broken and done.returncode == 0, "; ".join(broken) + done.stderr[-300:]


def main():
    files = os.path.join(BUILD, "sdk/conform/mutants/files/in")
    os.makedirs(files, exist_ok=True)
    for name in ("1", "2", "3"):
        with open(os.path.join(files, name), "w", encoding="utf-8") as file:
            file.write('{"n":%s}' % name)
    rules = list(catalogue())
    headers = {header: plain(header) for _, header, _ in rules}
    mutants = [m for m in MUTANTS if m[0] != "service" or os.path.exists(SERVICE)]
    with open(os.path.join(BUILD, "kos-conform"), "rb") as file:
        sanitized = b"__asan_init" in file.read()
    if sanitized:
        mutants = [m for m in mutants if m[1] not in SANITIZERS]
    modules = sorted({m[0] for m in mutants})
    number, bad = 0, 0

    def report(good, name, why):
        nonlocal number, bad
        number += 1
        bad += not good
        print(f"{'ok' if good else 'not ok'} {number} - {name}")
        if not good:
            print("# " + why.replace("\n", "\n# "))

    for name, header, sentence in rules:
        report(re.sub(r"\s+", " ", sentence) in headers[header], f"{name} stands in {header}", sentence)
        seen = any(m[2] == name for m in MUTANTS)
        report(seen != (name in UNSEEN), f"{name} has a mutant, or a reason why not", "it has neither or both")
    known = {name for name, _, _ in rules}
    report(len(rules) > 80 and all(m[2] in known for m in MUTANTS), "the catalogue was read whole", str(len(rules)))
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for module, (good, why) in zip(modules, pool.map(sound, modules)):
            report(good, f"{module} without a mutation conforms", why)
        for entry, (good, why) in zip(mutants, pool.map(judged, mutants)):
            report(good, f"{entry[0]} \"{entry[1]}\" breaks {entry[2]}", why)
        here = HERE | (SANITIZERS_CELL if sanitized else set())
        cells = [m for m in mutants if m[1] not in here and m[3] != "plugin/manifest"] + CELLS
        for entry, (good, why) in zip(cells, pool.map(lambda entry: judged(entry, "cell"), cells)):
            report(good, f"in a cell: {entry[0]} \"{entry[1]}\" breaks {entry[2]}", why)
    print(f"1..{number}")
    return 1 if bad else 0


sys.exit(main())
