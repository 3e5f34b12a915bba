# SPDX-License-Identifier: Apache-2.0
"""A figure: what kos and its peers reached in each round, and the report that figures make."""
import glob
import json
import os
import statistics

import plot


class Figure:
    """`ask`: the command that takes it alone. `bar`: shown as bars; `target`: (peer, least or greatest ratio that is good)."""

    def __init__(self, name, unit, better, group, text="", target=None, goal=""):
        self.name, self.unit, self.better, self.group, self.text = name, unit, better, group, text
        self.kos, self.peers, self.target, self.goal = [], {}, target or {}, goal

    def add(self, value, peer=None):
        (self.peers.setdefault(peer, []) if peer else self.kos).append(value)
        return self

    @property
    def value(self):
        return statistics.median(self.kos)

    def peer(self, name):
        return statistics.median(self.peers[name])

    def ratio(self, name):
        return self.value / self.peer(name) if self.peer(name) else 0

    def json(self):
        return {"name": self.name, "unit": self.unit, "better": self.better, "kos": rounded(self.value),
                "peers": {name: rounded(self.peer(name)) for name in self.peers},
                "ratio": {name: rounded(self.ratio(name)) for name in self.peers},
                "runs": len(self.kos), "min": rounded(min(self.kos)), "max": rounded(max(self.kos))}

    def verdict(self, name):
        """Of one target: (reached, words)."""
        wanted, ratio = self.target[name], self.ratio(name)
        reached = ratio >= wanted if self.better == "higher" else ratio <= wanted
        words = f"{'at least' if self.better == 'higher' else 'at most'} {wanted:g} times {name}: {ratio:.2f}"
        return reached, words

    def line(self):
        peers = "".join(f"  {name} {number(self.peer(name))} (x{self.ratio(name):.2f})" for name in self.peers)
        return f"{self.name:52} {number(self.value):>9} {self.unit:11} ({number(min(self.kos))} to {number(max(self.kos))}){peers}"


def rounded(value):
    return float(f"{value:.4g}")


def number(value):
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


class Curve:
    """How a cost grows: {line: [(x, y)]}."""

    def __init__(self, name, x_name, unit, group, text=""):
        self.name, self.x_name, self.unit, self.group, self.text, self.lines = name, x_name, unit, group, text, {}

    def add(self, line, x, y):
        self.lines.setdefault(line, []).append((x, y))


class Report:
    def __init__(self, out, command, machine):
        self.out, self.command, self.machine = out, command, machine
        self.figures, self.curves, self.missing, self.profiles, self.notes = [], [], [], {}, []

    def path(self, name):
        return os.path.join(self.out, name)

    def add(self, *figures):
        for figure in figures:
            self.figures.append(figure)
            print(figure.line(), flush=True)

    def curve(self, curve):
        self.curves.append(curve)
        for line, points in curve.lines.items():
            print(f"{curve.name}, {line}: " + "  ".join(f"{x:,}: {number(y)}" for x, y in points) + f"  {curve.unit} by {curve.x_name}", flush=True)

    def without(self, name, why):
        """A figure that could not be taken, with the reason: said, never left out."""
        if name in (other for other, _ in self.missing):
            return
        self.missing.append((name, why))
        print(f"NOT MEASURED  {name}: {why}", flush=True)

    def write(self):
        for old in glob.glob(self.path("plot-*.svg")):
            os.unlink(old)
        with open(self.path("report.json"), "w", encoding="utf-8") as file:
            file.write("[\n" + ",\n".join(json.dumps(figure.json()) for figure in self.figures) + "\n]\n")
        page = ["# What kos carries, beside others", "", *self.machine, "", *self.targets(), *self.not_measured()]
        for group in dict.fromkeys([figure.group for figure in self.figures] + [curve.group for curve in self.curves]):
            page += self.group(group)
        for label, table in self.profiles.items():
            page += ["", f"## Where the time of the busy {label} goes", "", f"![flame graph](flame-{label}.svg)", "",
                     f"`{self.command} ONLY=profile`; in functions themselves:", "", "| part | function |", "| ---: | --- |"]
            page += [f"| {100 * part:.1f} % | `{name}` |" for part, name in table[:20]]
        with open(self.path("report.md"), "w", encoding="utf-8") as file:
            file.write("\n".join(page) + "\n")

    def targets(self):
        rows = [(figure, *figure.verdict(name)) for figure in self.figures for name in figure.target if name in figure.peers]
        if not rows:
            return []
        page = ["## Targets", "", "| goal | figure | measured as | reached |", "| --- | --- | --- | --- |"]
        for figure, reached, words in rows:
            page.append(f"| {figure.goal} | {figure.name} | {words} | {'**yes**' if reached else '**no**'} |")
            print(f"target: {figure.goal}: {figure.name}: {words}: {'reached' if reached else 'NOT REACHED'}")
        return page

    def not_measured(self):
        if not self.missing:
            return []
        return ["", "## Not measured", ""] + [f"- {name}: {why}" for name, why in self.missing]

    def group(self, group):
        page = ["", f"## {group[0].upper() + group[1:]}", "", f"`{self.command} ONLY={group.split(':')[0].replace(' ', '-')}`", ""]
        figures = [figure for figure in self.figures if figure.group == group]
        if figures:
            page += ["| figure | unit | kos | spread | rounds | peers (ratio kos/peer) |", "| --- | --- | ---: | --- | ---: | --- |"]
        for figure in figures:
            peers = ", ".join(f"{name} {number(figure.peer(name))} ({figure.ratio(name):.2f})" for name in figure.peers)
            page.append(f"| {figure.name} | {figure.unit} | {number(figure.value)} | {number(min(figure.kos))} to {number(max(figure.kos))} "
                        f"| {len(figure.kos)} | {peers} |")
        page += [""] + [f"- {figure.name}: {figure.text}" for figure in figures if figure.text]
        for i, figure in enumerate(figures):
            if figure.peers:
                name = f"plot-{group.replace(' ', '-')}-{i}.svg"
                rows = [("kos", figure.value, min(figure.kos), max(figure.kos))]
                rows += [(peer, figure.peer(peer), min(runs), max(runs)) for peer, runs in figure.peers.items()]
                self.draw(name, plot.bars(figure.name, figure.unit, rows))
                page += ["", f"![{figure.name}]({name})"]
        for i, curve in enumerate(c for c in self.curves if c.group == group):
            name = f"plot-{group.replace(' ', '-')}-curve-{i}.svg"
            self.draw(name, plot.curve(curve.name, curve.x_name, curve.unit, curve.lines))
            page += ["", f"![{curve.name}]({name})", *([curve.text] if curve.text else [])]
        return page

    def draw(self, name, drawing):
        with open(self.path(name), "w", encoding="utf-8") as file:
            file.write(drawing)
