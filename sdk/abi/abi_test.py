#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The watch over the ABI sees: the headers are as they were accepted, and each sort of change to them is noticed, by the
asserts alone and by abidiff alone. TAP."""
import contextlib
import os
import re
import shutil
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import abi  # pylint: disable=wrong-import-position

# (what is done, header, text, text in its place, what an assert says, whether abidiff can see it)
MUTANTS = [
    ("a member is removed", "handler.h", r"    const char \*source_name;.*\n", "", "source_name", True),
    ("a member has another type", "host.h", r"int32_t klass;", "uint32_t klass;", "kos_draft.klass has another type", True),
    ("a member has another size", "handler.h", r"uint8_t digest\[32\]", "uint8_t digest[31]", "kos_message.digest has another type", True),
    ("two members change places", "host.h", r"(    void \(\*tx_begin\).*\n)(    void \(\*tx_put\).*\n)", r"\2\1", "kos_host.tx_begin has moved", True),
    ("a member comes in between", "plugin.h", r"(struct kos_right \{\n    uint32_t size;\n)", r"\1    const char *id;\n", "kos_right.name has moved", True),
    ("a function takes another argument", "host.h", r"\(\*post\)\(const struct kos_host \*host, uint64_t", "(*post)(const struct kos_host *host, uint32_t",
     "kos_host.post has another type", True),
    ("a function returns something else", "plugin.h", r"int32_t \(\*init\)", "int64_t (*init)", "kos_plugin.init has another type", True),
    ("a function loses an argument", "transport.h", r"uint64_t link, int32_t flush\)", "uint64_t link)", "kos_transport.link_close has another type", True),
    ("a struct is removed", "vector.h", r"struct kos_query \{(?:.|\n)*?\n\};\n", "struct kos_query;\n", "kos_query", True),
    ("an enumerator has another value", "host.h", r"KOS_ACCEPT = 1,", "KOS_ACCEPT = 4,", "KOS_ACCEPT has another value", True),
    ("an enumerator is removed", "transport.h", r"    KOS_LINK_SHARED = 8,.*\n", "", "KOS_LINK_SHARED", True),
    ("an error has another number", "err.h", r"-11, ", "-81, ", "KOS_E_BUSY has another value", True),
    ("a limit without a name of its enum is another", "host.h", r"KOS_STATE_KEY_MAX = 256", "KOS_STATE_KEY_MAX = 255", "KOS_STATE_KEY_MAX has another value", False),
    ("a feature has another name", "handler.h", r'"kos.handler/1"', '"kos.handler/2"', 'KOS_HANDLER is "kos.handler/1"', False),
]


def named(sdk):
    """What the program says that layout.c is: the names that are not as they were."""
    with tempfile.TemporaryDirectory() as work:
        program = os.path.join(work, "layout")
        said = abi.compiled(os.path.join(abi.HERE, "layout.c"), sdk, "-DGROWN", "-o", program)
        return said or "\n".join(line for line in abi.run(program).stdout.splitlines() if line.startswith("not ok"))


@contextlib.contextmanager
def changed(header, pattern, replacement):
    with tempfile.TemporaryDirectory() as work:
        shutil.copytree(os.path.join(abi.SDK, "kos"), os.path.join(work, "kos"))
        path = os.path.join(work, "kos", header)
        with open(path, encoding="utf-8") as file:
            text, count = re.subn(pattern, replacement, file.read(), count=1)
        if count != 1:
            raise abi.Fault(f"{header}: there is nothing to change for {pattern!r}")
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        yield work


def everything_has_an_assert():
    yield from (f"{name}: run make abi-update" for name in abi.missing(abi.SDK))


# Values, which say in their headers that they never grow.
FROZEN = {"kos_bytes", "kos_error", "kos_http_header"}


def every_struct_can_grow():
    structs, _, _ = abi.declared(abi.SDK)
    for name, inside in structs.items():
        if (inside[0] == ("size", "uint32_t")) == (name in FROZEN):
            yield f"{name} begins with {inside[0]}"


def asserts_hold():
    said = abi.compiled(os.path.join(abi.HERE, "layout.c"), abi.SDK, "-fsyntax-only")
    yield from (said.splitlines() if said else [])
    yield from named(abi.SDK).splitlines()


def dwarf_knows_no_more():
    """The reader of headers overlooked nothing: abidw, which reads the compiler's word, lists the same members."""
    with open(abi.STORED, encoding="utf-8") as file:
        text = file.read()
    structs, _, _ = abi.declared(abi.SDK)
    told = {}
    for match in re.finditer(r"<class-decl name='(kos_\w+)'([^>]*[^/])>(.*?)</class-decl>", text, re.S):
        told[match.group(1)] = re.findall(r"<data-member .*?<var-decl name='(\w+)'", match.group(3), re.S)
    for name, inside in structs.items():
        if told.get(name) != [m for m, _ in inside]:
            yield f"{name}: the headers have {[m for m, _ in inside]}, abidw has {told.get(name)}"


def abidiff_is_silent():
    status, report = abi.difference(abi.SDK)
    if status:
        yield from ["run make abi-update"] + report.splitlines()


def asserts_see(header, pattern, replacement, sentence):
    with changed(header, pattern, replacement) as sdk:
        said = "\n".join(abi.broken(sdk)) or named(sdk)
        if sentence not in said:
            yield f"{sentence!r} was not said, but: {said!r}"


def abidiff_sees_them():
    for what, header, pattern, replacement, _, visible in MUTANTS:
        if visible:
            yield from (f"{what}: {line}" for line in abidiff_sees(header, pattern, replacement))


def abidiff_sees(header, pattern, replacement):
    with changed(header, pattern, replacement) as sdk:
        # What is gone cannot be exported; what is left of the anchor is enough to see that it is.
        with tempfile.TemporaryDirectory() as here:
            shutil.copy(abi.STORED, here)
            with open(os.path.join(here, "anchor.c"), "w", encoding="utf-8") as file:
                file.write(abi.anchor(sdk))
            status, report = abi.difference(sdk, here)
        if status & 3 or not status & 12:
            yield f"abidiff ended with {status}: {report}"


def an_addition_is_told_apart():
    pattern, replacement = r"(    const char \*directory;\n)", r"\1    void (*more)(const struct kos_host *host);\n"
    with changed("host.h", pattern, replacement) as sdk:
        yield from (f"taken for a break: {b}" for b in abi.broken(sdk))
        if list(abi.missing(sdk)) != ["kos_host.more"]:
            yield f"not seen as what it is: {list(abi.missing(sdk))}"
        if abi.compiled(os.path.join(abi.HERE, "layout.c"), sdk, "-fsyntax-only") is None:
            yield "a longer struct passed the asserts without being accepted"


def a_new_struct_is_seen():
    with changed("vector.h", r"\n#endif\n$", "\nstruct kos_new_thing {\n    uint32_t size;\n};\nenum { KOS_NEW = 1 };\n\n#endif\n") as sdk:
        if list(abi.missing(sdk)) != ["struct kos_new_thing", "KOS_NEW"]:
            yield f"seen: {list(abi.missing(sdk))}"


def checks():
    yield "every public struct, member and constant has an assert", everything_has_an_assert, True
    yield "every struct begins with its size, but those that are frozen", every_struct_can_grow, True
    yield "the headers are as they were accepted", asserts_hold, True
    yield "abidw lists the same members", dwarf_knows_no_more, False
    yield "abidiff sees no change", abidiff_is_silent, False
    for what, header, pattern, replacement, sentence, _ in MUTANTS:
        yield f"asserts see that {what}", lambda h=header, p=pattern, r=replacement, s=sentence: asserts_see(h, p, r, s), True
    yield "abidiff sees each of these changes that is one of types", abidiff_sees_them, False
    yield "a member at the end is an addition, and must be accepted", an_addition_is_told_apart, True
    yield "a new struct must be accepted", a_new_struct_is_seen, True


def main():
    plan = list(checks())
    print(f"1..{len(plan)}")
    bad = 0
    for number, (title, function, anywhere) in enumerate(plan, 1):
        if not anywhere and not abi.has_abigail():
            print(f"ok {number} - {title} # SKIP needs abigail-tools and x86_64")
            continue
        try:
            found = list(function())
        except abi.Fault as fault:
            found = str(fault).splitlines()
        print(f"{'not ok' if found else 'ok'} {number} - {title}", flush=True)
        for line in found:
            print("# " + line)
        bad += bool(found)
    return 1 if bad else 0


sys.exit(main())
