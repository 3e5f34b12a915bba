#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What kosd gave up: read from /proc of running processes, and tried by plugins within it that do what they may not; whose
user it becomes; and what systemd-analyze says of the unit."""
import contextlib
import grp
import os
import pwd
import re
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from kit import BUILD, SRC, Control, Skipped, check, equal, has, program, run, sanitized  # noqa: E402

NOBODY = pwd.getpwnam("nobody")
EXPOSURE = 1.7
LOW_PORTS = 1 << 10  # CAP_NET_BIND_SERVICE
SANITIZED = sanitized()


def status(pid):
    with open(f"/proc/{pid}/status", encoding="utf-8") as lines:
        return dict(line.rstrip("\n").split(":\t", 1) for line in lines if ":\t" in line)


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="utf-8") as pids:
        return [int(p) for p in pids.read().split()]


def given_up(pid, uid, groups=(), capabilities=0, filtered=True):
    got = status(pid)
    equal(got["Uid"].split(), [str(uid)] * 4, "whose process it is")
    equal([g for g in got["Groups"].split() if g != got["Gid"].split()[0]], [str(g) for g in groups], "its groups")
    for name in ("CapEff", "CapPrm"):
        equal(int(got[name], 16), capabilities, name)
    for name in ("CapInh", "CapBnd", "CapAmb"):
        equal(int(got[name], 16) if os.geteuid() == 0 or name != "CapBnd" else 0, 0, name)
    equal(got["NoNewPrivs"], "1", "no new privileges")
    equal(got["Seccomp"], "2" if filtered else "0", "a filter")
    with open(f"/proc/{pid}/limits", encoding="utf-8") as limits:
        has(re.search("Max core file size.*", limits.read()).group(), " 0 ")


def everyone(node, uid, **more):
    """Each thread of kosd, its spawner, and what that started."""
    pid = node.process.pid
    tasks = os.listdir(f"/proc/{pid}/task")
    check(len(tasks) > 1, "kosd has workers")
    for task in tasks:
        given_up(int(task), uid, **more)
    spawner, = children(pid)
    has(status(spawner)["Name"], "kos-spawner")
    more.pop("capabilities", None)
    more.pop("filtered", None)
    given_up(spawner, uid, **more)
    for keeper in children(spawner):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # one that looked at a module may just end
            for below in (keeper, *children(keeper)):
                given_up(below, uid, **more)
    if not SANITIZED:
        equal(os.stat(f"/proc/{pid}/mem").st_uid, 0, "not dumpable, so its memory is root's alone")


def wire(node, sections):
    path = os.path.join(node.dir, "policy.d", "default.klp-policy")
    with open(path, encoding="utf-8") as policy:
        text = policy.read()
    at = text.rindex("};")
    with open(path, "w", encoding="utf-8") as policy:
        policy.write(text[:at] + sections + text[at:])


def bad(way, isolate="false"):
    return f'    bad_{way.lower()} = {{ module = "{os.path.join(BUILD, "tests", "bad", way + ".so")}"; isolate = {isolate}; }};\n'


def give(case, node, user, to_conf="root"):
    """The instance to another user, and a way there."""
    for folder, _, files in os.walk(node.dir):
        for name in (folder, *(os.path.join(folder, f) for f in files)):
            os.chown(name, user.pw_uid, user.pw_gid)
    os.chown(os.path.join(node.dir, "kosd.conf"), pwd.getpwnam(to_conf).pw_uid, -1)
    os.chmod(os.path.join(node.dir, "kosd.conf"), 0o644)
    for path in (case.dir, case.plugins):
        os.chmod(path, 0o755)
    for path in (os.path.realpath(SRC), os.path.realpath(BUILD)):
        while path != "/":
            if not os.stat(path).st_mode & 1:
                raise Skipped("the tree lies where only root may go")
            path = os.path.dirname(path)


def refused(node, *parts):
    done = subprocess.run([program("kosd"), "-i", node.dir, "--foreground"], capture_output=True, check=False, timeout=60)
    equal(done.returncode, 1, "it does not start")
    for part in parts:
        has(done.stderr.decode(), part)


def without(node, setting):
    path = os.path.join(node.dir, "kosd.conf")
    with open(path, encoding="utf-8") as conf:
        lines = [line for line in conf if not line.startswith(setting + " =")]
    with open(path, "w", encoding="utf-8") as conf:
        conf.writelines(lines)


def test_who_started_it_keeps_nothing(case):
    home = case.node("home.kai")
    wire(home, bad("GOOD", "true"))
    home.start()
    home.ctl("agent", "add", "slow", "--skill", "x", "--exec", "sleep 60")
    task = home.popen("task", "send", "klp://agent.slow.home.kai", "--input", "x")
    case.processes.append(task)
    case.until(lambda: home.agent("slow")["running"] == 1, "an agent runs")
    everyone(home, os.geteuid())
    has(home.tail_all(), "seccomp on, writes only to its instance")
    home.ctl("plugin", "reload", "bad_good")
    home.stop()


def test_root_becomes_the_owner(case):
    if os.geteuid() != 0:
        raise Skipped("needs root, to give the instance to another user")
    home = case.node("home.kai")
    without(home, "user")
    refused(home, "permission_denied", "does not run as root unless it is told to", home.dir, 'user = "root";')
    give(case, home, NOBODY)
    home.start()
    home.ctl("agent", "add", "who", "--skill", "x", "--exec", "id -u; id -G")
    equal(home.ctl("task", "send", "klp://agent.who.home.kai", "--input", "x").split(), [str(NOBODY.pw_uid), str(NOBODY.pw_gid)], "and so do its agents")
    everyone(home, NOBODY.pw_uid)
    equal(os.stat(os.path.join(home.dir, "kosd.sock")).st_uid, NOBODY.pw_uid, "whose socket it is")
    home.stop()


def test_root_becomes_who_is_named(case):
    if os.geteuid() != 0:
        raise Skipped("needs root, to become another user")
    home = case.node("home.kai")
    group = grp.getgrnam("audio")
    give(case, home, NOBODY)
    home.setting("user", '"nobody"')
    home.setting("groups", '[ "audio" ]')
    os.chmod(os.path.join(home.dir, "kosd.conf"), 0o644)
    low = next(p for p in range(1023, 900, -1) if free(p))
    home.setting("listen", f'[ "tcp://127.0.0.1:{low}" ]')
    home.start()
    everyone(home, NOBODY.pw_uid, groups=[group.gr_gid], capabilities=LOW_PORTS)
    has(home.tail_all(), "no capability but to listen on low ports")
    home.stop()
    os.chown(os.path.join(home.dir, "kosd.conf"), pwd.getpwnam("daemon").pw_uid, -1)
    refused(home, "permission_denied", "only root and that user may do so")
    os.chown(os.path.join(home.dir, "kosd.conf"), 0, 0)
    home.setting("user", '"no-such-user"')
    refused(home, "bad_configuration", 'there is no user "no-such-user"')
    home.setting("user", '"nobody"')
    home.setting("groups", '[ "no-such-group" ]')
    refused(home, "bad_configuration", 'groups: there is no group "no-such-group"')


def free(port):
    import socket
    with socket.socket() as s:
        try:
            s.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def go(node, way):
    with Control(os.path.join(node.dir, "kosd.sock"), timeout=30) as control:
        return control.call("org.kos.bad." + way.lower().replace("_", "-") + ".Go")


# Ways to do within kosd what no plugin of it has use for: its end, with a sentence; but what only fails goes on.
ENDS = {"EXEC": "execve", "FORK": "clone", "PTRACE": "ptrace", "KILL": "kill"}


def test_what_a_plugin_within_kosd_may_not(case):
    ends = dict(ENDS)
    if SANITIZED:
        for way in ("FORK", "PTRACE", "KILL"):  # the leak checker does these
            del ends[way]
    for way, call in ends.items():
        home = case.node(f"{way.lower()}.kai")
        wire(home, bad(way))
        home.start()
        equal(go(home, way), None, f"{way}: the end")
        equal(home.process.wait(60), 128 + 31, f"{way}: its exit status")
        has(home.tail_all(), f"policy_denied: this process made the system call {call}, which")
        has(home.tail_all(), "seccomp = false; in kosd.conf")
        home.process = None
        home.start().stop()
    home = case.node("write.kai")
    wire(home, bad("WRITE_FILE"))
    home.start()
    equal(go(home, "WRITE_FILE")["parameters"], {"fd": -1, "errno": 13}, "not outside of the instance")
    equal(go(home, "WRITE_FILE")["parameters"], {"fd": -1, "errno": 13}, "and it goes on")
    check(not os.path.exists("/tmp/kos-bad-was-here"), "nothing was written")


def test_without_a_filter(case):
    home = case.node("home.kai")
    home.setting("seccomp", "false")
    home.setting("write_paths", '[ "/tmp" ]')
    wire(home, bad("WRITE_FILE") + bad("PTRACE"))
    home.start()
    try:
        everyone(home, os.geteuid(), filtered=False)
        has(home.tail_all(), "warning kosd: runs as user")
        has(home.tail_all(), "seccomp off")
        check("errno" in go(home, "PTRACE")["parameters"], "nobody keeps it from that now")
        check(go(home, "WRITE_FILE")["parameters"]["fd"] >= 0, "and it may write there")
        home.stop()
    finally:
        if os.path.exists("/tmp/kos-bad-was-here"):
            os.unlink("/tmp/kos-bad-was-here")


def test_the_unit(case):
    """Its exposure, as systemd counts it, and its filter of system calls beside kosd's."""
    with open(os.path.join(BUILD, "etc", "kosd.service"), encoding="utf-8") as unit:
        text = unit.read()
    for line in ("NoNewPrivileges=yes", "CapabilityBoundingSet=\n", "SystemCallErrorNumber=EPERM"):
        has(text, line)
    analyze = shutil.which("systemd-analyze")
    if not analyze:
        raise Skipped("systemd is not installed")
    path = case.path("kosd.service", text.encode())
    done = subprocess.run([analyze, "security", "--offline=true", f"--threshold={int(EXPOSURE * 10)}", path], capture_output=True, check=False,
                          env={**os.environ, "SYSTEMD_COLORS": "0", "LANG": "C.UTF-8"})
    got = re.search(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout.decode())
    check(got, f"an answer: {done.stderr.decode()}")
    check(float(got.group(1)) <= EXPOSURE and done.returncode == 0, f"its exposure is {got.group(1)}, above {EXPOSURE}")
    # What kosd's own filter allows must not be what the unit's refuses, nor what it needs for those it starts.
    allowed, groups = set(), {}
    listing = subprocess.run([analyze, "syscall-filter"], capture_output=True, check=False, env={**os.environ, "SYSTEMD_COLORS": "0"}).stdout.decode()
    name = None
    for line in listing.splitlines():
        if line.startswith("@"):
            name = line.strip()
            groups[name] = set()
        elif line.startswith("    ") and name and not line.strip().startswith("#"):
            groups[name].add(line.strip())

    def expand(word):
        return set().union(*(expand(w) for w in groups[word])) if word in groups else {word}
    for line in re.findall(r"^SystemCallFilter=(.*)$", text, re.M):
        for word in line.lstrip("~").split():
            allowed = allowed - expand(word) if line.startswith("~") else allowed | expand(word)
    with open(os.path.join(SRC, "runtime", "confine", "calls.c"), encoding="utf-8") as calls:
        ours = re.findall(r"static const char \*const (granted|with_net|with_files|with_node|with_exec)\[\] = \{(.*?)\};", calls.read(), re.S)
    equal(len(ours), 5, "the lists of kosd's filter")
    lacking = set()
    known = set().union(*(expand(g) for g in groups))
    for _, block in ours:
        for call in re.findall(r'"(\w+)"', re.sub(r"/\*.*?\*/", "", block, flags=re.S)):
            if call in known and call not in allowed:
                lacking.add(call)
    equal(lacking, set(), "what kosd's filter allows, and the unit's does not")
    for call in ("landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self", "seccomp", "capset", "prctl"):
        check(call in allowed, f"the unit lacks {call}, by which processes are confined")
    for call in ("ptrace", "init_module", "mount", "bpf", "keyctl", "reboot", "kexec_load", "swapon", "open_by_handle_at"):
        check(call not in allowed, f"the unit allows {call}")


run(globals())
