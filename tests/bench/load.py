# SPDX-License-Identifier: Apache-2.0
"""Figures of one pair of kosd: what the receiver counted while the sender sent."""
import time

from kosd import Failed

BYTES = 512


def wait_until(condition, seconds, text):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise Failed(f"not within {seconds} s: {text}")
        time.sleep(0.02)


def one_way(receiver, sender, seconds=3.0, warm=1.0, window=2048, per_tx=64, rate=0, transient=False):
    """Messages a second, signed, encrypted, policy-checked and handled, by the receiver's own counters and clock; and that
    all that was sent was handled, once."""
    before = receiver.status()["counters"]
    load = sender.sending(target=receiver.address, ask=False, bytes=BYTES, seconds=warm + seconds, rate=rate, window=window, per_tx=per_tx,
                          transient=transient)
    time.sleep(warm)
    receiver.bench("Reset")
    first, cpu, threads = receiver.status(), (receiver.cpu(), sender.cpu()), {**receiver.threads(), **sender.threads()}
    time.sleep(seconds)
    last, cpu = receiver.status(), (receiver.cpu() - cpu[0], sender.cpu() - cpu[1])
    busiest = max(used - threads.get(thread, used) for thread, used in {**receiver.threads(), **sender.threads()}.items())
    latency = receiver.bench("Counters")["load"]["latency"]
    sent = load.read()["load"]
    load.close()
    if sent["why"] or sent["refused"]:
        raise Failed(f"{sent['refused']} messages were refused: {sent['why']}")

    def handled():
        return receiver.status()["counters"]["handled"] - before["handled"]
    wait_until(lambda: handled() >= sent["committed"], 60, f"{handled()} of {sent['committed']} messages handled")
    after = receiver.status()["counters"]
    took = (last["uptime_ms"] - first["uptime_ms"]) / 1000
    got = {name: last["counters"][name] - first["counters"][name] for name in ("verified", "allowed", "handled", "batches_in")}
    total = {name: after[name] - before[name] for name in ("verified", "allowed", "handled", "repeats")}
    if total["handled"] != sent["committed"]:
        raise Failed(f"{sent['committed']} messages were sent and {total['handled']} handled")
    return {"rate": got["handled"] / took, "verified": got["verified"] / took, "allowed": got["allowed"] / took,
            "latency": latency, "batch": got["verified"] / max(1, got["batches_in"]), "sent": sent, "total": total, "seconds": took,
            "cpu_receiver": cpu[0] / took, "cpu_sender": cpu[1] / took,
            "busiest_us": busiest * 1e6 / max(1, got["handled"]), "groups": (last["store"]["groups"] - first["store"]["groups"]) / took}


def ask(receiver, sender, seconds=2.0, window=1, rate=0, warm=0.3, transient=False):
    """Requests answered by a signed reply: a second, and how long each took, at the sender."""
    if warm:
        load = sender.sending(target=receiver.address, ask=True, bytes=BYTES, seconds=warm, rate=rate, window=window, per_tx=1, transient=transient)
        load.read()
        load.close()
    load = sender.sending(target=receiver.address, ask=True, bytes=BYTES, seconds=seconds, rate=rate, window=window, per_tx=1, transient=transient)
    done = load.read()["load"]
    load.close()
    if done["why"] or done["answered"] != done["committed"]:
        raise Failed(f"{done['answered']} of {done['committed']} requests answered: {done['why']}")
    return {"rate": done["answered"] / (done["elapsed_ns"] / 1e9), "latency": done["latency"], "sent": done}
