#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Agents that misbehave end with one clear error at the asker; what an agent can reach, and that no input ever becomes a command."""
import json
import os
import subprocess

from kit import check, equal, has, run

# Reads tasks by lines and answers with what TASK says of $id; $task holds the line.
STDIO = r"""
while IFS= read -r task; do
  id=$(printf %s "$task" | sed 's/.*"task":"\([a-z2-7]*\)".*/\1/')
  case $task in *'"verb":"task"'*) TASK;; *) printf '{"task":"%s","error":"cancelled"}\n' "$id";; esac
done
"""


def stdio(task):
    return STDIO.replace("TASK", task)


def add(home, name, command, *arguments, kind="--exec"):
    home.ctl("agent", "add", name, "--skill", "x", kind, command, *arguments)
    return f"klp://agent.{name}.home.kai"


def python(text):
    """A command that runs this Python text."""
    return "exec python3 -c '" + text.replace("'", "'\\''") + "'"


def nodes(case):
    home, laptop = case.pair()
    add(home, "same", "cat")
    return home, laptop


def goes_on(home, laptop, pid):
    equal(laptop.ctl("task", "send", "klp://agent.same.home.kai", "--input", "still here"), "still here", "another agent works")
    equal(home.json("status")["status"]["pid"], pid, "the node is the same process")


def fails(laptop, address, *parts, error="agent_failed", status=1, arguments=(), output=None):
    done = laptop.raw("task", "send", address, *arguments)
    said = done.stderr.decode()
    equal(done.returncode, status, said)
    has(said, f"kosctl: {error}: ")
    equal(len(said.splitlines()), 1, f"one line: {said}")
    for part in parts:
        has(said, part)
    if output is not None:
        equal(done.stdout, output, "what came before")


def test_programs_that_fail(case):
    home, laptop = nodes(case)
    pid = home.process.pid
    fails(laptop, add(home, "status", "echo first; echo what was wrong >&2; exit 7"), "what was wrong", output=b"first\n")
    fails(laptop, add(home, "silent", "exit 7"), "7", output=b"")
    fails(laptop, add(home, "killed", "echo before; kill -SEGV $$"), output=b"before\n")
    fails(laptop, add(home, "absent", "there-is-no-such-program"), "there-is-no-such-program")
    fails(laptop, add(home, "syntax", "if then ("), "yntax")
    fails(laptop, add(home, "talker", "i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done >&2; exit 1"), "line 19999")
    fails(laptop, add(home, "escapes", r"printf '\033[31mred\033[0m\007\n' >&2; exit 1"), "red")
    said = laptop.raw("task", "send", "klp://agent.escapes.home.kai").stderr
    check(b"\x1b" not in said and b"\x07" not in said, f"no control characters reach a terminal: {said}")
    goes_on(home, laptop, pid)
    equal(home.agent("status")["failed"], 1, "it is counted")


def test_programs_that_hang_or_flood(case):
    home, laptop = nodes(case)
    pid = home.process.pid
    fails(laptop, add(home, "hang", "trap '' TERM; echo begun; sleep 3219 & sleep 3219"), error="deadline_passed", status=4, arguments=("--deadline", "1s"), output=b"begun\n")
    case.until(lambda: not subprocess.run(["pgrep", "-f", "^sleep 3219"], capture_output=True, check=False).stdout, "all of it is gone, whatever it ignores")
    done = laptop.raw("task", "send", add(home, "flood", "exec yes", "--output-max", "1M"))
    equal(done.returncode, 1, "a flood is ended")
    has(done.stderr.decode(), "kosctl: limit_exceeded: ")
    has(done.stderr.decode(), "1 MiB")
    check(0 < len(done.stdout) <= 1 << 20 and done.stdout.replace(b"y\n", b"") in (b"", b"y"), f"{len(done.stdout)} bytes were kept")
    fails(laptop, add(home, "mutter", "exec yes >&2"), error="deadline_passed", status=4, arguments=("--deadline", "1s"))
    fails(laptop, add(home, "fill", "head -c 2000000000 /dev/zero >large || { rm -f large; echo too large >&2; exit 1; }"), error="agent_failed")
    large = home.own("fill", "large")
    check(not os.path.exists(large) or os.path.getsize(large) <= 1 << 30, "a file has its limit")
    # Its own limit, or, where that is not set (AddressSanitizer), the run's.
    said = laptop.ctl("task", "send", add(home, "hungry", python("x = bytearray(3 << 30)")), status=1)
    check("Memory" in said or "bytes of memory together" in said, said)
    goes_on(home, laptop, pid)


def test_programs_of_all_sorts_that_are_right(case):
    home, laptop = nodes(case)
    large = case.path("large", b"never read\n" * 63000)
    done = laptop.raw("task", "send", add(home, "deaf", "exec <&-; echo done"), "--input", "@" + large)
    equal((done.returncode, done.stdout), (0, b"done\n"), done.stderr.decode())
    equal(laptop.ctl("task", "send", add(home, "deafer", "echo done"), "--input", "@" + large), "done\n", "stdin not even closed")
    done = laptop.raw("task", "send", add(home, "random", "head -c 300000 /dev/urandom | tee out"))
    with open(home.own("random", "out"), "rb") as file:
        check(done.stdout == file.read(), "bytes come as they are")
    equal(laptop.ctl("task", "send", add(home, "accents", "i=0; while [ $i -lt 40000 ]; do printf 'x\u00e9\u20ac'; i=$((i+1)); done")), "x\u00e9\u20ac" * 40000, "no character is cut")
    equal(laptop.raw("task", "send", add(home, "zeros", r"printf 'a\0b'")).stdout, b"a\0b", "zeros")
    equal(laptop.ctl("task", "send", add(home, "nothing", ":")), "", "nothing")
    equal(laptop.ctl("task", "send", add(home, "closer", "exec >&- 2>&-; cat >/dev/null"), "--input", "x"), "", "stdout closed at once")
    equal(laptop.ctl("task", "send", add(home, "child", "echo parent; (sleep 3220; echo child) &")), "parent\n", "what is left behind does not hold the task up")
    case.until(lambda: not subprocess.run(["pgrep", "-f", "^sleep 3220"], capture_output=True, check=False).stdout, "and is ended")


def test_stdio_agents_that_misbehave(case):
    home, laptop = nodes(case)
    pid = home.process.pid

    def agent(name, command, *arguments):
        return add(home, name, command, *arguments, kind="--stdio")
    fails(laptop, agent("gone", "exit 7"))
    fails(laptop, agent("missing", "there-is-no-such-program"), "there-is-no-such-program")
    fails(laptop, agent("crash", stdio("kill -9 $$")), error="agent_failed")
    fails(laptop, agent("says-no", stdio("""printf '{"task":"%s","error":"no_such_page","text":"page 7 of 6"}\\n' "$id" """)), "no_such_page: page 7 of 6")
    fails(laptop, agent("nonsense", stdio("i=0; while [ $i -lt 40 ]; do echo this is no JSON; i=$((i+1)); done")), error="outcome_unknown")
    fails(laptop, agent("liar", stdio("""for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17; do printf '{"task":"other","part":"x"}\\n'; done""")), error="outcome_unknown")
    fails(laptop, agent("long", stdio("head -c 3000000 /dev/zero | tr '\\0' x; echo")), error="deadline_passed", status=4, arguments=("--deadline", "2s"))
    fails(laptop, agent("mute", stdio(":")), error="deadline_passed", status=4, arguments=("--deadline", "1s"))
    done = laptop.raw("task", "send", agent("flood", stdio("""while :; do printf '{"task":"%s","part":"0123456789012345678901234567890123456789012345678901234567890123456789"}\\n' "$id"; done"""), "--output-max", "256K"))
    equal(done.returncode, 1, "a flood")
    has(done.stderr.decode(), "kosctl: limit_exceeded: ")
    a_little = stdio("""echo nonsense; echo '{}'; echo '[]'; printf '{"task":"%s","part":"right"}\\n{"task":"%s","result":{}}\\n{"task":"%s","result":{}}\\n' "$id" "$id" "$id" """)
    address = agent("careless", a_little)
    for _ in range(2):
        equal(laptop.ctl("task", "send", address), "right", "a little nonsense is passed over")
    has(home.tail(), "careless")
    goes_on(home, laptop, pid)


def test_stdio_crash_takes_only_its_own_tasks(case):
    home, laptop = nodes(case)
    address = add(home, "half", stdio("""case $task in *die*) kill -9 $$;; *now*) printf '{"task":"%s","result":{}}\\n' "$id";; esac"""), "--concurrency", "4", kind="--stdio")
    waiting = [laptop.popen("task", "send", address, "--input", "wait") for _ in range(2)]
    case.until(lambda: home.agent("half")["running"] == 2, "two are under way")
    fails(laptop, address, error="agent_failed", arguments=("--input", "die"))
    for process in waiting:
        _, err = process.communicate(timeout=60)
        equal(process.returncode, 1, err.decode())
        has(err.decode(), "agent_failed")
    equal(laptop.ctl("task", "send", address, "--input", "now"), "", "it is started anew")


# What an agent says of all it tries; paths come on stdin, so that its command names none of them.
REACH = r"""
import json, os, socket, sys
told = json.load(sys.stdin)
seen = {}
def attempt(name, what):
    try:
        what()
        seen[name] = "done"
    except OSError as error:
        seen[name] = error.errno and os.strerror(error.errno)
for path in told["read"]:
    attempt("read " + path, lambda: open(path, "rb").read(1))
for path in told["list"]:
    attempt("list " + path, lambda: os.listdir(path))
for path in told["write"]:
    attempt("write " + path, lambda: open(path, "ab").close())
    attempt("remove " + path, lambda: os.unlink(path))
for path in told["connect"]:
    attempt("connect " + path, lambda: socket.socket(socket.AF_UNIX).connect(path))
    attempt("datagram " + path, lambda: socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).connect(path))
attempt("symlink", lambda: os.symlink(told["read"][0], "link"))
attempt("by symlink", lambda: open("link", "rb").read(1))
attempt("hard link", lambda: os.link(told["read"][0], "hard"))
attempt("chmod", lambda: os.chmod(told["read"][0], 0o666))
attempt("setuid", lambda: os.setuid(1))
attempt("own", lambda: open("mine", "w").write("x"))
print(json.dumps({"seen": seen, "cwd": os.getcwd(), "environment": dict(os.environ), "umask": oct(os.umask(0)), "sid": os.getsid(0) == os.getppid() or os.getsid(0) == os.getpid(),
                  "fds": [n for n in range(3, 1024) if not isinstance(fstat(n), OSError)] if (fstat := lambda n: _try(n)) else None}))
"""
REACH = REACH.replace("told = json", """def _try(n):
    try:
        return os.fstat(n)
    except OSError as error:
        return error
told = json""")


def test_what_an_agent_reaches(case):
    home, laptop = nodes(case)
    add(home, "other", "cat >kept")
    laptop.ctl("task", "send", "klp://agent.other.home.kai", "--input", "a secret of another agent")
    address = add(home, "curious", python(REACH))
    outside = case.path("outside", b"x")
    files = [os.path.join(home.dir, name) for name in ("keys/node.key", "keys/node.log", "kosd.conf", "policy.d/default.klp-policy")]
    files += [home.own("other", "kept"), outside, "/etc/shadow", f"/proc/{home.process.pid}/maps", f"/proc/{home.process.pid}/environ"]
    folders = [home.dir, os.path.join(home.dir, "keys"), os.path.join(home.dir, "state"), os.path.join(home.dir, "state", "store"), case.dir, "/tmp", "/root", "/home"]
    told = {"read": files, "list": [f for f in folders if os.path.isdir(f)], "connect": [os.path.join(home.dir, "kosd.sock"), "\0abstract"],
            "write": [outside, os.path.join(home.dir, "kosd.conf"), "/tmp/kos-agent-was-here", "/usr/bin/kos-agent-was-here", home.own("other", "kept")]}
    answer = json.loads(laptop.ctl("task", "send", address, "--input", json.dumps(told)))
    allowed = {"own", "symlink"}
    reached = {name: how for name, how in answer["seen"].items() if how == "done" and name not in allowed}
    equal(reached, {}, "out of reach")
    equal({name: answer["seen"][name] for name in allowed}, {name: "done" for name in allowed}, "its own directory")
    equal(answer["cwd"], os.path.realpath(home.own("curious")).rstrip("/"), "its directory")
    environment = {name: value for name, value in answer["environment"].items() if name not in ("PWD", "OLDPWD", "SHLVL", "_", "LC_CTYPE")}
    equal(environment, {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": answer["cwd"], "TMPDIR": answer["cwd"] + "/tmp", "LANG": "C.UTF-8", "KOS_AGENT": "curious"}, "its environment")
    equal((answer["umask"], answer["fds"]), ("0o77", []), "umask and descriptors")
    with open(home.own("other", "kept"), encoding="utf-8") as file:
        equal(file.read(), "a secret of another agent", "others' files are whole")
    check(os.path.exists(outside), "and those outside")


def test_files_that_a_command_names(case):
    home, laptop = nodes(case)
    script = case.path("script.py", b"import sys; print(sys.stdin.read().upper())")
    other = case.path("other.txt", b"not named")
    equal(laptop.ctl("task", "send", add(home, "script", f"python3 {script}"), "--input", "x"), "X\n", "a script by its absolute path")
    fails(laptop, add(home, "wider", f"cat {script} >/dev/null; cat {case.dir}/oth*"), "oth*")
    fails(laptop, add(home, "keys", f"cat {home.dir}/keys/node.key"), "ermission")
    check(os.path.exists(other), "there it is")


def test_no_input_becomes_a_command(case):
    home, laptop = nodes(case)
    hostile = ["$(touch x); `touch y`", "'; touch x; '", '"; touch x; "', "\\$(touch x)", "| touch x", "&& touch x", "\ntouch x\n", "%s%n%d", "${HOME}", "-n", "--help", "@file", "\u202e", "a\tb\rc"]
    for kind, address in (("cat", "klp://agent.same.home.kai"), ("echo", add(home, "echo", 'input=$(cat; echo .); printf %s "${input%.}"'))):
        for text in hostile:
            option = ["--input", "@" + case.path("hostile", text.encode())]
            equal(laptop.raw("task", "send", address, *option).stdout, text.encode(), f"{kind} {text!r}")
    address = add(home, "words", r"""printf '%s|' "a b" 'c"d' "e'f" \$HOME "$(printf g)" 'h\ni'; cat""")
    equal(laptop.ctl("task", "send", address, "--input", "$(touch z)"), r"""a b|c"d|e'f|$HOME|g|h\ni|$(touch z)""", "the command is as it was given")
    for name in ("same", "echo", "words"):
        equal(sorted(set(os.listdir(home.own(name))) - {"tmp"}), [], f"{name} made no file")
    shown = json.dumps(home.json("task", "list")) + json.dumps(home.json("agent", "list")) + home.tail()
    check("touch x" not in shown, "no input stands in lists or in the log")


run(globals())
