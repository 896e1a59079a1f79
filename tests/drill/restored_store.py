#!/usr/bin/env python3
"""etcd is restored from an older backup: nothing is changed, REST says so, `weir recover` ends it.

Three times, with a real etcd and `etcdctl snapshot save|restore`: once under living JobManagers,
who remember; once as another cluster of etcd, under living JobManagers of whom the backup knows
none; once with every JobManager begun anew, so that only TaskManagers and storage remember.
Each time: REST has to say it within 5 s; attempts and checkpoints do not move; the workers that run
go on running; after `weir recover --accept-store` the job runs and completes checkpoints again.
"""
import argparse
import os
import shutil
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cluster import Cluster, Timeout, alive, say, wait_for  # noqa: E402
from leader_moments import spec  # noqa: E402


class Etcd:
    """The one member of the cluster's etcd: backup and restore, with its own command line."""

    def __init__(self, c):
        self.c = c
        self.name = c.names("etcd")[0]
        with open(f"/proc/{c.pid(self.name)}/cmdline", "rb") as f:
            args = f.read().decode().split("\0")
        self.flags = {}
        for i, a in enumerate(args):
            if a.startswith("--") and "=" in a:
                key, value = a.split("=", 1)
                self.flags[key] = value
            elif a.startswith("--") and i + 1 < len(args):
                self.flags[a] = args[i + 1]
        self.cwd = os.readlink(f"/proc/{c.pid(self.name)}/cwd")
        self.backup = os.path.join(c.dir, "backup.db")

    def ctl(self, *args):
        env = dict(os.environ, ETCDCTL_API="3")
        subprocess.run(["etcdctl", *args], env=env, check=True, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)

    def save(self):
        if os.path.exists(self.backup):
            os.unlink(self.backup)
        url = self.flags["--listen-client-urls"].split(",")[0]
        self.ctl("--endpoints", url, "snapshot", "save", self.backup)

    def restore(self, token=None):
        self.c.kill(self.c.pid(self.name))
        data = os.path.join(self.cwd, self.flags["--data-dir"])
        shutil.rmtree(data)
        args = ["snapshot", "restore", self.backup, "--data-dir", data]
        for flag in ("--name", "--initial-cluster", "--initial-cluster-token",
                     "--initial-advertise-peer-urls"):
            if flag in self.flags:
                args += [flag, token if token and flag.endswith("token") else self.flags[flag]]
        self.ctl(*args)
        self.c.start(self.name)


def said(c):
    """What REST says is wrong; None: nothing."""
    page = c.rest("/v1/cluster/recover")
    return page if page["needed"] else None


def check_said(c, since, out):
    page = wait_for("REST to say it", 20, lambda: said(c), every=0.05)
    seconds = time.monotonic() - since
    out.append((f"said after {seconds:.1f} s: {page['why']}", seconds <= 5.0))
    overview = c.rest("/v1/overview")["weir"]
    out.append(("the overview says so too", any("back in time" in r for r in overview["reasons"])))
    return page


def in_store(page):
    """Without what the present leader knows: it may be another one by now."""
    return [(j["job"], j["store"]) for j in page["jobs"]]


def unchanged(c, job, workers, out):
    before = c.rest("/v1/cluster/recover")
    time_up = time.monotonic() + 4
    wait_for("four seconds", 10, lambda: time.monotonic() > time_up)
    after = c.rest("/v1/cluster/recover")
    out.append(("nothing moves in the store", in_store(before) == in_store(after)))
    out.append(("workers go on", all(alive(w) for w in workers)))
    try:
        c.rest(f"/v1/jobs/{job}?mode=cancel", "PATCH", timeout=3)
        out.append(("cancel is refused", False))
    except OSError as e:  # the leader says 503; a standby goes on asking it
        out.append((f"cancel is refused ({str(e)[:60]})", c.state(job) != "CANCELED"))


def recover(c, job, out):
    address = c.info["jobmanagers"][0]["address"]
    plan = c.weir("recover", "--server", address, check=False)
    out.append(("recover says first what it costs", "costs:" in plan and job in plan))
    text = c.weir("recover", "--accept-store", "--server", address, timeout=90, check=False)
    say("    " + "\n    ".join(text.strip().splitlines()))
    wait_for("it to be over", 60, lambda: c.rest("/v1/cluster/recover")["needed"] is False)
    wait_for("the job to run", 60, lambda: c.state(job) == "RUNNING")
    newest = c.completed(job)
    wait_for("a checkpoint", 60, lambda: c.completed(job) > newest)
    out.append((f"the job runs, checkpoint {c.completed(job)} completed", True))


def report(title, out):
    say(title)
    for text, ok in out:
        say(f"  {'ok  ' if ok else 'FAIL'} {text}")
    return sum(ok for _, ok in out), sum(not ok for _, ok in out)


def progress(c, job, n):
    start = c.completed(job)
    wait_for("checkpoints", 60, lambda: c.completed(job) >= start + n)


def living(c, etcd, job):
    """The leader lives, and remembers."""
    out = []
    progress(c, job, 3)
    etcd.save()
    progress(c, job, 5)
    workers = c.workers()
    etcd.restore()
    since = time.monotonic()
    check_said(c, since, out)
    unchanged(c, job, workers, out)
    recover(c, job, out)
    return report("restored under living JobManagers", out)


def strangers(c, etcd, job):
    """The leader lives, but neither it nor any standby is known to the store that comes back."""
    out = []
    progress(c, job, 3)
    etcd.save()
    for name in c.names("jobmanagers"):
        c.kill(c.pid(name))
        c.start(name)
    wait_for("a leader", 30, c.leader)
    progress(c, job, 5)
    workers = c.workers()
    etcd.restore(token="another")
    since = time.monotonic()
    check_said(c, since, out)
    unchanged(c, job, workers, out)
    recover(c, job, out)
    return report("restored as another cluster, under JobManagers that are younger", out)


def anew(c, etcd, job):
    """Every JobManager is begun anew: TaskManagers and storage remember."""
    out = []
    progress(c, job, 3)
    etcd.save()
    # Leaders come and go after the backup, so that TaskManagers know a later epoch.
    for _ in range(2):
        name, epoch = wait_for("a leader", 30, c.leader)
        c.kill(c.pid(name))
        wait_for("another", 30, lambda: (c.leader() or ("", 0))[1] > epoch)
        c.start(name)
    progress(c, job, 5)
    workers = c.workers()
    for name in c.names("jobmanagers"):
        c.kill(c.pid(name))
    etcd.restore()
    for name in c.names("jobmanagers"):
        c.start(name)
    wait_for("a leader", 30, c.leader)
    check_said(c, time.monotonic(), out)
    unchanged(c, job, workers, out)
    recover(c, job, out)
    return report("restored, and every JobManager begun anew", out)


def next_change(c, job):
    """One more change of leader: nothing of it is left."""
    out = []
    name, epoch = wait_for("a leader", 30, c.leader)
    before = c.job(job)["weir"]["restarts"]
    c.kill(c.pid(name), signal.SIGKILL)
    wait_for("another", 30, lambda: (c.leader() or ("", 0))[1] > epoch)
    wait_for("the job to run", 30, lambda: c.state(job) == "RUNNING")
    out.append(("it restarts nothing", c.job(job)["weir"]["restarts"] == before))
    return report("the next change of leader", out)


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--bin", required=True)
    a = p.parse_args()
    passed = failed = 0
    for part in (living, strangers, anew):
        # A cluster each: for two minutes after an acceptance nothing beyond the store contradicts.
        with Cluster(a.bin, etcd=1, jobmanagers=3, taskmanagers=2, slots=2) as c:
            etcd = Etcd(c)
            kept = spec("restored", 10**9, 2000)
            kept["checkpointing"]["retained"] = 100  # so that what the backup names is still there
            job = c.submit(kept)
            c.wait_state(job, ["RUNNING"], 60)
            for good, bad in (part(c, etcd, job), next_change(c, job)):
                passed, failed = passed + good, failed + bad
    say(f"{passed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
