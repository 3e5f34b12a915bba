# SPDX-License-Identifier: Apache-2.0
"""The outside ledger: what was asked of the nodes and what they said to it, and the judgement of what came of it.

Nothing here knows how kosd works. A sentence that an entry breaks is a fault; a disk that lied turns some faults into counts.
"""
import threading
import time

SLACK_MS = 1500  # between two clocks that are one, with a busy machine between


def now_ms():
    return int(time.time() * 1000)


class Entry:
    """One message: `accepted` when kosd said so, `asked` when it may have heard of it."""
    __slots__ = ("kind", "number", "source", "target", "asked", "accepted", "refused", "id", "life_ms", "answered")

    def __init__(self, kind, number, source, target, life_ms=0):
        self.kind, self.number, self.source, self.target, self.life_ms = kind, number, source, target, life_ms
        self.asked, self.accepted, self.refused, self.id, self.answered = now_ms(), False, None, None, 0


class Ledger:
    def __init__(self):
        self.lock = threading.Lock()
        self.entries = {}
        self.count = 0
        self.alive = {}  # label: [[from, to], ...] in ms, to None: still

    def new(self, kind, source, target, life_ms=0):
        with self.lock:
            self.count += 1
            entry = Entry(kind, f"{kind}.{source}.{target}.{self.count}", source, target, life_ms)
            self.entries[entry.number] = entry
            return entry

    def up(self, label):
        with self.lock:
            self.alive.setdefault(label, []).append([now_ms(), None])

    def down(self, label):
        with self.lock:
            self.alive[label][-1][1] = now_ms()

    def was_up(self, label, start, end):
        with self.lock:
            return any(a <= end and (b is None or b >= start) for a, b in self.alive[label])

    def forget(self):
        with self.lock:
            self.entries.clear()
            for spans in self.alive.values():
                del spans[:-1]


class Judge:
    """faults: what must never be. loose: what a lying disk may do, by name; faults too unless `lied`."""

    def __init__(self, ledger, ids, lied=False):
        self.ledger, self.ids, self.lied = ledger, ids, lied
        self.faults, self.loose, self.counts = [], {}, {}

    def fault(self, text):
        self.faults.append(text)

    def excused(self, name, text):
        if not self.lied:
            self.fault(text)
        self.loose[name] = self.loose.get(name, 0) + 1

    def count(self, name, by=1):
        self.counts[name] = self.counts.get(name, 0) + by

    def of(self, kind):
        return [e for e in self.ledger.entries.values() if e.kind == kind]

    # ---- messages to a handler, whose effects are in the receiver's store ----

    def sort(self, dumps):
        """lines[kind][name] -> [(node, value)]"""
        lines = {"e": {}, "a": {}, "s": {}, "o": {}}
        for label, dump in dumps.items():
            for key, value in dump:
                kind, name = key.split("/")[:2]
                lines[kind].setdefault(name, []).append((label, value))
        return lines

    def effect(self, number, label, line):
        """One effect, by itself: it must be of a message, at its node, in its time."""
        entry = self.ledger.entries.get(number)
        if not entry:
            self.fault(f"{label} handled {number}, which nobody sent")
            return
        if label != entry.target or line["target"] != self.ids[entry.target]:
            self.fault(f"{number} was handled by {label}: {line}")
        if line["at"] <= line["expires"] + SLACK_MS:
            return
        # Handled late is right when it was stored in time: by a life that began before it expired.
        if line["started"] <= entry.asked or not line["again"]:
            self.fault(f"{number} was handled {line['at'] - line['expires']} ms after it expired, by the kosd that took it: {line}")
        if not self.ledger.was_up(entry.target, entry.asked, line["expires"] + SLACK_MS):
            self.fault(f"{number} had an effect though {label} was down until it had expired: {line}")
        self.count("handled late, stored in time")

    def messages(self, dumps):
        lines = self.sort(dumps)
        for number, found in lines["e"].items():
            for label, line in found:
                self.effect(number, label, line)
            if len(found) > 1:
                self.excused("effect twice", f"{number} had its effect {len(found)} times: {found}")
        for number, found in lines["a"].items():
            entry = self.ledger.entries.get(number)
            if not entry or any(label != entry.source for label, _ in found):
                self.fault(f"an answer to {number} came to the wrong node: {found}")
            if len(found) > 1:
                self.excused("answer twice", f"{number} was answered {len(found)} times: {found}")
            if number not in lines["e"]:
                self.excused("effect lost", f"{number} was answered, and its effect is not there")
        for name, found in lines["o"].items():
            if len(found) > 1:
                self.excused("outcome twice", f"message {name} has {len(found)} outcomes: {found}")
        for entry in self.of("ledger"):
            self.message(entry, lines)

    def message(self, entry, lines):
        number = entry.number
        sent = lines["s"].get(number, [])
        effects, answers = len(lines["e"].get(number, [])), len(lines["a"].get(number, []))
        if any(label != entry.source for label, _ in sent):
            self.fault(f"{number} is noted as sent by the wrong node: {sent}")
        if entry.refused and sent:
            self.fault(f"{number} was refused ({entry.refused}) and is noted as sent")
        if entry.accepted and not sent:
            self.excused("acceptance lost", f"{number} was accepted, and its sender does not know it any more")
        if entry.accepted and sent and sent[0][1] != entry.id:
            self.fault(f"{number} was accepted as {entry.id} and is noted as {sent[0][1]}")
        if not sent:
            self.count("refused" if entry.refused else "not taken" if not entry.accepted else "accepted, forgotten")
            if effects:
                self.excused("effect of what is not on disk", f"{number} had an effect, and is not on its sender's disk")
            return
        self.count("accepted")
        outcome = lines["o"].get(sent[0][1])
        if not outcome:
            self.excused("outcome lost", f"nobody was told what became of {number}")
            return
        status = outcome[0][1]["status"]
        self.count(f"outcome {status}")
        if entry.life_ms >= 600000 and status != "ok":
            self.excused("not delivered", f"{number} had time enough, and ended as {status}")
        if status == "ok" and effects != 1:
            self.excused("effect lost", f"{number} was acknowledged, and has {effects} effects")
        if status not in ("ok", "outcome_unknown") and effects:
            self.excused("effect of what failed", f"{number} ended as {status}, and had an effect")
        if effects and not answers:
            self.excused("answer lost", f"{number} had its effect, and its answer is not there")

    # ---- tasks of an --exec agent, whose effects are lines in a file ----

    def tasks(self, logs, show):
        """logs: label -> lines of its agent's file. show(entry): {state, error} or None when the node knows no such task."""
        seen = {}
        for label, text in logs.items():
            for line in text:
                entry = self.ledger.entries.get(line)
                if not entry or entry.target != label:
                    self.fault(f"a program at {label} was run for {line!r}, which is none of its tasks")
                seen[line] = seen.get(line, 0) + 1
        for entry in self.of("task"):
            runs = seen.get(entry.number, 0)
            if runs > 1:
                self.excused("run twice", f"{entry.number} was run {runs} times")
            if entry.refused and runs:
                self.fault(f"{entry.number} was refused ({entry.refused}), and was run")
            if not entry.accepted:
                self.count("tasks refused" if entry.refused else "tasks not known to be taken")
                continue
            self.count("tasks accepted")
            task = show(entry)
            if not task:
                self.excused("task lost", f"{entry.number} was accepted, and its sender does not know it any more")
                continue
            what = "done" if task["state"] == "done" else task.get("error") or task["state"]
            self.count(f"task {what}")
            if what == "done" and runs != 1:
                self.excused("run lost", f"{entry.number} is reported as done, and was run {runs} times")
            if what not in ("done", "outcome_unknown"):
                self.excused("task failed", f"{entry.number} ended as {what}: {task.get('text')}")

    # ---- announcements ----

    def announcements(self, lists):
        """lists: label -> the texts it keeps."""
        for label, texts in lists.items():
            for text in texts:
                entry = self.ledger.entries.get(text)
                if entry and label != entry.target:
                    self.fault(f"{text} was announced to {label}")
                if texts.count(text) > 1:
                    self.excused("announced twice", f"{text} is kept {texts.count(text)} times at {label}")
        for entry in self.of("announce"):
            there = entry.number in lists[entry.target]
            if entry.accepted and entry.answered:
                self.count("announced")
                if not there:
                    self.excused("announcement lost", f"{entry.number} was accepted for {entry.answered} peers, and is not at {entry.target}")
