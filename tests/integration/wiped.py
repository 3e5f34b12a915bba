#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Secrets stay where they belong: long-term keys once, in locked memory that no core file takes; keys of sessions that
ended, passphrases and what was derived on the way nowhere; and none of them in a log, a file or another process."""
import glob
import hashlib
import json
import os
import re

from kit import SRC, Skipped, check, equal, run, sanitized

from attack import Evil


def descendants(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        for child in file.read().split():
            yield int(child)
            yield from descendants(int(child))


class Memory:
    """What a process has in its memory now, read beside it."""

    def __init__(self, pid):
        self.areas = []
        flags, area = {}, None
        try:
            with open(f"/proc/{pid}/smaps", encoding="utf-8") as smaps, open(f"/proc/{pid}/mem", "rb", 0) as mem:
                for line in smaps:
                    if found := re.match(r"([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ \S+ *(.*)", line):
                        area = (int(found[1], 16), int(found[2], 16), found[3], found[4])
                    elif line.startswith("VmFlags:"):
                        flags[area] = line.split()[1:]
                for (start, end, rights, name), set_flags in flags.items():
                    if rights[0] != "r" or name in ("[vvar]", "[vsyscall]", "[vvar_vclock]") or "sf" in set_flags and "w" not in rights:
                        continue
                    if end - start > 1 << 30:
                        continue  # reserved, as sanitizers do
                    try:
                        mem.seek(start)
                        self.areas.append((start, name, set_flags, mem.read(end - start)))
                    except OSError:
                        pass  # device memory, or gone meanwhile
        except PermissionError as error:
            raise Skipped(f"the memory of a process that is not dumpable can be read by root alone: {error}")
        check(sum(len(area[3]) for area in self.areas) > 1 << 20, "there is memory to look through")

    def find(self, needle):
        """(address, name of the area, its flags) of each place."""
        for start, name, flags, data in self.areas:
            at = data.find(needle)
            while at >= 0:
                yield start + at, name, flags
                at = data.find(needle, at + 1)


def long_term(node):
    """name -> the 32 bytes, of every key file of an instance whose keys are not encrypted."""
    found = {}
    for path in glob.glob(os.path.join(node.dir, "keys", "**", "*.key"), recursive=True):
        with open(path, encoding="utf-8") as file:
            for name, value in json.load(file)["secrets"].items():
                if value.startswith("0x"):
                    found[f"{os.path.basename(path)} {name}"] = bytes.fromhex(value[2:])
    return found


def derived(name, key):
    """What signing and agreeing make of a key on their way, and how it may be written."""
    yield "in hexadecimal", key.hex().encode()[:40]
    if "noise" in name:
        clamped = bytes([key[0] & 248]) + key[1:31] + bytes([key[31] & 127 | 64])
        if clamped != key:  # one key in 32 is so by itself
            yield "clamped", clamped
    else:
        scalar = hashlib.sha512(key).digest()
        yield "as a scalar", scalar[1:31]
        yield "as a prefix", scalar[32:]


def in_files(node, needles, but=()):
    for folder, _, names in os.walk(node.dir):
        for name in names:
            path = os.path.join(folder, name)
            if os.path.isfile(path) and not any(os.path.relpath(path, node.dir).startswith(b) for b in but):
                with open(path, "rb") as file:
                    data = file.read()
                for what, needle in needles:
                    check(needle not in data, f"{what} is in {path}")
    with open(node.log, "rb") as file:
        data = file.read()
    for what, needle in needles:
        check(needle not in data, f"{what} is in the log")


def exercise(case, home):
    """What nodes do: sessions both ways, tasks, an agent with a key of its own."""
    laptop = case.node("laptop.kai").start()
    laptop.ctl("connect", f"peer://127.0.0.1:{home.port}")
    home.ctl("connect", f"peer://127.0.0.1:{laptop.port}")
    home.ctl("trust", laptop.address)
    laptop.ctl("trust", home.address)
    home.ctl("agent", "add", "same", "--skill", "x", "--exec", "cat")
    for n in range(5):
        equal(laptop.ctl("task", "send", "klp://agent.same.home.kai", "--input", f"task {n}"), f"task {n}", "a task")
    home.ctl("announce", "hello all")
    laptop.stop()
    case.until(lambda: not home.peer(laptop)["sessions"], "the session is over")
    return laptop


def test_long_term_keys_are_in_one_locked_place(case):
    home = case.node("home.kai").start()
    exercise(case, home)
    keys = long_term(home)
    flags = [("dd", "left out of core files"), ("lo", "locked, so never in swap")][:1 if sanitized() else 2]  # it makes mlock do nothing
    check(len(keys) >= 6, f"keys of the node and of its agent: {list(keys)}")
    memory = Memory(home.process.pid)
    for name, key in keys.items():
        places = list(memory.find(key))
        equal(len(places), 1, f"{name} is in memory once: {[(hex(a), n) for a, n, _ in places]}")
        for flag, meaning in flags:
            check(flag in places[0][2], f"the memory of {name} is {meaning}: {places[0]}")
        equal(list(memory.find(key[:16]))[1:] + list(memory.find(key[16:]))[1:], [], f"nor are there pieces of {name}")
        for what, needle in derived(name, key):
            equal([(hex(a), n) for a, n, _ in memory.find(needle)], [], f"{name} {what} is nowhere")
    for child in descendants(home.process.pid):
        other = Memory(child)
        for name, key in keys.items():
            equal(list(other.find(key[:16])), [], f"{name} is in no other process")
    needles = [(f"{name} {what}", needle) for name, key in keys.items() for what, needle in [("itself", key), *derived(name, key)]]
    in_files(home, needles, but=("keys",))


def test_keys_of_sessions_go_with_them(case):
    """An evil peer writes down all that its handshakes agreed on; kosd knows no more of it when they are over."""
    home = case.node("home.kai").start()
    file = case.path("secrets")
    open_one = Evil(case, "message", home.port, seed=1, secrets=file, stay=1, target_id=home.id, wait=100)
    open_one.until("wait")
    with open(file, encoding="ascii") as lines:
        now = [bytes.fromhex(line) for line in lines]
    memory = Memory(home.process.pid)
    check(all(list(memory.find(key)) for key in now[-2:]), "what is looked for is found while the session is open")
    for n, key in enumerate(now[:-2]):
        equal([(hex(a), m) for a, m, _ in memory.find(key)], [], f"secret {n} of the handshake went with it")
    open_one.on()
    open_one.end()
    for stage in (3, 4):  # cut off in a handshake, and before anybody proved anything
        Evil(case, "stall", home.port, seed=2, stage=stage, secrets=file, wait=500).end()
    Evil(case, "reuse-nonce", home.port, seed=3, secrets=file).end()
    # And where it dials.
    there = Evil(case, "serve", 0, seed=5, secrets=file, wait=100)
    home.ctl("connect", f"peer://127.0.0.1:{there.until('port')[1]}")
    there.until("up")
    there.go()
    there.end()
    case.until(lambda: not any(p["sessions"] for p in home.json("peers")["peers"]), "all are gone")
    memory = Memory(home.process.pid)
    with open(file, encoding="ascii") as lines:
        keys = {bytes.fromhex(line) for line in lines} - {bytes(32)}
    check(len(keys) > 30, f"{len(keys)} secrets")
    for n, key in enumerate(keys):
        equal([(hex(a), m) for a, m, _ in memory.find(key[:16])], [], f"secret {n} of {len(keys)} is gone")
    in_files(home, [("a key of a session", key) for key in keys] + [("a key of a session in hexadecimal", key.hex().encode()) for key in keys])


def test_passphrases_are_forgotten(case):
    """Keys lie encrypted; the passphrase opens them and is gone, and what the keys are is nowhere but in their place."""
    words = b"correct horse battery staple of many words"
    file = case.path("passphrase", words + b"\n")
    os.chmod(file, 0o600)
    home = case.node("home.kai", arguments=["--passphrase-file", file])
    home.start(["--passphrase-file", file])
    exercise(case, home)
    memory = Memory(home.process.pid)
    equal([(hex(a), n) for a, n, _ in memory.find(words[:20])], [], "the passphrase is nowhere in kosd")
    for text in (b'"current":"0x', b'"noise":"0x'):
        equal([(hex(a), n) for a, n, _ in memory.find(text)], [], "nor is the text of the keys that it opened")
    for child in descendants(home.process.pid):
        equal(list(Memory(child).find(words[:20])), [], "nor in another process of it")
    for path in glob.glob(os.path.join(home.dir, "keys", "**", "*.key"), recursive=True):
        with open(path, encoding="utf-8") as key:
            check("secrets" not in json.load(key), f"{path} is encrypted")
    in_files(home, [("the passphrase", words[:20])])


def test_no_core_file(case):
    """Whatever kills kosd leaves no core file, and neither do its helpers."""
    home = case.node("home.kai").start()
    for pid in (home.process.pid, *descendants(home.process.pid)):
        with open(f"/proc/{pid}/limits", encoding="ascii") as limits:
            core = next(line for line in limits if line.startswith("Max core file size"))
        equal(core.split()[4:6], ["0", "0"], f"core files of {pid}")
    if not sanitized():  # the leak checker attaches to its own process
        for name in ("mem", "environ", "maps"):
            equal(os.stat(f"/proc/{home.process.pid}/{name}").st_uid, 0, f"/proc/PID/{name} is root's: not dumpable")


def test_comparisons_of_secrets(case):
    """Every memcmp of the protocol and the runtime compares what is public; what is not goes through klp_equal."""
    del case
    found = 0
    for folder in ("sdk/klp", "runtime"):
        for path in glob.glob(os.path.join(SRC, folder, "**", "*.c"), recursive=True):
            with open(path, encoding="utf-8") as source:
                for number, line in enumerate(source, 1):
                    if "memcmp(" in line and not path.endswith("_test.c"):
                        found += 1
                        words = re.sub(r"[a-z_]*(magic|digest|head|static|public)[a-z_]*", "", line.split("memcmp(", 1)[1])
                        secret = re.search(r"secret|cookie|\bmac\b|\btag\b|token|passphrase|seed", words)
                        check(not secret, f"{path}:{number} compares {secret and secret[0]}: use klp_equal: {line}")
    check(found > 20, "there are comparisons to look at")


if __name__ == "__main__":
    run(globals())
