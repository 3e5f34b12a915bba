#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Hosts and plugins of different minor versions. Headers of an imagined next one are written: each struct that may grow
has grown, the host has a function more and a plugin an event more. What is of the next minor fills all that with junk.
Then the examples, and the small host with the drivers that kos-new hands out, are built with either, and each meets
each, under the address sanitizer: who reads beyond what the other side filled is caught. TAP."""
import os
import re
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import abi  # pylint: disable=wrong-import-position

BUILD = os.environ.get("KOS_BUILDDIR", abi.TOP)
os.environ.setdefault("KOS_CELL", os.path.join(BUILD, "kos-cell"))
PAIRS = {"handler": "handler_ping", "transport": "transport_plain", "discovery": "discovery_list", "bridge": "bridge_files"}
JUNK = ".kos_next = { 0xa5a5a5a5a5a5a5a5, 0xa5a5a5a5a5a5a5a5, 0xa5a5a5a5a5a5a5a5 }"
FLAGS = ["-std=c17", "-g", "-O1", "-Wall", "-Wextra", "-Wno-missing-field-initializers", "-Werror", "-D_GNU_SOURCE",
         "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
CALLED = "the host's new function was called"
HEARD = "the plugin's new event came"


def read(path):
    with open(os.path.join(abi.TOP, path), encoding="utf-8") as file:
        return file.read()


def once(text, old, new):
    if text.count(old) != 1:
        raise abi.Fault(f"{old!r} is not there once, where the next minor version would change it")
    return text.replace(old, new)


def junk(text):
    """Every struct that says its size fills what the next minor version appended."""
    text = re.sub(r"(?<![\w\]])(\.size = sizeof [^,;}]+)", r"\1, " + JUNK, text)
    text = re.sub(r"(\w[\w.]*)\.size = sizeof \1;", r"\g<0> memset(\1.kos_next, 0xa5, sizeof \1.kos_next);", text)
    return re.sub(r"(= \{ sizeof \w+,[^;{}]*?)\s*\};", r"\1, " + JUNK + " };", text)


def next_plugin(text):
    text = once(text, "    *ret_self =", "    if (KOS_HAS(host, kos_next_call))\n        host->kos_next_call(host, 7);\n    *ret_self =")
    text = once(text, "    .init = init,", "    .kos_next_event = next_event,\n    .init = init,")
    event = f'static void next_event(void *self, int32_t number)\n{{\n    (void)self;\n    if (number == 7)\n        puts("{HEARD}");\n}}\n\n'
    return junk(once(text, "\nKOS_EXPORT const struct kos_plugin", "\n" + event + "KOS_EXPORT const struct kos_plugin"))


def next_host(text):
    text = once(text, "    h->plugin->start(h->self);", "    h->plugin->start(h->self);\n    if (KOS_HAS(h->plugin, kos_next_event))\n"
                "        h->plugin->kos_next_event(h->self, 7);")
    text = once(text, "    .tx_abort = tx_abort,", "    .tx_abort = tx_abort,\n    .kos_next_call = next_call,")
    call = f'static int32_t next_call(const struct kos_host *host, int32_t number)\n{{\n    (void)host;\n    puts("{CALLED}");\n    return number;\n}}\n\n'
    return junk(once(text, "static const struct kos_host services", call + "static const struct kos_host services"))


class Work:
    def __init__(self, folder):
        self.folder = folder
        abi.next_minor(self.path("next"))
        self.sdk = {"today": abi.SDK, "next": self.path("next")}
        self.built = {}

    def path(self, name):
        return os.path.join(self.folder, name)

    def start(self, target, version, texts, *options):
        """Begins to build; two at a time."""
        sources = []
        for name, text in texts.items():
            os.makedirs(self.path(target + ".d"), exist_ok=True)
            sources.append(os.path.join(self.path(target + ".d"), name))
            with open(sources[-1], "w", encoding="utf-8") as file:
                file.write(text)
        with open(self.path(target + ".log"), "w", encoding="utf-8") as log:
            self.built[target] = subprocess.Popen([*abi.CC, *FLAGS, "-I", self.sdk[version], "-I",
                                                   os.path.join(abi.SDK, "examples"),
                                                   "-I", os.path.join(abi.SDK, "scaffold"), "-o", self.path(target), *sources, *options],
                                                  stdout=log, stderr=log)
        running = [p for p in self.built.values() if p.poll() is None]
        if len(running) > 1:
            running[0].wait()

    def done(self, target):
        if self.built[target].wait():
            with open(self.path(target + ".log"), encoding="utf-8") as log:
                raise abi.Fault(f"{target} does not build:\n{log.read()}")
        return self.path(target)

    def host(self, kind, version):
        driver, core = read(f"sdk/scaffold/{kind}_test.c"), read("sdk/examples/poll_host.c")
        if version == "next":
            driver, core = junk(driver), next_host(core)
        self.start(f"{kind}-host-{version}", version, {"driver.c": driver, "poll_host.c": core}, "-ldl")

    def naive_host(self):
        """Takes a whole draft from a plugin whose drafts are shorter."""
        core = next_host(read("sdk/examples/poll_host.c"))
        naive = re.sub(r"    memcpy\(&s->draft, draft, [^;]*;", "    s->draft = *draft;", core)
        if naive == core:
            raise abi.Fault("poll_host.c does not copy drafts where it is looked for")
        self.start("handler-host-naive", "next", {"driver.c": junk(read("sdk/scaffold/handler_test.c")), "poll_host.c": naive}, "-ldl")

    def plugin(self, kind, version):
        text = read(f"sdk/examples/{PAIRS[kind]}.c")
        self.start(f"{kind}-{version}.so", version, {"plugin.c": next_plugin(text) if version == "next" else text},
                   "-shared", "-fPIC", "-fvisibility=hidden")

    def meet(self, host, plugin):
        return subprocess.run([self.done(host), self.done(plugin)], capture_output=True, text=True, timeout=60, check=False)


def meeting(work, kind, host, plugin):
    done = work.meet(f"{kind}-host-{host}", f"{kind}-{plugin}.so")
    if done.returncode:
        yield from [f"status {done.returncode}"] + done.stderr.splitlines()[:40]
    both = host == plugin == "next"
    for sentence in (CALLED, HEARD):
        if (sentence in done.stdout) != both:
            yield f"{'not said' if both else 'said'}: {sentence}"


def naive_host_is_caught(work):
    """So that it is known that the test can fail."""
    done = work.meet("handler-host-naive", "handler-today.so")
    if done.returncode == 0 or "AddressSanitizer" not in done.stderr:
        yield f"status {done.returncode}: {done.stderr[:600]}"


def kosctl_takes_it(work):
    kosctl = os.path.join(BUILD, "kosctl")
    plain = work.path("plain.so")
    with open(work.path("plain.c"), "w", encoding="utf-8") as file:
        file.write(next_plugin(read("sdk/examples/handler_ping.c")))
    # Without sanitizers, as kosctl need not have them.
    done = abi.run(*abi.CC, "-std=c17", "-D_GNU_SOURCE", "-I", work.sdk["next"], "-shared", "-fPIC", "-fvisibility=hidden", "-o", plain, work.path("plain.c"))
    if done.returncode:
        yield done.stderr
        return
    done = abi.run(kosctl, "--json", "plugin", "info", plain)
    for part in ('"org.kos.example.ping"', '"1.1"'):
        if part not in done.stdout:
            yield f"{part} is not in: {done.stdout} {done.stderr}"


def main():
    folder = tempfile.mkdtemp(prefix="kos-next-")
    bad = number = 0
    plan = [(f"{kind}: a host of {host} and a plugin of {plugin}", lambda w, k=kind, h=host, p=plugin: meeting(w, k, h, p))
            for kind in PAIRS for host, plugin in (("today", "next"), ("next", "today"), ("next", "next"))]
    plan.append(("a host that reads beyond is caught", naive_host_is_caught))
    plan.append(("kosctl looks at a plugin of next", kosctl_takes_it))
    print(f"1..{len(plan)}")
    try:
        work = Work(folder)
        for kind in PAIRS:
            for version in ("today", "next"):
                work.host(kind, version)
                work.plugin(kind, version)
        work.naive_host()
        for number, (title, function) in enumerate(plan, 1):
            try:
                found = list(function(work))
            except abi.Fault as fault:
                found = str(fault).splitlines()
            print(f"{'not ok' if found else 'ok'} {number} - {title}", flush=True)
            for line in found:
                print("# " + line)
            bad += bool(found)
    except abi.Fault as fault:
        print(f"Bail out! {fault}")
        bad = 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 1 if bad or not number else 0


sys.exit(main())
