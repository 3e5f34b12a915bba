#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Each file uses only rooms that stand above its own (HACKING.md, "The house"); plugins and the SDK know nothing of the
runtime, and plugins nothing of each other. TAP."""
import os
import re
import sys

ROOMS = ["sdk/kos", "sdk/klp", "runtime/core", "runtime/driver", "runtime/confine", "runtime/conf", "runtime/store", "runtime/trust",
         "runtime/mesh", "runtime/agents", "runtime/host", "sdk/conform", "runtime/cell", "runtime/spawn", "runtime/control", "runtime/kosd",
         "runtime/kosctl"]
# The two programs stand side by side: neither may use the other.
PEERS = {("runtime/kosctl", "runtime/kosd")}
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')


def room_of(path):
    return next((r for r in ROOMS if path.startswith(r + "/")), None)


def target(top, path, quote, name):
    """The file of this tree that an include means; None for the system's."""
    tries = [os.path.join(base, name) for base in ("sdk", "runtime")]
    if quote == '"':
        tries.insert(0, os.path.normpath(os.path.join(os.path.dirname(path), name)))
    return next((t for t in tries if os.path.exists(os.path.join(top, t))), None)


def faults(top, path):
    mine = room_of(path)
    with open(os.path.join(top, path), encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            match = INCLUDE.match(line)
            used = match and target(top, path, match.group(1), match.group(2))
            if not used:
                continue
            theirs = room_of(used)
            where = f"{path}:{number}: {line.strip()}"
            if mine != "sdk/conform" and path.startswith(("plugins/", "sdk/")) and used.startswith("runtime/"):
                yield where + ": plugins and SDK know nothing of the runtime"
            elif path.startswith("plugins/") and used.startswith("plugins/") and \
                    used.split("/")[:3] != path.split("/")[:3]:
                yield where + ": a plugin knows no other plugin"
            elif mine and theirs and (ROOMS.index(theirs) > ROOMS.index(mine) or (mine, theirs) in PEERS):
                yield where + f": {theirs} stands below {mine}"


def main():
    top = os.environ.get("KOS_SRCDIR", os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
    files = []
    for base in ("sdk", "runtime", "plugins"):
        for folder, _, names in os.walk(os.path.join(top, base)):
            files += [os.path.relpath(os.path.join(folder, n), top) for n in names if n.endswith((".c", ".h", ".cc"))]
    files.sort()
    print(f"1..{len(files)}")
    bad = 0
    for number, path in enumerate(files, 1):
        found = list(faults(top, path))
        print(f"{'not ok' if found else 'ok'} {number} - {path}")
        for fault in found:
            print("# " + fault)
        bad += bool(found)
    return 1 if bad or not files else 0


sys.exit(main())
