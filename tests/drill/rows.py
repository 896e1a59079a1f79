"""The rows of the fault matrix: what is done, what is promised, how it is measured.

A row is a function of the run (matrix.Run); it returns a Result. Rows that a drill of `weir drill`
covers read the drill's JSON; the others have a cluster of their own.
"""
import collections
import os
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
     "next leader within 2.5 s; nothing it does afterwards counts")
def _(run):
    return of_drill(run.drill("freeze-leader", "--times", "2", "--hold", "30s"), within=2500)


@row(4, "JobManager cut off from everybody; then the next one too, while the hold-down lasts",
     "next leader within 2.5 s with witnesses, 6 s while held down: then its lease decides")
def _(run):
    d = run.drill("partition-leader", "--times", "2")
    first, second = d["faults"]
    r = of_drill(d, within=6000)
    return Result(f"the first after {ms(first['nextLeaderMs'])}, the second after "
                  f"{ms(second['nextLeaderMs'])}; {r.text}",
                  r.held and (first["nextLeaderMs"] or 9999) <= 2500)


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
    """Moments that others than the leader pass, as the sources name them."""
    found = subprocess.run(
        ["grep", "-rhoE", r"(kill_point|killpoint_pass|moment)\([^;\"]*\"[a-z.-]+\"",
         "--include=*.c", "taskmanager"],
        cwd=run.root, stdout=subprocess.PIPE, text=True, check=False).stdout
    return sorted({line.rsplit('"', 2)[1] for line in found.splitlines()})


def strike_at(c, job, point):
    """The leader dies as somebody passes this moment; False: nobody did."""
    wait_for("a leader", 30, c.leader)
    before = c.completed(job)
    wait_for("a checkpoint", 60, lambda: c.completed(job) > before)
    name = c.leader()[0]
    pid = c.pid(name)
    young = time.monotonic() + 2.2  # or the job looks as if it killed its leaders
    wait_for("the leader to be old enough", 5, lambda: time.monotonic() > young)
    c.arm(point, pid)
    try:
        wait_for(point, 3, lambda: not alive(pid), every=0.005)
    except Timeout:
        if c.disarm(point):
            return False
        wait_for(point, 3, lambda: not alive(pid), every=0.005)
    c.start(name)
    return True


@row(21, "The leader killed at each named moment of its own work, and of workers and sinks",
     "all recover, exactly once")
def _(run):
    own = subprocess.run([os.path.join(run.here, "leader_moments.py"), "--bin", run.bin,
                          "--verify", run.a.verify], stdout=subprocess.PIPE, text=True,
                         check=False)
    judged = [line.split()[:2] for line in own.stdout.splitlines()
              if line.startswith("  ok") or line.startswith("  FAIL")]
    failed = [name for verdict, name in judged if verdict == "FAIL"]
    names = points(run)
    job = with_job(run, 10 + 5 * len(names))
    died = [p for p in names if strike_at(run.cluster, job, p)]
    text, restarts, equal = finish(run, job, 10 + 5 * len(names))
    return Result(f"its own work: {len(judged)} judged, {len(failed)} failed"
                  + (f" ({', '.join(failed)})" if failed else "")
                  + f"; of others: {len(died)} of {len(names)} passed and struck (the others come "
                  f"only when a task starts); {text}",
                  own.returncode == 0 and equal and restarts == 0 and len(died) >= 8)


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
