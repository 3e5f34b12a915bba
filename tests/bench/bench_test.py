#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What the benchmarks make of their numbers: folded call chains, ratios, targets, drawings that are XML. TAP."""
import json
import os
import sys
import tempfile
import xml.etree.ElementTree as xml

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import flame  # noqa: E402
import plot  # noqa: E402
from figure import Curve, Figure, Report  # noqa: E402

SCRIPT = """kosd  4711 10.000001:    2500000 cycles:u:
\t    7f00aa00 leaf<int>+0x10 (/usr/lib/x & y.so)
\t    7f00aa01 middle+0x1f (/usr/sbin/kosd)
\t    7f00aa02 main+0x1 (/usr/sbin/kosd)

kosd  4711 [001] 10.000002:    7500000 cycles:u:
\t    7f00aa01 middle+0x2 (/usr/sbin/kosd)
\t    7f00aa02 main+0x1 (/usr/sbin/kosd)

kos worker 1  4711/4712 10.000003:    10000000 cycles:u:
\t    7f00aa03 [unknown] (/usr/lib/libcrypto.so.3)
"""


def equal(got, wanted):
    if got != wanted:
        raise AssertionError(f"got {got!r}, wanted {wanted!r}")


def test_call_chains_fold():
    root = flame.fold(SCRIPT.splitlines() + [""])
    equal(root.count, 20000000)
    equal(sorted(root.callees), ["kos worker 1", "kosd"])
    main = root.callees["kosd"].callees["main"]
    equal((main.count, main.callees["middle"].count, main.callees["middle"].callees["leaf<int>"].count), (10000000, 10000000, 2500000))
    equal(root.callees["kos worker 1"].callees["[libcrypto.so.3]"].count, 10000000)
    equal(flame.self_times(root), [(0.5, "[libcrypto.so.3]"), (0.375, "middle"), (0.125, "leaf<int>")])
    equal(flame.inclusive(root)["middle"], 0.5)
    equal(flame.fold([]).count, 0)


def test_drawings_are_xml():
    root = flame.fold(SCRIPT.splitlines() + [""])
    for drawing in (flame.svg(root, "a < b & c"), flame.svg(flame.fold([]), "nothing"), plot.bars("a & b", "1/s", [("kos", 5, 4, 6), ("<x>", 0, 0, 0)]),
                    plot.curve("c", "peers", "MiB", {"kosd": [(0, 1.5), (100, 2), (10000, 90)]}), plot.curve("c", "x", "y", {"kosd": [(0, 0)]})):
        equal(xml.fromstring(drawing).tag, "{http://www.w3.org/2000/svg}svg")
    boxes = [float(rect.get("width")) for rect in xml.fromstring(flame.svg(root, "t")).iter("{http://www.w3.org/2000/svg}rect") if rect.get("x")]
    equal(max(boxes), flame.WIDTH - 2 * flame.MARGIN)


def figure(name, better, kos, peer, target):
    made = Figure(name, "messages/s", better, "one way", target={"x": target}, goal="a goal")
    for value in kos:
        made.add(value)
    return made.add(peer, "x")


def test_medians_ratios_targets():
    one = figure("more", "higher", [3, 1, 200], 2, 1.5)
    equal(one.json(), {"name": "more", "unit": "messages/s", "better": "higher", "kos": 3.0, "peers": {"x": 2.0}, "ratio": {"x": 1.5}, "runs": 3,
                       "min": 1.0, "max": 200.0})
    equal(one.verdict("x")[0], True)
    equal(figure("more", "higher", [2.9], 2, 1.5).verdict("x")[0], False)
    equal(figure("less", "lower", [2.9], 2, 1.5).verdict("x")[0], True)
    equal(figure("less", "lower", [3.1], 2, 1.5).verdict("x")[0], False)


def test_the_report_says_what_is_missed_and_missing():
    with tempfile.TemporaryDirectory() as folder:
        report = Report(folder, "make bench", ["a machine"])
        real, sys.stdout = sys.stdout, open(os.devnull, "w", encoding="utf-8")
        try:
            report.add(figure("good", "higher", [4], 2, 1), figure("bad", "higher", [1], 2, 1))
            curve = Curve("growth", "peers", "MiB", "idle peers")
            curve.add("kosd", 1, 2)
            report.curve(curve)
            report.without("streams", "not there")
            report.without("streams", "not there")
            report.write()
        finally:
            sys.stdout.close()
            sys.stdout = real
        with open(os.path.join(folder, "report.json"), encoding="utf-8") as file:
            equal([sorted(one) for one in json.load(file)], [sorted(["name", "unit", "better", "kos", "peers", "ratio", "runs", "min", "max"])] * 2)
        with open(os.path.join(folder, "report.md"), encoding="utf-8") as file:
            page = file.read()
        equal((page.count("**yes**"), page.count("**no**"), page.count("streams: not there")), (1, 1, 1))
        for line in page.splitlines():
            if line.startswith("!["):
                xml.parse(os.path.join(folder, line.split("(")[1].split(")")[0]))
        equal("ONLY=one-way" in page and "ONLY=idle-peers" in page, True)


tests = [(name, test) for name, test in list(globals().items()) if name.startswith("test_")]
print(f"1..{len(tests)}")
bad = 0
for number, (name, test) in enumerate(tests, 1):
    try:
        test()
        print(f"ok {number} - {name}")
    except Exception as error:  # pylint: disable=broad-except
        bad = 1
        print(f"not ok {number} - {name}\n# {type(error).__name__}: {error}")
sys.exit(bad)
