#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A stranger's first ten minutes: kos is installed into a scratch DESTDIR, kos-new writes plugins outside the tree, they
build without warnings in C and in C++, pass their own tests and kos-conform, are loaded, and one carries a task."""
import concurrent.futures
import json
import os
import re
import shutil
import subprocess

from kit import BUILD, SRC, Failed, check, equal, has, many, program, run

KINDS = {"handler": "kos.handler/1", "transport": "kos.transport/1", "discovery": "kos.discovery/1", "bridge": "kos.bridge/1",
         "vector": "kos.vector/1"}
STRICT = "-O1 -Wpedantic -Werror"


def clean_environment(**more):
    """Without what `make check` gives to the makes below it."""
    out = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "CFLAGS", "CXXFLAGS", "LDFLAGS", "DESTDIR")}
    return {**out, **more}


def command(*arguments, cwd=None, env=None, status=0):
    done = subprocess.run(arguments, cwd=cwd, env=env, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode != status:
        raise Failed(f"{' '.join(arguments)}: status {done.returncode}, wanted {status}:\n{done.stdout[-2000:]}{done.stderr[-3000:]}")
    return done


class Installed:
    """What `make install` puts below a DESTDIR, or of it what the SDK is, and the way to use it from there."""

    def __init__(self, case, whole=False):
        self.root = os.path.join(case.dir, "root")
        parts = ["kosheadersHEADERS", "pkgconfigDATA", "dist_sdkDATA", "dist_kosnewDATA", "dist_aclocalDATA", "binSCRIPTS"]
        command("make", "-C", BUILD, *(["install"] if whole else ["install-" + p for p in parts]), f"DESTDIR={self.root}", env=clean_environment())
        pc = subprocess.run(["find", self.root, "-name", "kos-sdk.pc"], capture_output=True, text=True, check=True).stdout.split()
        equal(len(pc), 1, "kos-sdk.pc is installed")
        self.env = clean_environment(PKG_CONFIG_PATH=os.path.dirname(pc[0]), PKG_CONFIG_SYSROOT_DIR=self.root)
        self.kos_new = self.variable("kos_new")
        m4 = subprocess.run(["find", self.root, "-name", "kos.m4"], capture_output=True, text=True, check=True).stdout.strip()
        self.env["ACLOCAL_PATH"] = os.path.dirname(m4)
        # Of a whole installation its own, which finds the libraries beside it; else that of the tree.
        self.env["LD_LIBRARY_PATH"] = os.path.join(self.root, os.path.dirname(os.path.dirname(pc[0])))
        self.conform = self.variable("kos_conform") if whole else program("kos-conform")
        self.work = os.path.join(case.dir, "elsewhere")
        os.mkdir(self.work)

    def variable(self, name):
        return command("pkg-config", "--variable=" + name, "kos-sdk", env=self.env).stdout.strip()

    def new(self, *arguments, status=0):
        return command(self.kos_new, *arguments, cwd=self.work, env=self.env, status=status)

    def make(self, name, *arguments):
        return command("make", "-s", f"KOS_CONFORM={self.conform}", *arguments, cwd=os.path.join(self.work, name), env=self.env)

    def path(self, *parts):
        return os.path.join(self.work, *parts)


def exported(module):
    table = command("nm", "-D", "--defined-only", module).stdout
    return [line.split()[-1] for line in table.splitlines()]


def loads(module, name, feature):
    """kosctl plugin info takes it for what it is."""
    equal(exported(module), ["kos_plugin_v1"], module)
    said = json.loads(command(program("kosctl"), "--json", "plugin", "info", module).stdout)
    text = json.dumps(said)
    for part in (f'"org.example.{name}"', f'"{name}"', feature):
        has(text, part)


def test_each_kind_in_c_and_cxx(case):
    sdk = Installed(case, whole=True)

    def one(kind, language):
        name = "my_" + kind + ("_pp" if language else "")
        said = sdk.new(*([language] if language else []), kind, name).stdout
        has(said, f"next: cd {name} && make check")
        said = sdk.make(name, "check", f"CFLAGS={STRICT}", f"CXXFLAGS={STRICT}").stdout
        has(said, ", 0 broke a rule")
        loads(sdk.path(name, name + ".so"), name, KINDS[kind])

    # kos-conform waits more than it works.
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        each = [(kind, language) for kind in KINDS for language in ("", "--c++")]
        each = many(each, [(kind, language) for n, (kind, language) in enumerate(each) if n % 4 in (0, 3) or kind == "handler"])
        for done in [pool.submit(one, kind, language) for kind, language in each]:
            done.result()
    where = os.path.join(case.dir, "destination")
    sdk.make("my_handler", "install", "DESTDIR=" + where)
    plugin_dir = sdk.variable("plugindir").removeprefix(sdk.root)
    check(os.path.exists(where + plugin_dir + "/my_handler.so"), "make install puts it where kosd looks")


def test_autotools(case):
    sdk = Installed(case)
    sdk.new("--autotools", "--c++", "vector", "near")
    folder = sdk.path("near")
    done = command("autoreconf", "-i", cwd=folder, env=sdk.env)
    check("error" not in done.stderr and "warning" not in done.stderr, f"autoreconf complains: {done.stderr}")
    command("./configure", "--prefix=/usr", f"CXXFLAGS={STRICT}", cwd=folder, env=sdk.env)
    sdk.make("near", "check")
    where = os.path.join(case.dir, "destination")
    sdk.make("near", "install", "DESTDIR=" + where)
    loads(where + sdk.variable("plugindir").removeprefix(sdk.root) + "/near.so", "near", "kos.vector/1")


def test_the_policy_that_it_writes_is_good(case):
    sdk = Installed(case)
    node = case.node("home.kai")
    for kind in KINDS:
        sdk.new(kind, "a_" + kind)
        sdk.make("a_" + kind)
        shutil.copy(sdk.path("a_" + kind, f"a_{kind}.so"), case.plugins)
        node.ctl("policy", "check", sdk.path("a_" + kind, f"a_{kind}.klp-policy"))


def test_one_carries_a_task(case):
    """Two nodes that have no transport but the one kos-new wrote, in C++; one hosts it in a cell, as its policy says, the
    other in its own process and built with the headers of an imagined next minor version."""
    sdk = Installed(case)
    sdk.new("--c++", "transport", "wire")
    sdk.make("wire")
    shutil.copy(sdk.path("wire", "wire.so"), case.plugins)
    following = os.path.join(case.dir, "next")
    command("python3", os.path.join(SRC, "sdk", "abi", "abi.py"), "next", following, env=clean_environment(KOS_SRCDIR=SRC))
    command("c++", "-std=c++20", "-D_GNU_SOURCE", "-I", following, "-fPIC", "-fvisibility=hidden", "-shared",
            "-o", os.path.join(case.plugins, "wire_next.so"), sdk.path("wire", "wire.cc"))
    with open(sdk.path("wire", "wire.klp-policy"), encoding="utf-8") as file:
        wiring = file.read()
    home, laptop = case.node("home.kai"), case.node("laptop.kai", listen=False)
    home.setting("listen", f'[ "wire://127.0.0.1:{home.port}" ]')
    for node in (home, laptop):
        node.policy("wire", wiring if node is home else wiring.replace("wire.so", "wire_next.so").replace("= true", "= false"))
        default = os.path.join(node.dir, "policy.d", "default.klp-policy")
        with open(default, encoding="utf-8") as file:
            text = re.sub(r"    tcp = \{.*?\};\n", "", file.read(), flags=re.S)
        with open(default, "w", encoding="utf-8") as file:
            file.write(text)
        node.start()
    home.ctl("agent", "add", "shout", "--skill", "text", "--exec", "tr a-z A-Z")
    laptop.ctl("connect", f"wire://127.0.0.1:{home.port}")
    home.ctl("trust", laptop.address)
    laptop.ctl("trust", home.address)
    equal(laptop.ctl("task", "send", "klp://agent.shout.home.kai", "--input", "over a wire of one's own"), "OVER A WIRE OF ONE'S OWN", "the answer")
    blob = os.urandom(700 << 10)
    home.ctl("agent", "add", "same", "--skill", "echo", "--exec", "cat")
    done = laptop.raw("task", "send", "klp://agent.same.home.kai", "--input", "@" + case.path("blob", blob))
    check(done.returncode == 0 and done.stdout == blob, f"700 KiB come back as they went: {done.stderr[:300]}")


def blocks(page):
    """The commands of the page's walk-through, each with the lines that it is said to print."""
    with open(os.path.join(SRC, "man", page), encoding="utf-8") as file:
        text = "".join(re.findall(r'^\.\\" walk-through\n\.Bd [^\n]*\n(.*?)^\.Ed', file.read(), re.S | re.M))
    found = []
    for line in text.replace(r"\-", "-").replace(r"\e", "\\").splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        else:
            found[-1][1].append(line)
    return found


def test_the_walk_through_of_the_manual(case):
    """kos-plugin(7) as it is written, typed by somebody who has a node in ~/kos."""
    sdk = Installed(case)
    node = case.node("kos.kai")
    env = {**sdk.env, "HOME": case.dir, "plugindir": case.plugins, "KOS_CONFORM": sdk.conform,
           "PATH": f"{os.path.dirname(sdk.kos_new)}:{BUILD}:{os.environ['PATH']}"}
    shell = subprocess.Popen(["sh", "-e"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env, cwd=sdk.work)
    case.processes.append(shell)
    commands = blocks("kos-plugin.7")
    check(len(commands) >= 10, f"the walk-through is not where it is looked for: {commands}")
    for line, said in commands:
        if line == "kosd -i ~/kos":
            node.start()
            continue
        shell.stdin.write(line + "\necho '--- done'\n")
        shell.stdin.flush()
        printed = []
        while not printed or printed[-1] != "--- done":
            got = shell.stdout.readline()
            check(got != "", f"{line}: failed:\n" + "\n".join(printed))
            printed.append(got.rstrip("\n"))
        if said:
            equal(printed[:-1], said, line)
    row = next((row.split() for row in printed if row.startswith("greet ")), [])
    check("running" in row and "cell" in row, f"the plugin runs, in a cell: {printed}")
    shell.stdin.close()
    equal(shell.wait(), 0, "the shell's status")


def test_the_headers_by_themselves(case):
    """In any order, in C and in C++, and without a word from the compiler."""
    sdk = Installed(case)
    cflags = command("pkg-config", "--cflags", "kos-sdk", env=sdk.env).stdout.split()
    folder = os.path.join(cflags[0][2:], "kos")
    headers = sorted(os.listdir(folder))
    check(len(headers) > 12, f"headers: {headers}")
    everything = "".join(f"#include <kos/{h}>\n" for h in reversed(headers)) + \
        "int has(const struct kos_host *h);\nint has(const struct kos_host *h) { return KOS_HAS(h, post) ? 1 : 0; }\n"
    strict = ["-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Wundef", "-Wcast-qual", "-Wconversion", "-Werror", "-fsyntax-only"]
    with open(os.path.join(folder, "abi.h"), encoding="utf-8") as file:
        versions = dict(re.findall(r"^#define KOS_ABI_(MAJOR|MINOR) (\d+)$", file.read(), re.M))
    equal(versions, {"MAJOR": sdk.variable("abi_major"), "MINOR": sdk.variable("abi_minor")}, "kos-sdk.pc names the ABI's version")
    for compiler, language, standard in (("cc", "c", "c17"), ("c++", "c++", "c++17"), ("c++", "c++", "c++20")):
        for text in [everything, *(f"#include <kos/{h}>\n" for h in headers if standard != "c++20")]:
            path = case.path("try." + language.replace("c++", "cc"), text.encode())
            command(compiler, "-std=" + standard, "-x", language, *strict, *cflags, path)


def test_what_it_refuses(case):
    sdk = Installed(case)
    for arguments, sentence in (((), "which KIND?"), (("handler",), "which NAME?"), (("radio", "x"), "there is no kind 'radio'"),
                                (("handler", "Abc"), "'Abc' is no name"), (("handler", "1a"), "'1a' is no name"),
                                (("handler", "a-b"), "'a-b' is no name"), (("handler", "../x"), "'../x' is no name"),
                                (("handler", "a" * 33), "has 33 characters"), (("handler", "a", "b"), "what is 'b'?"),
                                (("--c", "handler", "a"), "there is no option --c"), (("handler", ""), "is neither KIND nor NAME")):
        done = sdk.new(*arguments, status=2)
        has(done.stderr, sentence)
        equal((done.stdout, len(done.stderr.splitlines())), ("", 2), "one sentence and a hint")
    equal(os.listdir(sdk.work), [], "nothing was written")
    sdk.new("handler", "a" * 32)
    os.symlink("nowhere", sdk.path("dangling"))
    has(sdk.new("handler", "a" * 32, status=2).stderr, "is there already")
    has(sdk.new("handler", "dangling", status=2).stderr, "is there already")
    has(sdk.new("--help").stdout, "usage: kos-new")
    with open(os.path.join(SRC, "etc", "kos-new.bash"), encoding="utf-8") as file:
        completion = file.read()
    with open(os.path.join(SRC, "man", "kos-new.1"), encoding="utf-8") as file:
        page = file.read()
    for word in set(re.findall(r"--[a-z+]+", sdk.new("--help").stdout)):
        has(completion, word)
        has(page, word[1:])
    for kind in KINDS:
        has(completion, kind)
        has(page, f".It Cm {kind}\n")


run(globals())
