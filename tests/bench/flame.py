#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What `perf script` prints, folded by call chain and drawn as an SVG: the wider, the more time; a chain reads from the
bottom up. `perf script | flame.py TITLE > flame.svg`."""
import collections
import html
import re
import sys

WIDTH, ROW, MARGIN, NARROWEST = 1400, 17, 10, 0.4
# Thread, process, perhaps a processor, time, weight, event.
HEAD = re.compile(r"^(.*?)\s+(?:\d+/)?\d+\s+(?:\[\d+\]\s+)?[\d.]+:\s+(\d+)\s+\S+:")
FRAME = re.compile(r"^\s+[0-9a-f]+ (.*?)(?:\+0x[0-9a-f]+)? \((.*)\)$")


class Box:
    def __init__(self):
        self.count = 0
        self.callees = collections.defaultdict(Box)


def chains(lines):
    """Yields (thread, [outermost, ..., innermost]) of each sample, and how much it counts."""
    thread, stack, weight = None, [], 1
    for line in lines:
        line = line.rstrip("\n")
        if not line.strip():
            if thread is not None and stack:
                yield [thread] + stack[::-1], weight
            thread, stack = None, []
        elif line[0] not in " \t":
            head = HEAD.match(line)
            thread = head.group(1) if head else line.split()[0]
            weight = int(head.group(2)) if head else 1
        else:
            frame = FRAME.match(line)
            if frame:
                name, where = frame.group(1), frame.group(2)
                stack.append(f"[{where.rsplit('/', 1)[-1]}]" if name == "[unknown]" else name)


def fold(lines):
    root = Box()
    for chain, weight in chains(lines):
        root.count += weight
        box = root
        for name in chain:
            box = box.callees[name]
            box.count += weight
    return root


def self_times(root):
    """[(part of all, function)], the most first, of time spent in each function itself."""
    own = collections.Counter()
    queue = [("", root)]
    while queue:
        name, box = queue.pop()
        own[name] += box.count - sum(callee.count for callee in box.callees.values())
        queue += box.callees.items()
    return [(count / root.count, name) for name, count in own.most_common() if name and count]


def inclusive(root):
    """{function: part of all} of time in each function and what it calls; recursion counts once."""
    total = collections.Counter()

    def walk(box, above):
        for name, callee in box.callees.items():
            if name not in above:
                total[name] += callee.count
            walk(callee, above | {name})
    walk(root, frozenset())
    return {name: count / root.count for name, count in total.items()} if root.count else {}


def colour(name):
    """By where the time goes: kernel, cryptography, memory, disk, the rest."""
    kinds = (((255, 190, 90), r"^(entry_SYSCALL|do_syscall|__x64_sys|sys_|vfs_|sock_|tcp_|ip_|__sched|schedule|ksys|asm_)"),
             ((120, 170, 240), r"(sha256|aes|gcm|EVP|crypto|ed25519|ge25519|fe25519|sc25519|klp_seal|klp_open|gmult|ghash)"),
             ((240, 130, 130), r"(malloc|free|calloc|realloc|memcpy|memmove|memset|memdup|kos_new|_int_)"),
             ((150, 210, 140), r"(sqlite|btree|kos_store|journal|fdatasync|pwrite|kos_tx)"))
    base = next((rgb for rgb, pattern in kinds if re.search(pattern, name, re.I)), (225, 210, 150))
    shade = 1 - (sum(map(ord, name)) % 12) / 70
    return "#%02x%02x%02x" % tuple(int(part * shade) for part in base)


def depth(box, least):
    return 1 + max((depth(callee, least) for callee in box.callees.values() if callee.count >= least), default=0)


def svg(root, title):
    scale = (WIDTH - 2 * MARGIN) / max(1, root.count)
    least = NARROWEST / scale
    rows = depth(root, least)
    height = rows * ROW + 50
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="monospace" font-size="11">',
           f'<rect width="100%" height="100%" fill="#fff"/><text x="{MARGIN}" y="22" font-size="15">{html.escape(title)}</text>']

    def draw(name, box, x, level):
        width = box.count * scale
        y = height - (level + 1) * ROW - 8
        out.append(f'<g><title>{html.escape(name)}: {100 * box.count / root.count:.1f} %</title>'
                   f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{ROW - 1}" rx="1" fill="{colour(name)}"/>')
        letters = int((width - 4) / 6.7)
        if letters > 2:
            shown = name if len(name) <= letters else name[:letters - 1] + "…"
            out.append(f'<text x="{x + 2:.1f}" y="{y + 12}">{html.escape(shown)}</text>')
        out.append("</g>")
        for callee_name, callee in sorted(box.callees.items()):
            if callee.count >= least:
                draw(callee_name, callee, x, level + 1)
            x += callee.count * scale
    if root.count:
        draw("all", root, MARGIN, 0)
    return "\n".join(out + ["</svg>\n"])


def main():
    sys.setrecursionlimit(10000)
    root = fold(sys.stdin)
    sys.stdout.write(svg(root, sys.argv[1] if len(sys.argv) > 1 else ""))
    for part, name in self_times(root)[:25]:
        print(f"{100 * part:5.1f} %  {name}", file=sys.stderr)


if __name__ == "__main__":
    main()
