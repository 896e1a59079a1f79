#!/usr/bin/env python3
"""Kill the leader at every named moment of its work, under a running exactly-once job.

Two kinds of moments. In the first part one job runs from beginning to end, and the leader is killed
at each moment that comes again and again (checkpoints): no task may be restarted, and the
checkpoint in flight has to be completed by the successor with the same id where the rule says so.
In the second part short jobs come to the moments that happen once in a job's life (accepted,
placed, prepared, attempt, cancel, terminal): each has to reach the end that was asked for. The
output of every job that finishes is compared, record by record.

Prints a line per moment; the last line counts what passed.
"""
import argparse
import glob
import json
import os
import subprocess
import sys
import threading
import time
import uuid

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cluster import Cluster, alive, say, wait_for  # noqa: E402

KEYS = 100
# moment -> does the checkpoint in flight complete under the successor, with the same id?
CHECKPOINTS = {"leader-checkpoint-recorded": True, "leader-triggered": True,
               "leader-manifest-stored": True, "leader-pointer-recorded": True,
               "leader-complete-sent": True, "leader-cleanup-recorded": None}
ENDED = ("FINISHED", "FAILED", "CANCELED")


def spec(name, records, rate, interval="300ms"):
    return {
        # An id of its own: who is asked may die before it answers, and is asked again.
        "name": name, "jobId": uuid.uuid4().hex, "parallelism": 2, "maxParallelism": 128,
        "checkpointing": {"interval": interval, "mode": "exactly-once", "timeout": "30s",
                          "tolerableFailures": 1000},
        "restart": {"strategy": "exponential-delay"},
        "operators": [
            {"uid": "numbers", "type": "source.sequence", "from": 0, "to": records - 1,
             "keys": KEYS, "rateLimit": rate},
            {"uid": "counts", "type": "aggregate", "inputs": ["numbers"], "keyBy": ["key"],
             "aggregates": [{"count": "*", "as": "n"}]},
            {"uid": "out", "type": "sink.file", "inputs": ["counts"], "path": name,
             "format": "tsv", "semantics": "exactly-once"}]}


class Moments:
    def __init__(self, cluster, verify):
        self.c, self.verify = cluster, verify
        self.passed = self.failed = 0

    def judge(self, moment, ok, text):
        self.passed += ok
        self.failed += not ok
        say(f"  {'ok  ' if ok else 'FAIL'} {moment:<28} {text}")

    def kill_at(self, moment, act=None):
        """Arm, let it happen, bring the dead one back. Returns (its id, its epoch)."""
        c = self.c
        before = wait_for("a leader", 30, c.leader)
        pid = c.pid(before[0])
        path = c.arm(moment)
        if act:
            act()
        wait_for(f"{moment} to be passed", 30, lambda: not os.path.exists(path), every=0.002)
        wait_for("the leader to be gone", 10, lambda: not os.path.exists(f"/proc/{pid}") or
                 open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[0] == "Z",
                 every=0.002)

        def other():
            now = c.leader()
            return now if now and now[1] > before[1] else None
        wait_for("another leader", 30, other, every=0.005)
        c.start(before[0])
        return before

    def exact(self, name, records):
        files = [f for f in glob.glob(os.path.join(self.c.root, name, "*")) if os.path.isfile(f)]
        p = subprocess.run([self.verify, str(records), str(KEYS), *sorted(files)], check=False,
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        return p.returncode == 0, p.stdout.strip().splitlines()[-1:] or [""]

    # ---- moments of checkpoints ----

    def history(self, job):
        return {c["id"]: c for c in self.c.rest(f"/v1/jobs/{job}/checkpoints")["history"]}

    def settle(self, job):
        """A leader that has lived for more than two seconds, and a checkpoint since."""
        c = self.c
        wait_for("the job to run", 30, lambda: c.state(job) == "RUNNING")
        seen = c.completed(job)
        end = time.monotonic() + 2.2
        wait_for("checkpoints", 30,
                 lambda: time.monotonic() > end and c.completed(job) > seen)

    def checkpoint_moment(self, job, moment, same_id):
        c = self.c
        self.settle(job)
        before = c.job(job)["weir"]
        self.kill_at(moment)
        wait_for("the job to run", 30, lambda: c.state(job) == "RUNNING")
        newest = c.completed(job)
        wait_for("a checkpoint", 30, lambda: c.completed(job) > newest + 1)
        after = c.job(job)["weir"]
        history = self.history(job)
        lost = [i for i, k in history.items() if k["status"] == "FAILED"]
        restarted = after["restarts"] - before["restarts"]
        text = f"tasks restarted {restarted}, checkpoints given up so far {len(lost)}"
        ok = restarted == 0 and after["attempt"] == before["attempt"]
        if same_id:
            ok = ok and len(lost) == self.lost
        self.lost = len(lost)
        self.judge(moment, ok, text)

    def checkpoints(self, records, rate, rounds):
        c, self.lost = self.c, 0
        job = c.submit(spec("long", records, rate))
        for moment, same_id in list(CHECKPOINTS.items()) * rounds:
            self.checkpoint_moment(job, moment, same_id)
        wait_for("the long job to finish", records / rate + 60,
                 lambda: c.state(job) == "FINISHED", every=0.2)
        ok, said = self.exact("long", records)
        self.judge("output of the long job", ok, said[0])

    # ---- moments that come once ----

    def finish(self, job, name, records, moment):
        state = wait_for("the job to end", 60,
                         lambda: self.c.state(job) in ENDED and self.c.state(job))
        ok, said = self.exact(name, records)
        self.judge(moment, state == "FINISHED" and ok, f"{state}, {said[0]}")

    def calm(self):
        """The leader has lived for more than two seconds."""
        wait_for("a leader", 30, self.c.leader)
        end = time.monotonic() + 2.2
        wait_for("calm", 10, lambda: time.monotonic() > end)

    def once(self, moment, number):
        """The leader dies when a new job comes to this moment; the job has to finish even so."""
        name, records = f"once-{number}", 20000
        self.calm()
        ids = []

        def submit():
            job = spec(name, records, 10000)
            threading.Thread(target=lambda: ids.append(self.c.submit(job))).start()
        self.kill_at(moment, submit)
        wait_for("the 202", 30, lambda: ids)
        self.finish(ids[0], name, records, moment)

    def after_failure(self, moment, number):
        """A worker is killed; the leader dies as it records the next attempt."""
        name, records = f"again-{number}", 60000
        self.calm()
        job = self.c.submit(spec(name, records, 10000))
        self.c.wait_state(job, ["RUNNING"], 30)
        wait_for("a checkpoint", 30, lambda: self.c.completed(job) > 0)
        before = self.c.workers()
        self.kill_at(moment, lambda: os.kill(before[0], 9))
        self.finish(job, name, records, f"{moment} (restart)")

    def cancelled(self, moment, number):
        name = f"cancel-{number}"
        self.calm()
        job = self.c.submit(spec(name, 10**7, 1000, interval="100ms"))
        self.c.wait_state(job, ["RUNNING"], 30)
        wait_for("a checkpoint", 30, lambda: self.c.completed(job) > 0)
        answers = []

        def cancel():
            def ask():
                try:
                    answers.append(self.c.rest(f"/v1/jobs/{job}?mode=cancel", "PATCH",
                                               timeout=20))
                except OSError as e:
                    answers.append(str(e))
            threading.Thread(target=ask).start()
        self.kill_at(moment, cancel)
        state = wait_for("the job to end", 60,
                         lambda: self.c.state(job) in ENDED and self.c.state(job))
        wait_for("its workers to end", 30, lambda: not self.c.workers())
        self.judge(f"{moment} (cancel)", state == "CANCELED", state)

    def two_in_a_row(self):
        """The successor dies as it has read the documents, before it does anything."""
        name, records = "row", 60000
        self.calm()
        job = self.c.submit(spec(name, records, 10000))
        self.c.wait_state(job, ["RUNNING"], 30)
        first = wait_for("a leader", 30, self.c.leader)
        path = self.c.arm("leader-barrier-read")
        self.c.kill(self.c.pid(first[0]))
        wait_for("the second to die", 30, lambda: not os.path.exists(path), every=0.002)

        def third():
            now = self.c.leader()
            return now and now[1] > first[1] and alive(self.c.pid(now[0]))
        wait_for("a third", 30, third)
        for jm in self.c.names("jobmanagers"):
            if not alive(self.c.pid(jm)):
                self.c.start(jm)
        restarts = self.c.job(job)["weir"]["restarts"]
        self.finish(job, name, records, f"leader-barrier-read, restarts {restarts}")


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--bin", required=True)
    p.add_argument("--verify", required=True)
    p.add_argument("--rounds", type=int, default=1)
    p.add_argument("--rate", type=int, default=10000)
    a = p.parse_args()
    # With storage this slow a checkpoint is nearly always in flight.
    env = {"WEIR_STORAGE_DELAY_MS": "50"}
    with Cluster(a.bin, etcd=1, jobmanagers=3, taskmanagers=2, slots=2, env=env) as c:
        m = Moments(c, a.verify)
        m.checkpoints(a.rate * 25 * a.rounds, a.rate, a.rounds)
        number = 0
        for moment in ("leader-job-recorded", "leader-placement-recorded", "leader-prepared",
                       "leader-run-sent", "leader-terminal-recorded", "leader-end-sent"):
            number += 1
            m.once(moment, number)
        for moment in ("leader-attempt-recorded", "leader-placement-recorded"):
            number += 1
            m.after_failure(moment, number)
        for moment in ("leader-cancel-recorded", "leader-given-up-recorded",
                       "leader-terminal-recorded"):
            number += 1
            m.cancelled(moment, number)
        m.two_in_a_row()
        say(json.dumps({"leaders": c.leader()}))
    say(f"{m.passed} passed, {m.failed} failed, 0 skipped")
    return 1 if m.failed else 0


if __name__ == "__main__":
    sys.exit(main())
