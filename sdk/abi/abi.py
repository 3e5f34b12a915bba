#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Watches the ABI of sdk/kos: what its headers declare, laid down in files that a change must come past.

    abi.py update     writes sdk/abi/layout.c, anchor.c and kos-sdk-1.abi from the headers (make abi-update)
    abi.py check      compares the headers with them; says what was added and what was broken (make abi-check)
    abi.py next DIR   writes the headers of an imagined next minor version into DIR

layout.c asserts size, offsets, types and values, with any compiler for LP64. anchor.c is a library that exports one
function for each public struct, as abidiff follows only what exports reach; kos-sdk-1.abi is what abidw says of it.
"""
import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap

TOP = os.environ.get("KOS_SRCDIR", os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
HERE = os.path.join(TOP, "sdk", "abi")
SDK = os.path.join(TOP, "sdk")
CC = (os.environ.get("CC") or "cc").split()
STORED = os.path.join(HERE, "kos-sdk-1.abi")
LICENCE = "/* SPDX-License-Identifier: Apache-2.0\n"
# Nothing of the machine or of where a line stands may count as a change.
ABIDW = ["abidw", "--no-show-locs", "--no-comp-dir-path", "--no-corpus-path", "--no-elf-needed", "--no-parameter-names",
         "--type-id-style", "hash"]


class Fault(Exception):
    """What is wrong, for a person."""


def run(*arguments, stdin=None):
    return subprocess.run(arguments, input=stdin, capture_output=True, text=True, check=False, env={**os.environ, "LC_ALL": "C"})


def compiled(source, sdk, *options):
    """What the compiler says of a file: None when it takes it."""
    done = run(*CC, "-std=c17", "-w", "-I", sdk, *options, source)
    return None if done.returncode == 0 else done.stderr


def headers(sdk):
    return sorted(os.path.basename(p) for p in glob.glob(os.path.join(sdk, "kos", "*.h")))


# ---- what the headers declare ----

def preprocessed(sdk):
    """The text of the headers themselves after the preprocessor, without that of the C library."""
    text = "".join(f"#include <kos/{h}>\n" for h in headers(sdk))
    done = run(*CC, "-std=c17", "-E", "-I", sdk, "-x", "c", "-", stdin=text)
    if done.returncode != 0:
        raise Fault("the headers do not compile:\n" + done.stderr)
    ours, kept = False, []
    root = os.path.join(os.path.realpath(sdk), "kos")
    for line in done.stdout.splitlines():
        marker = re.match(r'# \d+ "([^"]*)"', line)
        if marker:
            ours = os.path.realpath(os.path.dirname(marker.group(1))) == root
        elif ours:
            kept.append(line)
    return "\n".join(kept)


def split(text, separator):
    """At separators outside of brackets."""
    parts, depth = [""], 0
    for c in text:
        depth += (c in "([{") - (c in ")]}")
        if c == separator and depth == 0:
            parts.append("")
        else:
            parts[-1] += c
    return [p.strip() for p in parts if p.strip()]


def body(text, start):
    depth, at = 0, start
    while True:
        depth += (text[at] == "{") - (text[at] == "}")
        at += 1
        if depth == 0:
            return text[start + 1:at - 1]


def members(text):
    """[(name, type)] of a struct's body."""
    found = []
    for declaration in split(text, ";"):
        declaration = " ".join(declaration.split())
        match = re.match(r"((?:const )?(?:struct \w+|enum \w+|\w+))\b ?(.*)$", declaration)
        for declarator in split(match.group(2), ","):
            pointer = re.search(r"\(\*(\w+)\)", declarator)
            plain = re.search(r"(\w+)((?:\[[^\]]*\])*)$", declarator)
            name = (pointer or plain).group(1)
            kind = declarator.replace(f"(*{name})", "(*)", 1) if pointer else declarator[:plain.start()] + plain.group(2)
            found.append((name, f"{match.group(1)} {kind}".strip()))
    return found


def declared(sdk):
    """{struct: [(member, type)]}, {enumerator}, {macro: string}."""
    text = preprocessed(sdk)
    structs = {m.group(1): members(body(text, m.end() - 1)) for m in re.finditer(r"\bstruct (kos_\w+)\s*\{", text)}
    values = []
    for match in re.finditer(r"\benum\s*(?:kos_\w+)?\s*\{", text):
        values += [re.match(r"\w+", e).group(0) for e in split(body(text, match.end() - 1), ",")]
    names = {}
    for header in headers(sdk):
        with open(os.path.join(sdk, "kos", header), encoding="utf-8") as file:
            names.update(re.findall(r'^#define (KOS_\w+) ("[^"]*")$', file.read(), re.M))
    if len(structs) < 20 or len(values) < 60:
        raise Fault("the declarations are not where they are looked for")
    return structs, values, names


def measured(sdk):
    """Size of each struct, offset of each member, value of each enumerator, as the compiler sees them."""
    structs, values, names = declared(sdk)
    lines = ["#include <stddef.h>", "#include <stdio.h>", *(f"#include <kos/{h}>" for h in headers(sdk)), "int main(void) {"]
    for struct, inside in structs.items():
        lines.append(f'printf("%zu\\n", sizeof(struct {struct}));')
        lines += [f'printf("%zu\\n", offsetof(struct {struct}, {m}));' for m, _ in inside]
    lines += [f'printf("%lld\\n", (long long){v});' for v in values] + ["return 0; }"]
    with tempfile.TemporaryDirectory() as work:
        source, program = os.path.join(work, "m.c"), os.path.join(work, "m")
        with open(source, "w", encoding="utf-8") as file:
            file.write("\n".join(lines))
        said = compiled(source, sdk, "-o", program)
        if said:
            raise Fault("the declarations were not understood:\n" + said)
        numbers = iter(run(program).stdout.split())
    sizes, offsets = {}, {}
    for struct, inside in structs.items():
        sizes[struct] = next(numbers)
        offsets.update({(struct, m): next(numbers) for m, _ in inside})
    return structs, names, sizes, offsets, {v: next(numbers) for v in values}


# ---- what is laid down ----

def wrapped(line):
    return "\n".join(textwrap.wrap(line, 118, subsequent_indent="       ", break_long_words=False, break_on_hyphens=False))


def layout(sdk):
    structs, names, sizes, offsets, values = measured(sdk)
    out = [LICENCE + " * Written by `make abi-update`: every public struct, member and constant of sdk/kos, as it was last accepted. A header",
           " * that says something else does not pass. GROWN lets structs be longer than here, and nothing else be different. */",
           "#include <stddef.h>", "#include <stdio.h>", "#include <string.h>", *(f"#include <kos/{h}>" for h in headers(sdk)), "",
           "#ifdef GROWN", "#define FITS >=", "#else", "#define FITS ==", "#endif",
           '#define STRUCT(s, bytes) _Static_assert(sizeof(struct s) FITS(bytes), #s " has another size");',
           "#define MEMBER(s, m, offset, ...) \\",
           '    _Static_assert(offsetof(struct s, m) == (offset), #s "." #m " has moved"); \\',
           "    _Static_assert(__builtin_types_compatible_p(__typeof__(((struct s *)0)->m), __VA_ARGS__), \\",
           '                   #s "." #m " has another type");',
           '#define VALUE(name, number) _Static_assert((name) == (number), #name " has another value");', "",
           "#if __SIZEOF_POINTER__ == 8"]
    for struct, inside in structs.items():
        out.append(f"STRUCT({struct}, {sizes[struct]})")
        out += [wrapped(f"MEMBER({struct}, {m}, {offsets[struct, m]}, {t})") for m, t in inside]
    out += ["#endif", ""] + [f"VALUE({v}, {n})" for v, n in values.items()]
    out += ["", "static const struct {", "    const char *macro, *is, *was;", "} names[] = {"]
    out += [f'    {{ "{n}", {n}, {text} }},' for n, text in sorted(names.items())]
    out += ["};", "", "int main(void)", "{", "    size_t count = sizeof names / sizeof *names, bad = 0;",
            '    printf("1..%zu\\n", count);', "    for (size_t i = 0; i < count; i++) {",
            "        int same = strcmp(names[i].is, names[i].was) == 0;", "        bad += !same;",
            '        printf("%s %zu - %s is \\"%s\\"\\n", same ? "ok" : "not ok", i + 1, names[i].macro, names[i].was);', "    }",
            "    return bad ? 1 : 0;", "}", ""]
    return "\n".join(out)


def anchor(sdk):
    structs, _, _ = declared(sdk)
    with_name = re.findall(r"\benum (kos_\w+)\s*\{", preprocessed(sdk))
    out = [LICENCE + " * Written by `make abi-update`: a library whose exports name every public struct and enum of sdk/kos, for abidw. */",
           *(f"#include <kos/{h}>" for h in headers(sdk)), ""]
    for kind, names in (("struct", structs), ("enum", with_name)):
        for name in names:
            out += [f"KOS_EXPORT void kos_abi_{name}(const {kind} {name} *value);", f"void kos_abi_{name}(const {kind} {name} *value)",
                    "{", "    (void)value;", "}"]
    return "\n".join(out) + "\n"


def describe(sdk, source, target):
    """abidw of the anchor, built against some headers."""
    library = target + ".so"
    said = compiled(source, sdk, "-g", "-O0", "-gdwarf-4", "-fPIC", "-shared", "-o", library)
    if said:
        raise Fault("the anchor does not compile:\n" + said)
    done = run(*ABIDW, "--out-file", target, library)
    if done.returncode != 0:
        raise Fault("abidw failed: " + done.stderr)
    with open(target, encoding="utf-8") as file:
        text = re.sub(r" (?:path|soname|comp-dir-path)='[^']*'", "", file.read())
        text = re.sub(r"<abi-instr [^>]*>", "<abi-instr address-size='64' path='anchor.c' language='LANG_C11'>", text)
    with open(target, "w", encoding="utf-8") as file:
        file.write(text)


def has_abigail():
    return shutil.which("abidw") and shutil.which("abidiff") and os.uname().machine == "x86_64"


# ---- comparing ----

def broken(sdk, here=HERE):
    """What of the accepted layout does not hold any more, members appended apart: a list of sentences."""
    said = compiled(os.path.join(here, "layout.c"), sdk, "-DGROWN", "-fsyntax-only", "-fmax-errors=0" if "clang" not in CC[-1] else "-ferror-limit=0")
    if said is None:
        return []
    found = re.findall(r'static assertion failed:? (?:due to requirement .*: )?"([^"\n]*(?:"[^"\n]*)*)"', said)
    found += re.findall(r"error: (.*(?:has no member named|undeclared|invalid use of undefined type|no member named|undeclared identifier).*)", said)
    return [f.replace('" "', "").replace('"', "") for f in found] or [said]


def missing(sdk, here=HERE):
    """What the headers declare and layout.c or anchor.c do not."""
    structs, values, names = declared(sdk)
    with open(os.path.join(here, "layout.c"), encoding="utf-8") as file:
        text = file.read()
    with open(os.path.join(here, "anchor.c"), encoding="utf-8") as file:
        exports = file.read()
    for struct, inside in structs.items():
        if f"STRUCT({struct}, " not in text or f"kos_abi_{struct}(" not in exports:
            yield f"struct {struct}"
        else:
            yield from (f"{struct}.{m}" for m, _ in inside if f"MEMBER({struct}, {m}, " not in text)
    yield from (v for v in values if f"VALUE({v}, " not in text)
    yield from (n for n in names if f'{{ "{n}", ' not in text)


def difference(sdk, here=HERE):
    """abidiff between what is stored and some headers: (exit status, report)."""
    with tempfile.TemporaryDirectory() as work:
        now = os.path.join(work, "now.abi")
        describe(sdk, os.path.join(here, "anchor.c"), now)
        done = run("abidiff", "--no-show-locs", os.path.join(here, "kos-sdk-1.abi"), now)
        return done.returncode, done.stdout + done.stderr


def check():
    wrong = broken(SDK)
    if wrong:
        print("The ABI of sdk/kos is broken: a plugin built before would not run any more.")
        print("\n".join("  " + w for w in wrong))
        print("Within a major version structs only grow at their end, and nothing else changes (kos/abi.h).")
        if not released():
            print("Before the first release it can be accepted: make abi-update")
        return 1
    added = list(missing(SDK))
    if added:
        print("Added to sdk/kos and not watched yet:")
        print("\n".join("  " + a for a in added))
        print("It breaks nothing. Note it among the changes in kos/abi.h and accept it: make abi-update")
        return 1
    if has_abigail():
        status, report = difference(SDK)
        if status:
            print(report + "abidiff sees a change of the ABI. To accept it: make abi-update")
            return 1
    else:
        print("abidiff was not asked: it needs abigail-tools and x86_64")
    print("The ABI of sdk/kos is as it was accepted.")
    return 0


def released():
    """Whether what is laid down was promised to anyone: kos-sdk.pc says a release candidate until then."""
    with open(os.path.join(TOP, "etc", "kos-sdk.pc.in"), encoding="utf-8") as file:
        return "~rc" not in re.search(r"^Version: (.*)$", file.read(), re.M).group(1)


def update():
    if os.path.exists(os.path.join(HERE, "layout.c")):
        wrong = broken(SDK)
        if wrong and released():
            print("Not accepted, as it breaks plugins that were built with a release:\n" + "\n".join("  " + w for w in wrong))
            return 1
        if wrong:
            print("Accepted, though it breaks plugins built before:\n" + "\n".join("  " + w for w in wrong))
        for name in missing(SDK):
            print("  added: " + name)
    texts = {"layout.c": layout(SDK), "anchor.c": anchor(SDK)}
    for name, text in texts.items():
        with open(os.path.join(HERE, name), "w", encoding="utf-8") as file:
            file.write(text)
    if not has_abigail():
        print("kos-sdk-1.abi is left as it was: it needs abigail-tools and x86_64")
        return 1
    with tempfile.TemporaryDirectory() as work:
        describe(SDK, os.path.join(HERE, "anchor.c"), os.path.join(work, "now.abi"))
        shutil.copy(os.path.join(work, "now.abi"), STORED)
    structs, values, names = declared(SDK)
    print(f"sdk/abi: {len(structs)} structs with {sum(map(len, structs.values()))} members, {len(values)} constants, {len(names)} names")
    return 0


# ---- the next minor version ----

def next_minor(target):
    """Headers in which every struct that may grow has grown: what a host and a plugin of different age see."""
    shutil.rmtree(target, ignore_errors=True)
    os.makedirs(os.path.join(target, "kos"))
    for header in headers(SDK):
        with open(os.path.join(SDK, "kos", header), encoding="utf-8") as file:
            text = file.read()
        for match in reversed(list(re.finditer(r"^struct (kos_\w+) \{\n    uint32_t size;", text, re.M))):
            end = text.index("\n};", match.start())
            more = {"kos_host": "\n    int32_t (*kos_next_call)(const struct kos_host *host, int32_t number);",
                    "kos_plugin": "\n    void (*kos_next_event)(void *self, int32_t number);"}.get(match.group(1), "")
            text = text[:end] + more + "\n    uint64_t kos_next[3];" + text[end:]
        text = text.replace("#define KOS_ABI_MINOR 0", "#define KOS_ABI_MINOR 1")
        with open(os.path.join(target, "kos", header), "w", encoding="utf-8") as file:
            file.write(text)


def main(arguments):
    try:
        if arguments == ["update"]:
            return update()
        if arguments == ["check"]:
            return check()
        if len(arguments) == 2 and arguments[0] == "next":
            next_minor(arguments[1])
            return 0
    except Fault as fault:
        print(f"abi.py: {fault}", file=sys.stderr)
        return 1
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
