"""The rows of the fault matrix: what is done, what is promised, how it is measured.

A row is a function of the run (matrix.Run); it returns a Result. Rows that a drill of `weir drill`
covers read the drill's JSON; the others have a cluster of their own.
"""
import collections
import json
import os
import shutil
import signal
import subprocess
import time

from cluster import Timeout, alive, wait_for

Result = collections.namedtuple("Result", "text held")
ROWS = {}
NETWORK = set()


def row(n, fault, promise, network=False):
    def register(f):
        ROWS[n] = (fault, promise, f)
        if network:
            NETWORK.add(n)
        return f
    return register


def ms(value):
    if value is None:
        return "-"
    return f"{value} ms" if value < 1000 else f"{value / 1000:.1f} s"


def worst(drill, member):
    values = [f[member] for f in drill["faults"] if f[member] is not None]
    return max(values) if values else None


def of_drill(d, leader=True, within=None):
    """What every drill's line says, and whether all was held: the drill's own limits, which a busy
    machine keeps, and the row's (ms)."""
    text = f"{len(d['faults'])} times: "
    if leader:
        text += f"next leader after {ms(worst(d, 'nextLeaderMs'))} at most; "
    text += (f"longest gap {ms(worst(d, 'longestGapMs'))}, "
             f"{sum(f['tasksRestarted'] for f in d['faults'])} tasks restarted, ")
    if d["counted"]:
        text += f"{d['recordsLost']} of {d['records']} records lost, {d['recordsDoubled']} doubled"
    fast = within is None or (worst(d, "nextLeaderMs") or 0) <= within
    return Result(text, d["broken"] == 0 and d["counted"] and fast)


# ---- JobManagers ----

@row(1, "JobManager asked to stop (SIGTERM)", "next leader within 50 ms; processing never stops")
def _(run):
    return of_drill(run.drill("resign-leader", "--times", "10"), within=50)


@row(2, "JobManager killed (SIGKILL)", "next leader within 100 ms; gap in the output below 1 s")
def _(run):
    return of_drill(run.drill("kill-leader", "--times", "20"), within=100)


@row(3, "JobManager frozen for 30 s (SIGSTOP), then thawed",
     "next leader within 2.5 s with witnesses, 6 s without; nothing it does afterwards counts")
def _(run):
    return of_drill(run.drill("freeze-leader", "--times", "2", "--hold", "30s"), within=6000)


@row(4, "JobManager cut off from everybody", "as row 3")
def _(run):
    return of_drill(run.drill("partition-leader", "--times", "2"), within=6000)


def leader_index(c):
    name = wait_for("a leader", 20, c.leader)[0]
    return int(name.rsplit("-", 1)[1])


def with_job(run, seconds):
    c = run.cluster
    job = c.submit(run.spec(seconds))
    c.wait_state(job, ["RUNNING"], 30)
    wait_for("a checkpoint", 30, lambda: c.completed(job) > 0)
    return job


def finish(run, job, seconds):
    """Let the job end; returns a text on its output, and whether it is right."""
    c = run.cluster
    wait_for("the job to finish", seconds + 120,
             lambda: c.state(job) in ("FINISHED", "FAILED") and c.state(job), every=0.2)
    restarts = c.job(job)["weir"]["restarts"]
    equal = run.verify()
    return f"{restarts} restarts, output {'equal' if equal else 'DIFFERENT'}", restarts, equal


def survey(run, seconds, without):
    """Epochs of the leaders that appear within that time, asked of everybody but `without`."""
    c, seen = run.cluster, {}
    start = time.monotonic()
    while time.monotonic() < start + seconds:
        for p in c.info["jobmanagers"]:
            if p["id"] == without:
                continue
            try:
                o = c.rest("/v1/cluster", address=p["address"], timeout=1)
            except OSError:
                continue
            if o["role"] == "leader":
                seen.setdefault(o["epoch"], time.monotonic() - start)
        time.sleep(0.02)
    return seen


@row(5, "JobManager cut off from etcd alone",
     "it steps down within 5 s, a standby leads within 6 s", network=True)
def _(run):
    job = with_job(run, 40)
    c = run.cluster
    i = leader_index(c)
    epoch = c.leader()[1]
    run.net.cut(i, "etcd")
    seen = survey(run, 12, f"jm-{i}")
    old = c.rest("/v1/cluster", address=c.info["jobmanagers"][i - 1]["address"])["role"]
    run.net.heal()
    later = [at for e, at in seen.items() if e > epoch]
    text, restarts, equal = finish(run, job, 40)
    took = min(later) if later else None
    return Result(f"next leader after {took:.1f} s, the old one says {old}; {text}"
                  if later else f"no next leader within 12 s, the old one says {old}; {text}",
                  bool(later) and took <= 6.5 and old != "leader" and equal and restarts == 0)


@row(6, "JobManager cut off from the standbys alone, 3 min (of 10)", "no change of leader",
     network=True)
def _(run):
    seconds = run.scaled(180)
    job = with_job(run, seconds + 15)
    c = run.cluster
    i = leader_index(c)
    epoch = c.leader()[1]
    for other in range(1, 4):
        if other != i:
            run.net.cut(i, other)
            run.net.cut(other, i)
    seen = survey(run, seconds, None)
    run.net.heal()
    changes = [e for e in seen if e > epoch]
    text, restarts, equal = finish(run, job, seconds)
    return Result(f"{len(changes)} changes of leader in {seconds} s; {text}",
                  not changes and equal and restarts == 0)


@row(7, "One direction cut: from the leader to all, then from all to the leader",
     "no two leaders decide, at most one change of leader each", network=True)
def _(run):
    job = with_job(run, 60)
    c, texts, held = run.cluster, [], True
    for outward in (True, False):
        i = leader_index(c)
        epoch = c.leader()[1]
        others = [n for n in range(0, 4) if n != i]
        for other in others + ["etcd"] if outward else others:
            run.net.cut(*((i, other) if outward else (other, i)))
        seen = survey(run, 12, f"jm-{i}")
        run.net.heal()
        wait_for("one leader", 30, c.leader)
        time.sleep(2)
        changes = sorted(at for e, at in seen.items() if e > epoch)
        held = held and len(changes) <= 1
        texts.append(f"{'from' if outward else 'to'} it: {len(changes)} changes"
                     + (f", after {changes[0]:.1f} s" if changes else ""))
    text, restarts, equal = finish(run, job, 60)
    return Result(f"{'; '.join(texts)}; {text}", held and equal and restarts == 0)


# ---- etcd ----

def etcd_status(c, p):
    return c.rest("/v3/maintenance/status", "POST", {}, address=p["address"])


def etcd_leader(c):
    for p in c.info["etcd"]:
        try:
            o = etcd_status(c, p)
        except OSError:
            continue
        if o["leader"] == o["header"]["member_id"]:
            return p["name"]
    return None


def slowest_call(c, seconds):
    worst_s, end = 0.0, time.monotonic() + seconds
    while time.monotonic() < end:
        for p in c.info["jobmanagers"]:
            start = time.monotonic()
            try:
                c.rest("/v1/jobs/overview", address=p["address"], timeout=10)
            except OSError:
                return float("inf")
            worst_s = max(worst_s, time.monotonic() - start)
        time.sleep(0.01)
    return worst_s


@row(8, "A follower of etcd killed", "no change of leader, no REST call above 1 s")
def _(run):
    job = with_job(run, 25)
    c = run.cluster
    epoch = c.leader()[1]
    leads = wait_for("etcd's leader", 20, lambda: etcd_leader(c))
    slowest = 0.0
    for name in [n for n in c.names("etcd") if n != leads]:
        c.kill(c.pid(name))
        slowest = max(slowest, slowest_call(c, 3))
        c.start(name)
        time.sleep(1)
    same = c.leader()[1] == epoch
    text, restarts, equal = finish(run, job, 25)
    return Result(f"slowest REST call {slowest * 1000:.0f} ms, "
                  f"{'no' if same else 'a'} change of leader; {text}",
                  same and slowest <= 1 and equal and restarts == 0)


@row(9, "etcd's leader killed, and frozen for 8 s",
     "no change of JobManager when killed; at most one when thawed (3.4.23 revokes leases then)")
def _(run):
    killed = run.drill("kill-etcd-leader", "--times", "5")
    frozen = run.drill("freeze-etcd-leader", "--times", "2")
    a, b = of_drill(killed, False), of_drill(frozen, False)
    changes = sum(f["leaderChanges"] for f in killed["faults"])
    thawed = [f["leaderChanges"] for f in frozen["faults"]]
    return Result(f"killed {changes} changes of leader, frozen {thawed}; killed {a.text}; "
                  f"frozen {b.text}", a.held and b.held and changes == 0)


@row(10, "etcd's leader and the JobManager killed together; then frozen together",
     "next leader within 3.5 s when killed, 9 s when silent")
def _(run):
    job = with_job(run, 60)
    c, took = run.cluster, []
    for sig in (signal.SIGKILL, signal.SIGSTOP):
        wait_for("three JobManagers", 30,
                 lambda: len(c.rest("/v1/cluster")["members"]) == 3)
        etcd = wait_for("etcd's leader", 20, lambda: etcd_leader(c))
        name, epoch = wait_for("a leader", 20, c.leader)
        pids = [c.pid(etcd), c.pid(name)]
        start = time.monotonic()
        for pid in pids:
            os.kill(pid, sig)
        try:
            others = [p["address"] for p in c.info["jobmanagers"] if p["id"] != name]
            took.append(wait_for("the next leader", 20, lambda: any(
                c.rest("/v1/cluster", address=a, timeout=1)["role"] == "leader" and
                c.rest("/v1/cluster", address=a, timeout=1)["epoch"] > epoch for a in others)
                and time.monotonic() - start, every=0.01))
        finally:
            if sig == signal.SIGSTOP:
                for pid in pids:
                    os.kill(pid, signal.SIGCONT)
        if sig == signal.SIGKILL:
            c.start(etcd)
            c.start(name)
        time.sleep(3)
    text, restarts, equal = finish(run, job, 60)
    return Result(f"killed: next leader after {took[0]:.2f} s; frozen: {took[1]:.2f} s; {text}",
                  took[0] <= 3.5 and took[1] <= 9 and equal and restarts == 0)


@row(11, "etcd without quorum, 2 min (of 10)",
     "no change of leader (one at most), tasks go on, checkpoints resume within 3 s of quorum")
def _(run):
    d = run.drill("stop-etcd-quorum", "--hold", f"{run.scaled(120)}s")
    r = of_drill(d, False)
    f = d["faults"][0]
    return Result(f"as before {ms(f['recoveredMs'])} after the members were started again, "
                  f"{f['leaderChanges']} changes of leader; {r.text}",
                  r.held and f["recoveredMs"] is not None and f["recoveredMs"] <= 4000)


def restore_older(c, name):
    """Put the member's data back to a snapshot of itself that is some checkpoints old."""
    p = [p for p in c.info["etcd"] if p["name"] == name][0]
    backup = os.path.join(c.dir, "backup.db")
    env = dict(os.environ, ETCDCTL_API="3")
    if not os.path.exists(backup):
        subprocess.run(["etcdctl", "--endpoints", "http://" + p["address"], "snapshot", "save",
                        backup], env=env, check=True, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)
        return
    c.kill(c.pid(name))
    with open(os.path.join(c.home, "local.json"), encoding="utf-8") as f:
        argv = [e for e in json.load(f)["etcd"] if e["name"] == name][0]["argv"]
    given = dict(a[2:].split("=", 1) for a in argv if a.startswith("--") and "=" in a)
    data = given["data-dir"]
    shutil.rmtree(data)
    subprocess.run(["etcdctl", "snapshot", "restore", backup, "--name", given["name"],
                    "--data-dir", data, "--initial-cluster", given["initial-cluster"],
                    "--initial-cluster-token", given["initial-cluster-token"],
                    "--initial-advertise-peer-urls", given["initial-advertise-peer-urls"]],
                   env=env, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    c.start(name)


@row(12, "etcd restored from an older backup",
     "noticed within 5 s: nothing is decided, REST says so, tasks go on")
def _(run):
    run.reopen(etcd=1)
    job = with_job(run, 120)
    c = run.cluster
    restore_older(c, "etcd-1")
    wait_for("some checkpoints", 30, lambda: c.completed(job) > 8)
    before = c.completed(job)
    restore_older(c, "etcd-1")
    start = time.monotonic()
    try:
        wait_for("REST to say so", 15, lambda: any(
            c.rest("/v1/cluster", address=p["address"])["etcd"]["regressed"]
            for p in c.info["jobmanagers"]), every=0.02)
        said = time.monotonic() - start
    except Timeout:
        return Result("not said within 15 s", False)
    time.sleep(3)
    after = c.completed(job)
    running = len(c.workers())
    return Result(f"said {said:.1f} s after the member was up again; {after - before} checkpoints "
                  f"completed since the restore, {running} workers go on",
                  said <= 5 and after <= before and running > 0)


@row(13, "etcd's fsync stalls for 10 s (here: the leading member is stopped for 10 s)",
     "no wrong decision, at most one change of leader")
def _(run):
    d = run.drill("freeze-etcd-leader", "--times", "2", "--hold", "10s")
    r = of_drill(d, False)
    return Result(f"changes of leader {[f['leaderChanges'] for f in d['faults']]}; {r.text}",
                  r.held)


@row(14, "NOSPACE alarm", "the leader stays, a killed one is replaced, said in REST within 10 s")
def _(run):
    run.reopen(etcd=1)
    job = with_job(run, 30)
    c = run.cluster
    p = c.info["etcd"][0]
    name, epoch = c.leader()
    member = etcd_status(c, p)["header"]["member_id"]
    alarm = {"action": "ACTIVATE", "memberID": member, "alarm": "NOSPACE"}
    start = time.monotonic()
    c.rest("/v3/maintenance/alarm", "POST", alarm, address=p["address"])
    try:
        wait_for("REST to say so", 15, lambda: c.rest("/v1/cluster")["etcd"]["nospace"],
                 every=0.02)
        said = time.monotonic() - start
    except (Timeout, OSError):
        said = None
    stays = c.leader() == (name, epoch)
    c.kill(c.pid(name))
    start = time.monotonic()
    try:
        wait_for("the next leader", 15, lambda: (c.leader() or ("", 0))[1] > epoch, every=0.01)
        took = time.monotonic() - start
    except Timeout:
        took = None
    c.rest("/v3/maintenance/alarm", "POST", dict(alarm, action="DEACTIVATE"), address=p["address"])
    text, restarts, equal = finish(run, job, 30)
    return Result(f"said after {said and round(said, 1)} s, the leader "
                  f"{'stayed' if stays else 'CHANGED'}; killed under the alarm: next leader after "
                  f"{took and round(took, 2)} s; {text}",
                  said is not None and said <= 10 and stays and took is not None and equal
                  and restarts == 0)


@row(15, "Compaction under a watch, a cancelled watch, a silent watch",
     "the view is at most 15 s old")
def _(run):
    return run.ctest("etcd_", "the suite against etcd itself")


@row(16, "Token expiry, another member, mutual TLS", "no change of leader")
def _(run):
    return run.ctest("etcd_secure", "the suite against an etcd with users and TLS")


@row(17, "The clock steps by 1 h, or runs 10 % off", "no effect: decisions use CLOCK_BOOTTIME only")
def _(_run):
    return Result("cannot be run on one machine: its clock is everybody's. In the simulator wall "
                  "clocks differ between nodes", None)


# ---- TaskManagers, storage ----

@row(18, "TaskManager killed", "its region runs again within 2 s and its restore")
def _(run):
    return of_drill(run.drill("kill-taskmanager", "--times", "10"), False)


@row(19, "TaskManager frozen until it is given up, then back (a zombie)",
     "nothing lost, nothing doubled")
def _(run):
    return of_drill(run.drill("freeze-taskmanager", "--times", "2", "--hold", "12s"), False)


@row(20, "S3 answers 503 for 30 s; S3 is 2 s late for 30 s",
     "checkpoints are retried or fail, the job never")
def _(run):
    a = of_drill(run.drill("storage-errors", "--hold", "30s"), False)
    b = of_drill(run.drill("storage-slow", "--hold", "30s"), False)
    return Result(f"503: {a.text}; slow: {b.text}. Truncated and lost answers: unit tests of "
                  "state/", a.held and b.held)


def points(run):
    """Every name that the sources pass to a kill point."""
    found = subprocess.run(
        ["grep", "-rhoE", r"(kill_point|killpoint_pass)\([^;\"]*\"[a-z.-]+\"|moment\([^;\"]*"
         r"\"[a-z.-]+\"", "--include=*.c", "jobmanager", "ha", "taskmanager"],
        cwd=run.root, stdout=subprocess.PIPE, text=True, check=False).stdout
    return sorted({line.rsplit('"', 2)[1] for line in found.splitlines()})


@row(21, "The leader killed at each named moment that a run passes",
     "all recover, exactly once")
def _(run):
    names = points(run)
    job = with_job(run, 15 + 9 * len(names))
    c, died, missed = run.cluster, [], []
    for point in names:
        wait_for("a leader", 30, c.leader)
        before = c.completed(job)
        wait_for("a checkpoint", 60, lambda: c.completed(job) > before)
        name = c.leader()[0]
        pid = c.pid(name)
        young = time.monotonic() + 2.2  # or the job looks as if it killed its leaders
        wait_for("the leader to be old enough", 5, lambda t=young: time.monotonic() > t)
        c.arm(point, pid)
        try:
            wait_for(point, 3, lambda: not alive(pid), every=0.005)
            died.append(point)
            c.start(name)
        except Timeout:
            (missed if c.disarm(point) else died).append(point)
    text, restarts, equal = finish(run, job, 15 + 9 * len(names))
    return Result(f"{len(died)} of {len(names)} moments passed and struck"
                  + (f" (not passed in this run: {', '.join(missed)})" if missed else "")
                  + f"; {text}", equal and restarts == 0 and len(died) > 0)


@row(22, "Rolling restart of all JobManagers and all members of etcd", "no task restarted")
def _(run):
    return of_drill(run.drill("rolling-restart", "--times", "2"), False)


@row(23, "A random mix, 12 min (of 24 h)", "nothing lost, doubled or stuck for more than 30 s")
def _(run):
    d = run.result or run.drill("mix", "--for", f"{run.scaled(720)}s", "--seed", str(run.seed))
    r = of_drill(d)
    names = {f["fault"] for f in d["faults"]}
    return Result(f"seed {d['seed']}, {len(names)} kinds of fault; {r.text}", r.held)


@row(24, "500 changes of leader in a row (of 1000)",
     "descriptors, memory, keys, leases and objects stay level")
def _(run):
    p = subprocess.run([os.path.join(run.here, "flat"), "--bin", run.bin, "--changes",
                        str(run.scaled(500))], stdout=subprocess.PIPE, text=True, check=False)
    lines = p.stdout.strip().splitlines()
    return Result("; ".join(lines[-8:-1]) if lines else "nothing was said", p.returncode == 0)
