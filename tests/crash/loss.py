#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Power loss after the fact: what loss.c wrote down of a killed process, and the files that a power cut would have left.

The model is as unkind as POSIX allows, but for renames, which are whole or not at all:
- of a file, what was flushed is there; what was written since is there or not, sector (512 bytes) by sector, each as it was at
  some moment since the flush; its size likewise;
- of a directory, names are as they were when it was last flushed, plus any of the changes since: mostly the first few of
  them, as a journalling file system has it, sometimes any of them.
"""
import os
import random
import shutil
import struct
import sys

SECTOR = 512
HEAD = struct.Struct("<IIQQQQQQII")
MAGIC = 0x534F4C4B
OPEN, WRITE, SIZE, SYNC, RENAME, UNLINK, MKDIR, DIRSYNC = range(1, 9)


class Record:
    __slots__ = ("type", "seq", "id", "a", "b", "c", "path", "path2", "data", "new")


def read_log(path):
    """All records but one that the kill cut off: what it was to announce was not done."""
    records = []
    with open(path, "rb") as file:
        text = file.read()
    at = 0
    while at + HEAD.size <= len(text):
        record = Record()
        magic, record.type, record.seq, record.id, record.a, record.b, record.c, data, one, two = HEAD.unpack_from(text, at)
        if magic != MAGIC:
            raise ValueError(f"{path}: no record at byte {at}")
        end = at + HEAD.size + one + two + data
        if end > len(text):
            break
        at += HEAD.size
        record.path = text[at:at + one].decode()
        record.path2 = text[at + one:at + one + two].decode()
        record.data = text[at + one + two:end]
        records.append(record)
        at = end
    return records


def not_done(record):
    """Whether the last record announces a change of names that the kill came before."""
    if record.type == RENAME:
        return os.path.lexists(record.path)
    if record.type == UNLINK:
        return os.path.lexists(record.path)
    if record.type == MKDIR:
        return not os.path.lexists(record.path)
    return False


class Lost:
    """What was killed: the names and contents that there are, and the way back."""

    def __init__(self, log):
        self.records = read_log(log)
        if self.records and not_done(self.records[-1]):
            self.records.pop()
        self.names, self.gone = {}, {}
        self.synced, self.dirsynced = {}, {}
        self.contents, self.changes = {}, {}
        for r in self.records:
            if r.type == OPEN:
                self.names[r.path] = r.id
                if r.a:
                    self.changes.setdefault(os.path.dirname(r.path), []).append(r)
            elif r.type in (WRITE, SIZE):
                self.contents.setdefault(r.id, []).append(r)
            elif r.type == SYNC:
                self.synced[r.id] = max(self.synced.get(r.id, 0), r.a)
            elif r.type == DIRSYNC:
                self.dirsynced[r.path] = max(self.dirsynced.get(r.path, 0), r.a)
            elif r.type == MKDIR:
                self.changes.setdefault(os.path.dirname(r.path), []).append(r)
            else:
                self.change_names(r)

    def change_names(self, r):
        self.changes.setdefault(os.path.dirname(r.path), []).append(r)
        self.names.pop(r.path, None)
        if r.type == UNLINK:
            self.gone[r.id] = r.data
            return
        if os.path.dirname(r.path) != os.path.dirname(r.path2):
            raise ValueError(f"{r.path}: renamed to another directory, which the model does not have")
        if r.a:
            self.gone[r.a] = r.data
        self.names[r.path2] = r.id

    def content(self, file):
        for path, there in self.names.items():
            if there == file:
                with open(path, "rb") as f:
                    return f.read()
        return self.gone.get(file, b"")

    def undo(self, file, since):
        """The content without what was written after `since`; the records get what they had written."""
        data = bytearray(self.content(file))
        undone = [r for r in self.contents.get(file, []) if r.seq > since]
        for r in reversed(undone):
            if r.type == WRITE:
                r.new = bytes(data[r.a:r.a + r.b])
                data[r.a:r.a + len(r.data)] = r.data
                if len(data) > r.c:
                    del data[r.c:]
            else:
                r.new = b""
                del data[min(r.a, r.b):]
                data += r.data
                data += bytes(max(r.a - len(data), 0))
        return data, undone

    def undone_names(self, since):
        """The names without what was changed after since(directory), and those changes."""
        names, undone = dict(self.names), {}
        for directory, records in self.changes.items():
            undone[directory] = [r for r in records if r.seq > since(directory)]
            for r in reversed(undone[directory]):
                if r.type == OPEN:
                    names.pop(r.path, None)
                elif r.type == UNLINK:
                    names[r.path] = r.id
                elif r.type == RENAME:
                    names[r.path] = r.id
                    names.pop(r.path2, None)
                    if r.a:
                        names[r.path2] = r.a
        return names, undone


def put(data, at, part):
    if at > len(data):
        data += bytes(at - len(data))
    data[at:at + len(part)] = part


class Chooser:
    """What of the unflushed survives."""

    def __init__(self, chance):
        self.chance = chance
        self.stats = {"unflushed": 0, "dropped": 0, "torn": 0, "names": 0, "names_undone": 0}

    def sectors(self, record, mood):
        """Those of a write that reached the disk."""
        first, last = record.a // SECTOR, (record.a + max(len(record.new), 1) - 1) // SECTOR
        self.stats["unflushed"] += 1
        fate = self.chance.random()
        if mood == "all" or mood == "some" and fate < 0.4:
            return range(first, last + 1)
        if mood == "none" or fate < 0.7:
            self.stats["dropped"] += 1
            return []
        self.stats["torn"] += 1
        kind = self.chance.random()
        if kind < 0.4:  # its beginning
            return range(first, first + self.chance.randrange(last - first + 1))
        if kind < 0.6:  # its end
            return range(first + 1 + self.chance.randrange(last - first + 1), last + 1)
        return [s for s in range(first, last + 1) if self.chance.random() < 0.5]

    def content(self, disk, undone):
        """`disk`: as flushed. Two images: what the process saw, and what there is of it."""
        seen = bytearray(disk)
        mood = self.chance.choices(["some", "all", "none"], [70, 15, 15])[0]
        for r in undone:
            if r.type == WRITE:
                put(seen, r.a, r.new)
                for s in self.sectors(r, mood):
                    put(disk, s * SECTOR, seen[s * SECTOR:(s + 1) * SECTOR])
                continue
            self.stats["unflushed"] += 1
            keep = mood == "all" or mood == "some" and self.chance.random() < 0.5
            self.stats["dropped"] += not keep
            for data in (seen, disk) if keep else (seen,):
                del data[r.b:]
                if r.b > r.a:
                    put(data, r.b, b"")
        if len(disk) < len(seen) and self.chance.random() < 0.3:
            put(disk, len(seen), b"")
        return disk

    def names(self, names, undone):
        for records in undone.values():
            self.stats["names"] += len(records)
            keep = self.chance.randrange(len(records) + 1)
            ordered = self.chance.random() < 0.7
            for i, r in enumerate(records):
                if (i >= keep) if ordered else self.chance.random() < 0.5:
                    self.stats["names_undone"] += 1
                    if r.type == MKDIR:
                        for path in [p for p in names if p.startswith(r.path + "/")]:
                            del names[path]
                        names[r.path] = None
                elif r.type == OPEN:
                    names[r.path] = r.id
                elif r.type in (UNLINK, RENAME):
                    if names.get(r.path) == r.id:
                        del names[r.path]
                    if r.type == RENAME:
                        names[r.path2] = r.id
        return names


def write(path, data):
    with open(path, "wb", opener=lambda p, flags: os.open(p, flags, 0o600)) as file:
        file.write(data)


def lose(log, chance, everything=False):
    """Turns the files into what a power cut would have left. everything: undo all, flushed or not; for a test of the log."""
    lost = Lost(log)
    chooser = Chooser(chance)
    since = (lambda _: 0) if everything else (lambda directory: lost.dirsynced.get(directory, 0))
    names, changes = lost.undone_names(since)
    if not everything:
        names = chooser.names(names, changes)
    images = {}
    for path, file in names.items():
        since = 0 if everything else lost.synced.get(file, 0)
        if file and (lost.names.get(path) != file or any(r.seq > since for r in lost.contents.get(file, []))):
            image, undone = lost.undo(file, since)
            images[path] = image if everything else chooser.content(image, undone)
    for path in set(lost.names) - set(names):
        if os.path.lexists(path):
            os.unlink(path)
    for path, file in names.items():
        if file is None:
            shutil.rmtree(path, ignore_errors=True)
        elif path in images:
            write(path, images[path])
    os.unlink(log)
    return chooser.stats


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: loss.py LOG SEED")
    print(lose(sys.argv[1], random.Random(int(sys.argv[2]))))
