#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The manual says what the code says: pages are clean mdoc, references lead somewhere, and every command, option, setting
and error name stands where a reader looks for it. TAP."""
import glob
import os
import re
import subprocess
import sys

TOP = os.environ.get("KOS_SRCDIR", os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
OURS = re.compile(r"^(kos|klp)")


def read(path):
    with open(os.path.join(TOP, path), encoding="utf-8") as file:
        return file.read()


def pages():
    return sorted(os.path.relpath(p, TOP) for p in glob.glob(os.path.join(TOP, "man", "*.[1-9]")))


def plain(text):
    """mdoc's spellings of quotes and dashes as the characters they are."""
    return text.replace(r"\(dq", '"').replace(r"\-", "-").replace(r"\e", "\\")


def items(page):
    """The heads of the page's lists: [(head, text up to the next head of the same depth or a section)]."""
    found, open_items, depth = [], {}, 0
    for line in plain(read(page)).splitlines():
        depth += line.startswith(".Bl ")
        depth -= line.startswith(".El")
        if line.startswith((".Sh ", ".Ss ")):
            open_items = {}
        if line.startswith(".It"):
            entry = [line[4:], ""]
            open_items = {d: e for d, e in open_items.items() if d < depth}
            open_items[depth] = entry
            found.append(entry)
        for entry in open_items.values():
            entry[1] += line + "\n"
    return found


def head_of(entries, macro, word):
    """The entry whose head begins with `macro word`, also as one of several words of the macro."""
    pattern = re.compile(rf"^{macro} (.*[ ,]|){re.escape(word)}($|[ ,])")
    return next((e for e in entries if pattern.match(e[0])), None)


def unquote(text):
    return "".join(re.findall(r'"((?:[^"\\]|\\.)*)"', text))


def check_lint(page):
    result = subprocess.run(["mandoc", "-Tlint", "-Wwarning", os.path.join(TOP, page)], capture_output=True, text=True, check=False)
    yield from result.stdout.splitlines()
    name, section = os.path.basename(page).rsplit(".", 1)
    if f".Dt {name.upper()} {section}\n" not in read(page):
        yield f"{page}: .Dt does not name the page"
    if not read(page).startswith('.\\" SPDX-License-Identifier: Apache-2.0\n'):
        yield f"{page}: the licence is not named"


def check_references(page):
    for number, line in enumerate(read(page).splitlines(), 1):
        for name, section in re.findall(r"\bXr (\S+) (\d)", line):
            if OURS.match(name) and not os.path.exists(os.path.join(TOP, "man", f"{name}.{section}")):
                yield f"{page}:{number}: there is no page {name}({section})"


def commands():
    table = re.search(r"commands\[\] = \{(.*?)\n\};", read("runtime/kosctl/main.c"), re.S).group(1)
    return [(name, unquote(synopsis)) for name, synopsis in re.findall(r'\{ "([a-z ]+)", ("(?:[^"\\]|\\.)*"),', table)]


def check_commands():
    entries = items("man/kosctl.1")
    table = commands()
    if len(table) < 20:
        yield "the table of kosctl's commands is not where it is looked for: runtime/kosctl/main.c"
    for name, synopsis in table:
        mine = [e for e in entries if re.match(rf"Cm {name}( |$)", e[0])]
        if not mine:
            yield f"kosctl.1: the command {name} is missing"
        for option in re.findall(r"--([a-z-]+)", synopsis):
            if mine and not any(re.search(rf"\bFl -{option}\b", e[1]) for e in mine):
                yield f"kosctl.1: {name}: the option --{option} is missing"


def check_completion():
    text = read("etc/kosctl.bash")
    options = dict(re.findall(r"^    '?([a-z ]+)'?\) echo (--.*) ;;$", text, re.M))
    for name, synopsis in commands():
        first, _, second = name.partition(" ")
        if not re.search(rf"-W '[^']*\b{first}\b", text):
            yield f"etc/kosctl.bash: the command {first} is missing"
        if second and not re.search(rf"^ *{first}\) words='[^']*\b{second}\b", text, re.M):
            yield f"etc/kosctl.bash: the command {name} is missing"
        missing = set(re.findall(r"--[a-z-]+", synopsis)) - set(options.get(name, "").split())
        if missing:
            yield f"etc/kosctl.bash: {name}: missing {' '.join(sorted(missing))}"


def long_options(path):
    return re.findall(r'\{ "([a-z-]+)", (?:required|no|optional)_argument', read(path))


def check_options():
    for page, sources in (("man/kosctl.1", sorted(glob.glob(os.path.join(TOP, "runtime/kosctl/*.c")))),
                          ("man/kosd.8", [os.path.join(TOP, "runtime/kosd/main.c")])):
        text = read(page)
        for source in sources:
            for option in long_options(os.path.relpath(source, TOP)):
                if not re.search(rf"\bFl (?:\w \| )?-{option}\b|\| -{option}\b", text):
                    yield f"{page}: the option --{option} of {os.path.relpath(source, TOP)} is missing"


def check_errors():
    entries = items("man/kosctl.1")
    errors = re.findall(r'^    X\(\w+,\s+-\d+,\s+"(\w+)",\s+([01]),', read("sdk/kos/err.h"), re.M)
    if len(errors) < 40:
        yield "the error names are not where they are looked for: sdk/kos/err.h"
    for name, retry in errors:
        entry = head_of(entries, "Er", name)
        if not entry:
            yield f"kosctl.1: the error {name} is missing"
        elif ("Pq retry" in entry[0]) != (retry == "1"):
            yield f"kosctl.1: {name}: err.h says that trying again can{'' if retry == '1' else 'not'} help"


def check_exit():
    codes = re.search(r"enum \{ (EXIT_DONE.*?) \};", read("runtime/kosctl/kosctl.h")).group(1)
    entries = items("man/kosctl.1")
    for name, code in re.findall(r"(\w+) = (\d+)", codes):
        if not any(e[0] == code for e in entries):
            yield f"kosctl.1: exit status {code} ({name}) is missing"


def settings_missing(page, settings):
    entries = items(page)
    for name, fallback in settings:
        entry = head_of(entries, "Cm", name)
        if not entry:
            yield f"{page}: the setting {name} is missing"
        elif fallback not in (None, "") and not re.search(rf'default .*(?<!\w){re.escape(fallback)}(?!\w)', entry[0]):
            yield f"{page}: {name}: its default, {fallback}, is not in \".It {entry[0]}\""


def check_settings():
    fields = re.findall(r"^    FIELD\(KOS_SETTING_\w+, (\w+), (NULL|\w+|\"[^\"]*\"),", read("runtime/conf/instance.c"), re.M)
    if len(fields) < 15:
        yield "the settings of kosd.conf are not where they are looked for: runtime/conf/instance.c"
    yield from settings_missing("man/kosd.conf.5", [(n, f.strip('"') if f.startswith('"') else None) for n, f in fields])


def plugin_settings(folder):
    for source in sorted(glob.glob(os.path.join(TOP, folder, "*.c"))):
        text = read(os.path.relpath(source, TOP))
        yield from re.findall(r'\bkos_setting \w+ = \{[^}]*?\.name = "(\w+)"[^}]*?\.fallback = "([^"]*)"', text)
        yield from re.findall(r'\bSETTING\("(\w+)", \w+, "([^"]*)"', text)


def check_plugin(folder):
    page = f"man/kos-{os.path.basename(folder)}.7"
    if not os.path.exists(os.path.join(TOP, page)):
        yield f"{folder}: there is no {page}"
        return
    declared = sum(read(os.path.relpath(s, TOP)).count("KOS_SETTING_") for s in glob.glob(os.path.join(TOP, folder, "*.c"))
                   if not s.endswith("_test.c"))
    settings = list(plugin_settings(folder))
    if declared and not settings:
        yield f"{folder}: its settings are not declared in a way that is found here"
    yield from settings_missing(page, settings)


def check_guarantees():
    """Each test that klp(7) names for a guarantee is there."""
    section = read("man/klp.7").split(".Sh GUARANTEES\n")[1].split(".Sh ")[0]
    path, count = None, 0
    for line in section.splitlines():
        if line.startswith(".It "):
            path = None
        elif line.startswith(".Pa "):
            path = line.split()[1]
            if not os.path.exists(os.path.join(TOP, path)):
                yield f"klp.7: there is no {path}"
                path = None
        elif line.startswith(".Li ") and path:
            name = line.split()[1]
            count += 1
            if not re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", read(path)):
                yield f"klp.7: {path} has no {name}"
    if count < 30:
        yield "klp.7: the guarantees are not in the form that is read here"


def checks():
    for page in pages():
        yield f"{page} is clean", check_lint(page)
        yield f"the references of {page} lead to pages", check_references(page)
    yield "kosctl(1) has every command, with its options", check_commands()
    yield "the completion of bash has every command, with its options", check_completion()
    yield "kosctl(1) and kosd(8) have every option", check_options()
    yield "kosctl(1) has every error name, and whether to try again", check_errors()
    yield "kosctl(1) has every exit status", check_exit()
    yield "the tests that klp(7) names for its guarantees are there", check_guarantees()
    yield "kosd.conf(5) has every setting, with its default", check_settings()
    for folder in sorted(glob.glob(os.path.join(TOP, "plugins", "*", "*"))):
        if glob.glob(os.path.join(folder, "*.c")):
            folder = os.path.relpath(folder, TOP)
            yield f"{folder} has a page, with every setting", check_plugin(folder)


def main():
    plan = list(checks())
    print(f"1..{len(plan)}")
    bad = 0
    for number, (title, found) in enumerate(plan, 1):
        faults = list(found)
        print(f"{'not ok' if faults else 'ok'} {number} - {title}")
        for fault in faults:
            print("# " + fault)
        bad += bool(faults)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
