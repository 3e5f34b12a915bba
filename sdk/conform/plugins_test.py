#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every plugin of the tree that was built, and every example of the SDK, conforms. TAP."""
import concurrent.futures
import glob
import json
import os
import subprocess
import sys

SRC = os.environ.get("KOS_SRCDIR", os.path.join(os.path.dirname(os.path.abspath(__file__)), "../.."))
BUILD = os.environ.get("KOS_BUILDDIR", os.path.join(SRC, "build"))
os.environ.setdefault("KOS_CELL", os.path.join(BUILD, "kos-cell"))
FILES = os.path.join(BUILD, "sdk/conform/mutants/files")
# What a plugin cannot do without.
OPTIONS = {
    "discovery_file": ["--settings", "directory={dir}"],
    "bridge_files": ["--settings", "directory={dir}", "--settings", "target=klp://node.conform", "--settings",
                     "interval=10ms", "--files", FILES],
    "http": ["--settings", 'listen=["127.0.0.1:0"]', "--settings", "fetch_private=true"],
    "lora": ["--settings", "device=/dev/kos-conform-none", "--settings", "region=eu868", "--settings",
             "frequency=868100000"],
    "bridge_web": ["--settings", "target=klp://node.conform"],
    "nats": ["--settings", 'servers=["nats://127.0.0.1:1"]', "--settings", "tls=false", "--settings",
             "deliver_timeout=1s"],
}


def conform(module):
    name = os.path.basename(module)[:-3]
    args = [os.path.join(BUILD, "kos-conform"), "--json", "--hosting", "both"] + OPTIONS.get(name, []) + [module]
    done = subprocess.run(args, capture_output=True, text=True, timeout=600, check=False)
    try:
        return json.loads(done.stdout), done
    except ValueError:
        return [], done


def main():
    os.makedirs(os.path.join(FILES, "in"), exist_ok=True)
    modules = sorted(glob.glob(os.path.join(BUILD, "plugins/*/*/.libs/*.so")) +
                     glob.glob(os.path.join(BUILD, "sdk/examples/.libs/*.so")))
    number, bad = 0, not modules
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for module, (results, done) in zip(modules, pool.map(conform, modules)):
            name = os.path.relpath(module, BUILD).replace("/.libs", "")
            for r in results:
                number += 1
                good = r["outcome"] != "broke"
                bad += not good
                print(f"{'ok' if good else 'not ok'} {number} - {name}: {r['suite']}/{r['test']} ({r['hosting']})")
                if not good:
                    print(f"# {r['rule']}, {r['header']}: {r['sentence']}\n# {r['seen']} (last call: {r['last_call']})")
                elif r["outcome"] == "skipped":
                    print(f"# left out: {r['seen']}")
            if not results:
                number += 1
                bad += 1
                print(f"not ok {number} - {name} is judged\n# " + done.stderr.replace("\n", "\n# "))
    print(f"1..{number}")
    return 1 if bad else 0


sys.exit(main())
