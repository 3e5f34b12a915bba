#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""kosctl store check: stores that are sound, that a crash left, and that are damaged in every way; and what kosd does with each."""
import atexit
import contextlib
import glob
import hashlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import tempfile

from kit import check, equal, has, program, run

TASKS = 8


def files(node):
    """Every file of the store with its digest."""
    found = {}
    for base, _, names in os.walk(os.path.join(node.dir, "state", "store")):
        for name in names:
            path = os.path.join(base, name)
            with open(path, "rb") as file:
                found[path] = hashlib.sha256(file.read()).hexdigest()
    return found


KEPT = tempfile.mkdtemp(prefix="kos-test-stores-")
atexit.register(shutil.rmtree, KEPT, ignore_errors=True)


def used(case, how=signal.SIGKILL, name="home.kai"):
    """A node that has worked, with a journal of several segments, ended by `how`. Made once; then copies of it."""
    kept = os.path.join(KEPT, f"{name}.{how}")
    if not os.path.exists(kept):
        made = work(case.node(name), how)
        for part in ("state", "keys"):
            shutil.copytree(os.path.join(made.dir, part), os.path.join(kept, part), ignore=lambda _, names: [n for n in names if n.endswith(".sock")])
        return made
    home = case.node(name)
    for part in ("state", "keys"):
        shutil.rmtree(os.path.join(home.dir, part), ignore_errors=True)
        shutil.copytree(os.path.join(kept, part), os.path.join(home.dir, part))
    return home


def work(home, how):
    for line in ('journal_bytes = "64K";', 'checkpoint_bytes = "1M";'):
        home.configure(line)
    home.start()
    home.ctl("agent", "add", "same", "--skill", "x", "--exec", "cat")
    text = "x" * 8000
    for _ in range(TASKS):
        equal(home.ctl("task", "send", f"klp://agent.same.{home.name}", "--input", text), text, "a task")
    return home.stop(how)


def path(node, *names):
    return os.path.join(node.dir, "state", "store", *names)


def segments(node):
    return sorted(glob.glob(path(node, "journal", "0*.seg")))


def look(node, *options):
    """(status, JSON)"""
    done = node.raw("--json", "store", "check", *options)
    return done.returncode, json.loads(done.stdout)


def found(node, mend, part, status):
    """What one kind of damage looks like."""
    got, said = look(node)
    equal(got, status, f"status: {said}")
    equal(said["sound"], status == 0, "sound")
    check(any(f["mend"] == mend and part in f["place"] + " " + f["text"] for f in said["findings"]), f"no {mend} finding with {part!r}: {said['findings']}")
    return said


def damaged(node, part):
    """It is said, nothing is touched, --repair does not pretend, and kosd does not start with it."""
    before = files(node)
    found(node, "none", part, 1)
    has(node.ctl("store", "check", status=1), "corrupt")
    equal(look(node, "--repair")[0], 1, "not repaired")
    equal(files(node), before, "nothing is touched")
    done = subprocess.run([program("kosd"), "-i", node.dir, "--foreground"], capture_output=True, timeout=60, check=False)
    check(done.returncode != 0, "kosd starts with a damaged store")
    has(done.stderr.decode(), "corrupt")


def starts(node):
    node.start()
    equal(node.ctl("task", "send", f"klp://agent.same.{node.name}", "--input", "still"), "still", "it works")
    node.stop()


def patch(file, at, data):
    with open(file, "r+b") as f:
        f.seek(at)
        f.write(data)


def flip(file, at):
    with open(file, "rb") as f:
        f.seek(at)
        byte = f.read(1)[0]
    patch(file, at, bytes([byte ^ 0x10]))


def end_of(segment):
    with open(segment, "rb") as f:
        return len(f.read()[:-512].rstrip(b"\0"))


def test_sound_after_an_end_and_after_a_kill(case):
    home = used(case)
    check(len(segments(home)) > 2, f"several segments: {segments(home)}")
    before = files(home)
    status, said = look(home)
    equal((status, said["sound"], said["findings"]), (0, True, []), "after a kill")
    equal(files(home), before, "looking changes nothing")
    check(any("transactions to play" in n for n in said["notes"]) and any("audit trails" in n for n in said["notes"]), f"notes: {said['notes']}")
    has(home.ctl("store", "check"), "\nsound\n")
    starts(home)
    before = files(home)
    equal(look(home)[0], 0, "after an end")
    equal(files(home), before, "looking changes nothing")


def test_a_running_kosd_is_not_disturbed(case):
    home = used(case).start()
    has(home.ctl("store", "check", status=1), "instance_locked")
    has(home.ctl("store", "check", "--repair", status=1), str(home.process.pid))
    home.stop()


def test_never_started(case):
    home = case.node("home.kai")
    has(home.ctl("store", "check", status=1), "not_found")
    os.makedirs(path(home), mode=0o700)
    found(home, "start", "never used", 0)
    with open(path(home, "state.db"), "wb"):
        pass
    found(home, "start", "never used", 0)
    home.start().stop()
    equal(look(home)[0], 0, "after its first start")


def test_torn_end(case):
    home = used(case)
    last = segments(home)[-1]
    patch(last, end_of(last) + 16, os.urandom(700))
    found(home, "start", "nobody was told of", 0)
    status, said = look(home, "--repair")
    equal((status, said["repaired"], said["findings"][0]["repaired"]), (0, 1, True), f"repaired: {said}")
    equal(look(home)[1]["findings"], [], "nothing is left")
    starts(home)


def test_damage_in_the_journal(case):
    home = used(case)
    flip(segments(home)[1], 4096 + 100)
    damaged(home, "is not valid")


def test_damage_before_the_last_record(case):
    home = used(case)
    flip(segments(home)[-1], 4096 + 30)
    damaged(home, "is not valid")


def test_head_of_a_segment(case):
    home = used(case)
    patch(segments(home)[-1], 0, b"\0" * 4096)
    equal(look(home)[1]["findings"], [], "there is another copy")
    starts(home)


def test_all_heads_of_a_segment(case):
    home = used(case)
    file = segments(home)[1]
    patch(file, 0, b"\0" * 4096)
    patch(file, os.path.getsize(file) - 512, b"\0" * 512)
    damaged(home, "head")


def test_missing_segment(case):
    home = used(case)
    os.unlink(segments(home)[1])
    damaged(home, "goes on at record")


def test_missing_first_segment(case):
    home = used(case)
    os.unlink(segments(home)[0])
    damaged(home, "are missing")


def test_missing_journal(case):
    home = used(case, signal.SIGTERM)
    shutil.rmtree(path(home, "journal"))
    damaged(home, "holds no segment")


def test_missing_database(case):
    home = used(case)
    for name in ("state.db", "state.db-wal"):
        os.unlink(path(home, name))
    found(home, "none", "state.db", 1)


def test_truncated_database(case):
    home = used(case, signal.SIGTERM)
    os.truncate(path(home, "state.db"), os.path.getsize(path(home, "state.db")) // 2)
    found(home, "none", "state.db", 1)


def test_garbage_in_the_database(case):
    home = used(case, signal.SIGTERM)
    patch(path(home, "state.db"), 3 * 4096, os.urandom(4096))
    found(home, "none", "state.db", 1)


def test_older_copy_of_the_database(case):
    home = used(case, signal.SIGTERM)
    shutil.copy(path(home, "state.db"), case.path("old.db"))
    home.setting("journal_bytes", '"64K"')
    home.setting("checkpoint_bytes", '"64K"')
    home.start()
    for _ in range(20):
        home.ctl("task", "send", "klp://agent.same.home.kai", "--input", "y" * 20000)
    home.stop()
    shutil.copy(case.path("old.db"), path(home, "state.db"))
    damaged(home, "are missing")


def test_foreign_files(case):
    home, other = used(case), used(case, name="other.kai")
    for name in ("notes.txt", os.path.join("journal", "0000.seg")):
        with open(path(home, name), "w", encoding="utf-8") as file:
            file.write("x")
    found(home, "hand", "notes.txt", 0)
    found(home, "hand", "0000.seg", 0)
    os.unlink(path(home, "journal", "0000.seg"))
    with open(path(home, "state.db-journal"), "w", encoding="utf-8") as file:
        file.write("x")
    found(home, "none", "state.db-journal", 1)
    os.unlink(path(home, "state.db-journal"))
    shutil.copy(segments(other)[-1], segments(home)[-1])
    damaged(home, "belongs to another store")


def test_links_are_not_followed(case):
    home = used(case, signal.SIGTERM)
    os.rename(path(home, "state.db"), case.path("elsewhere.db"))
    os.symlink(case.path("elsewhere.db"), path(home, "state.db"))
    found(home, "none", "symbolic link", 1)


def sql(node, text, *values):
    with contextlib.closing(sqlite3.connect(path(node, "state.db"), isolation_level=None)) as db:
        return db.execute(text, values).fetchall()


def test_indexes_are_made_again(case):
    home = used(case, signal.SIGTERM)
    sql(home, 'DELETE FROM "s:expiry" WHERE key = (SELECT key FROM "s:expiry" LIMIT 1)')
    key, value = sql(home, 'SELECT key, value FROM "s:expiry" LIMIT 1')[0]
    sql(home, 'INSERT INTO "s:expiry" VALUES(?, ?)', key[:9] + os.urandom(len(key) - 9), value)
    sql(home, 'CREATE TABLE IF NOT EXISTS "s:handed"(key BLOB PRIMARY KEY, value BLOB) WITHOUT ROWID')
    sql(home, 'INSERT INTO "s:handed" VALUES(?, ?)', b"\0\0\0\0\0\1\0\0", b"")
    said = found(home, "repair", "remembered for ever", 1)
    equal(sorted({(f["mend"], f["place"]) for f in said["findings"] if f["place"] not in ("asked", "dedupe")}), [("repair", "expiry"), ("start", "handed")], "what they are")
    has(home.ctl("store", "check", status=1), "--repair")
    status, fixed = look(home, "--repair")
    equal((status, fixed["sound"], fixed["repaired"]), (0, True, len(said["findings"])), f"repaired: {fixed}")
    equal(look(home)[1]["findings"], [], "nothing is left")
    starts(home)


def test_audit_trails_are_proven(case):
    home = used(case, signal.SIGTERM)
    key, value = sql(home, 'SELECT key, value FROM "s:audit" LIMIT 1 OFFSET 3')[0]
    sql(home, 'UPDATE "s:audit" SET value = ? WHERE key = ?', value.replace(b'"run"', b'"ran"').replace(b'"ended"', b'"endet"'), key)
    found(home, "none", "entry 3 of the audit trail", 1)
    sql(home, 'UPDATE "s:audit" SET value = ? WHERE key = ?', value, key)
    equal(look(home)[0], 0, "as it was")
    sql(home, 'DELETE FROM "s:audit" WHERE key = (SELECT max(key) FROM "s:audit")')
    found(home, "none", "its head does not agree", 1)


def test_logs_are_proven(case):
    home, laptop = case.pair()
    home.stop()
    laptop.stop()
    key, value = sql(home, 'SELECT key, value FROM "s:log" LIMIT 1')[0]
    at = len(value) - 3
    sql(home, 'UPDATE "s:log" SET value = ? WHERE key = ?', value[:at] + bytes([value[at] ^ 1]) + value[at + 1:], key)
    found(home, "none", "does not verify", 1)
    sql(home, 'UPDATE "s:log" SET value = ? WHERE key = ?', value, key)
    sql(laptop, "DELETE FROM \"s:name\" WHERE substr(key, 1, 1) = X'69'")
    found(laptop, "none", "does not lead back", 1)


run(globals())
