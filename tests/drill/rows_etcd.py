"""The rows of the fault matrix in which the store has a bad day."""
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time
import urllib.request

from cluster import Timeout, alive, wait_for
from proxy import Proxy
from rows import Result, finish, of_drill, row, with_job

STALE_S = 15  # how old the view of a JobManager may be whose watch is silent


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


def etcd_leads(c):
    return wait_for("etcd's leader", 20, lambda: etcd_leader(c))


class Watch(threading.Thread):
    """Asks all JobManagers all the time: who led, and how long did no checkpoint complete?"""

    def __init__(self, c, job):
        super().__init__(daemon=True)
        self.c, self.job, self.going = c, job, True
        self.epochs, self.newest, self.since, self.stall = set(), 0, time.monotonic(), 0.0
        self.start()

    def look(self):
        for p in self.c.info["jobmanagers"]:
            try:
                o = self.c.rest("/v1/cluster", address=p["address"], timeout=1)
            except OSError:
                continue
            if o["role"] == "leader":
                self.epochs.add(o["epoch"])
        now = time.monotonic()
        try:
            done = self.c.completed(self.job)
        except OSError:
            done = 0
        if done > self.newest:
            self.stall = max(self.stall, now - self.since)
            self.newest, self.since = done, now

    def run(self):
        while self.going:
            self.look()
            time.sleep(0.05)

    def end(self):
        """(changes of leader, the longest time without a completed checkpoint)"""
        self.going = False
        self.join()
        return len(self.epochs) - 1, max(self.stall, time.monotonic() - self.since)


def pause(seconds):
    """What the fault lasts: there is no condition to await."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.05)


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
    leads = etcd_leads(c)
    slowest = 0.0
    for name in [n for n in c.names("etcd") if n != leads]:
        c.kill(c.pid(name))
        slowest = max(slowest, slowest_call(c, 3))
        c.start(name)
        pause(1)
    same = c.leader()[1] == epoch
    text, restarts, equal = finish(run, job, 25)
    return Result(f"slowest REST call {slowest * 1000:.0f} ms, "
                  f"{'no' if same else 'a'} change of leader; {text}",
                  same and slowest <= 1 and equal and restarts == 0)


@row(9, "etcd's leader killed every 10 s for 5 min; then frozen for 8 s, twice",
     "no change of JobManager when killed, and no more than 3 s without a checkpoint beyond the "
     "interval; at most one each when thawed (3.4.23 revokes leases then)")
def _(run):
    seconds = run.scaled(300)
    job = with_job(run, seconds + 10)
    c, kills = run.cluster, 0
    watch = Watch(c, job)
    start = time.monotonic()
    while time.monotonic() < start + seconds:
        name = etcd_leads(c)
        c.kill(c.pid(name))
        kills += 1
        pause(2)
        c.start(name)
        wait_for("the next kill", 11, lambda n=kills: time.monotonic() > start + 10 * n)
    changes, stall = watch.end()
    text, restarts, equal = finish(run, job, seconds)
    frozen = run.drill("freeze-etcd-leader", "--times", "2")
    b = of_drill(frozen, False)
    return Result(f"killed {kills} times: {changes} changes of leader, {stall:.1f} s at most "
                  f"without a completed checkpoint; {text}. Frozen: changes of leader "
                  f"{[f['leaderChanges'] for f in frozen['faults']]}; {b.text}",
                  changes == 0 and stall <= 3.5 and equal and restarts == 0 and b.held)


@row(10, "etcd's leader and the JobManager killed together; then frozen together",
     "next leader within 3.5 s when killed, 9 s when silent")
def _(run):
    job = with_job(run, 60)
    c, took = run.cluster, []
    for sig in (signal.SIGKILL, signal.SIGSTOP):
        wait_for("three JobManagers", 30,
                 lambda: len(c.rest("/v1/cluster")["members"]) == 3)
        etcd = etcd_leads(c)
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
        pause(3)
    text, restarts, equal = finish(run, job, 60)
    return Result(f"killed: next leader after {took[0]:.2f} s; frozen: {took[1]:.2f} s; {text}",
                  took[0] <= 3.5 and took[1] <= 9 and equal and restarts == 0)


def refused(c):
    """What a submission is answered now, and after what time; "202" if it was accepted."""
    spec = {"name": "refused", "parallelism": 1, "operators": [
        {"uid": "one", "type": "source.sequence", "from": 0, "to": 0},
        {"uid": "none", "type": "sink.discard", "inputs": ["one"]}]}
    start = time.monotonic()
    try:
        c.rest("/v1/jobs", "POST", spec, timeout=20, address=c.info["jobmanagers"][0]["address"])
        answer = "202"
    except OSError as e:
        answer = str(e)
    return answer, time.monotonic() - start


@row(11, "etcd without quorum, 2 min (of 10)",
     "no change of leader (one at most), REST says why, tasks go on, no checkpoint completes; "
     "checkpoints resume within 3 s of quorum")
def _(run):
    seconds = run.scaled(120)
    job = with_job(run, seconds + 20)
    c = run.cluster
    workers, watch = c.workers(), Watch(c, job)
    gone = c.names("etcd")[:-1]
    for name in gone:
        c.kill(c.pid(name))
    start = time.monotonic()
    wait_for("the leader to be suspended", 15, lambda: any(
        c.rest("/v1/cluster", address=p["address"])["role"] == "suspended"
        for p in c.info["jobmanagers"]))
    said = time.monotonic() - start
    held = c.completed(job)
    answer, answered = refused(c)
    job_says, overview = c.job(job), c.rest("/v1/overview")["weir"]
    pause(start + seconds - time.monotonic())
    grew = c.completed(job) - held
    lives = all(alive(w) for w in workers)
    start = time.monotonic()
    starting = threading.Thread(target=lambda: [c.start(name) for name in gone])
    starting.start()  # there is a quorum when the first of them has found the one that lives
    wait_for("a checkpoint", 30, lambda: c.completed(job) > held, every=0.01)
    took = time.monotonic() - start
    starting.join()
    changes, _ = watch.end()
    text, restarts, equal = finish(run, job, seconds)
    why = job_says["weir"]["waits"].split("http", 1)[0].rstrip(": ")
    good = (bool(why) and overview["suspended"] and "503" in answer and grew == 0 and lives)
    return Result(f"suspended after {said:.1f} s, the job says \"{why}\", a submission gets "
                  f"{'503' if '503' in answer else answer} after {answered:.1f} s; {grew} "
                  f"checkpoints in {seconds} s, tasks {'went on' if lives else 'DIED'}; a "
                  f"checkpoint completed {took:.1f} s after the first member was started again, "
                  f"{changes} changes of leader; {text}",
                  good and took <= 3 and changes <= 1 and equal and restarts == 0)


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


def slow_disks(run, c):
    """Every member of etcd with a disk that stalls while the file of its name exists."""
    program = os.path.join(run.bin, "slow_fsync")

    def edit(record):
        for e in record["etcd"]:
            e["argv"] = [program, os.path.join(c.dir, e["name"] + ".stall"), *e["argv"]]
    c.rewire(edit)


def stall(c, names, seconds):
    files = [os.path.join(c.dir, n + ".stall") for n in names]
    for path in files:
        with open(path, "w", encoding="ascii"):
            pass
    pause(seconds)
    for path in files:
        os.unlink(path)


@row(13, "fsync stalls for 10 s on etcd's leading member, twice; then for 6 s on all members",
     "no wrong decision, at most one change of leader each")
def _(run):
    slow_disks(run, run.cluster)
    job = with_job(run, 60)
    c, changes = run.cluster, []
    for seconds in (10, 10, 6):
        watch = Watch(c, job)
        stall(c, [etcd_leads(c)] if seconds == 10 else c.names("etcd"), seconds)
        before = c.completed(job)
        wait_for("a leader, and a checkpoint", 30,
                 lambda b=before: c.leader() and c.completed(job) > b)
        pause(2)
        changes.append(watch.end()[0])
    text, restarts, equal = finish(run, job, 60)
    return Result(f"changes of leader {changes}; {text}",
                  max(changes) <= 1 and equal and restarts == 0)


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


# ---- watches ----

def behind_proxies(c):
    """Each JobManager sees the one member of etcd through a proxy of its own: by their names."""
    proxies = {p["id"]: Proxy(c.info["etcd"][0]["address"]) for p in c.info["jobmanagers"]}

    def edit(record):
        for e in record["jobmanagers"]:
            argv = e["argv"]
            argv[argv.index("--etcd") + 1] = "http://" + proxies[e["name"]].address
            argv.append("--etcd-fixed")
    c.rewire(edit)
    return proxies


def members(c, name):
    address = [p["address"] for p in c.info["jobmanagers"] if p["id"] == name][0]
    return [m["id"] for m in c.rest("/v1/cluster", address=address)["members"]]


def stale(c, job):
    """A standby leaves, and comes again: how long until all others know? Then the leader leaves:
    how long until another leads, and all know?"""
    leader = wait_for("a leader", 20, c.leader)[0]
    leaves, stays = [n for n in c.names("jobmanagers") if n != leader]
    c.kill(c.pid(leaves), signal.SIGTERM)
    start = time.monotonic()
    wait_for("others to see that it left", 40, lambda: all(
        leaves not in members(c, n) for n in (leader, stays)), every=0.02)
    left = time.monotonic() - start
    wait_for("its end", 20, lambda: not alive(c.pid(leaves)))
    c.start(leaves)
    start = time.monotonic()
    wait_for("others to see that it came", 40, lambda: all(
        leaves in members(c, n) for n in (leader, stays)), every=0.02)
    came = time.monotonic() - start
    pid, epoch = c.pid(leader), c.leader()[1]
    c.kill(pid, signal.SIGTERM)
    start = time.monotonic()
    wait_for("the next leader", 40, lambda: (c.leader() or ("", 0))[1] > epoch, every=0.01)
    led = time.monotonic() - start
    wait_for("all to know", 40, lambda: all(
        members(c, n)[0] == c.leader()[0] for n in (leaves, stays)), every=0.02)
    knew = time.monotonic() - start
    wait_for("its end", 20, lambda: not alive(pid))
    c.start(leader)
    wait_for("three JobManagers", 40,
             lambda: all(len(members(c, n)) == 3 for n in c.names("jobmanagers")))
    before = c.completed(job)
    wait_for("a checkpoint", 20, lambda: c.completed(job) > before)
    return left, came, led, knew


@row(15, "Compaction under the watches, cancelled watches, silent watches",
     "the view is at most 15 s old; a leader that leaves is replaced all the same")
def _(run):
    run.reopen(etcd=1)
    c = run.cluster
    proxies = behind_proxies(c)
    job = with_job(run, 110)
    texts, worst_s, whole = [], 0.0, True

    def compacted():
        """Watches end, and begin again at a revision that is gone."""
        p = c.info["etcd"][0]
        revision = etcd_status(c, p)["header"]["revision"]
        c.rest("/v3/kv/compaction", "POST", {"revision": revision, "physical": True},
               address=p["address"])
        return sum(p.cut() for p in proxies.values())

    def cancelled():
        return sum(p.cancel() for p in proxies.values())

    def silent():
        for p in proxies.values():
            p.mute()
        return sum(len(p.watches) for p in proxies.values())

    for name, fault in (("compacted", compacted), ("cancelled", cancelled), ("silent", silent)):
        wait_for("everybody's watch", 20, lambda: all(p.watches for p in proxies.values()))
        struck = fault()
        took = stale(c, job)
        worst_s = max(worst_s, *took)
        whole = whole and struck == 3
        texts.append(f"{struck} {name}: view at most {max(took[0], took[1], took[3]):.1f} s old, "
                     f"next leader after {took[2]:.2f} s")
        for p in proxies.values():
            p.heal()
    text, restarts, equal = finish(run, job, 110)
    for p in proxies.values():
        p.__exit__()
    return Result(f"{'; '.join(texts)}; {text}",
                  whole and worst_s <= STALE_S + 1 and equal and restarts == 0)


# ---- passwords and certificates ----

def certificates(folder):
    """A certificate authority and one certificate for 127.0.0.1, for both ends."""
    def openssl(*args):
        subprocess.run(["openssl", *args], cwd=folder, check=True, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    openssl("req", "-x509", *curve, "-days", "2", "-subj", "/O=test-ca", "-keyout", "ca.key",
            "-out", "ca.pem")
    openssl("req", *curve, "-subj", "/O=weir", "-keyout", "node.key", "-out", "node.csr")
    with open(os.path.join(folder, "ext"), "w", encoding="ascii") as f:
        f.write("subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n")
    openssl("x509", "-req", "-in", "node.csr", "-CA", "ca.pem", "-CAkey", "ca.key",
            "-CAcreateserial", "-days", "2", "-extfile", "ext", "-out", "node.pem")


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as s:
        return s.getsockname()[1]


def with_certificates(c):
    """etcd's clients come with a certificate, at addresses of their own; returns those."""
    certificates(c.dir)
    ca, cert, key = (os.path.join(c.dir, n) for n in ("ca.pem", "node.pem", "node.key"))
    urls = [f"https://127.0.0.1:{free_port()}" for _ in c.info["etcd"]]

    def edit(record):
        for e, url in zip(record["etcd"], urls):
            e["argv"] = [a + "," + url if a.startswith("--listen-client-urls=") else
                         "--advertise-client-urls=" + url
                         if a.startswith("--advertise-client-urls=") else a for a in e["argv"]]
            e["argv"] += [f"--cert-file={cert}", f"--key-file={key}", f"--trusted-ca-file={ca}",
                          "--client-cert-auth"]
        for e in record["jobmanagers"]:
            e["argv"][e["argv"].index("--etcd") + 1] = ",".join(urls)
    c.env.update(WEIR_ETCD_CA_FILE=ca, WEIR_ETCD_CERT_FILE=cert, WEIR_ETCD_KEY_FILE=key)
    c.rewire(edit)
    return urls, ca


def strangers_refused(url, ca):
    """Without a certificate of one's own there is no answer."""
    try:
        urllib.request.urlopen(url + "/version", timeout=3,
                               context=ssl.create_default_context(cafile=ca))
        return False
    except OSError:
        return True


def with_passwords(c, ttl_s):
    def edit(record):
        for e in record["etcd"]:
            e["argv"].append(f"--auth-token-ttl={ttl_s}")
    c.env.update(WEIR_ETCD_USER="root", WEIR_ETCD_PASSWORD="secret")
    c.rewire(edit)

    def post(path, **body):
        c.rest(path, "POST", body, address=c.info["etcd"][0]["address"])
    post("/v3/auth/user/add", name="root", password="secret")
    post("/v3/auth/role/add", name="root")
    post("/v3/auth/user/grant", user="root", role="root")
    post("/v3/auth/enable")


def change_password(c):
    """To what it was: every token of the user is void."""
    address = c.info["etcd"][0]["address"]
    token = c.rest("/v3/auth/authenticate", "POST", {"name": "root", "password": "secret"},
                   address=address)["token"]
    request = urllib.request.Request(
        f"http://{address}/v3/auth/user/changepw", method="POST",
        data=json.dumps({"name": "root", "password": "secret"}).encode(),
        headers={"Authorization": token})
    with urllib.request.urlopen(request, timeout=5):
        pass


def roll_members(c, job):
    """Each member of etcd is killed and comes again: its clients have to go elsewhere."""
    for name in c.names("etcd"):
        c.kill(c.pid(name))
        pause(2)
        c.start(name)
        before = c.completed(job)
        wait_for("a checkpoint", 20, lambda b=before: c.completed(job) > b)


def replaced(c):
    """The leader is killed; how long until the next one leads."""
    name, epoch = wait_for("a leader", 20, c.leader)
    c.kill(c.pid(name))
    start = time.monotonic()
    wait_for("the next leader", 20, lambda: (c.leader() or ("", 0))[1] > epoch, every=0.005)
    took = time.monotonic() - start
    c.start(name)
    return took


def locked(run, name, seconds, act):
    """One act under a job; a text, and whether it went well."""
    job = with_job(run, seconds)
    c = run.cluster
    watch = Watch(c, job)
    act(c, job)
    changes, stall_s = watch.end()
    took = replaced(c)
    text, restarts, equal = finish(run, job, seconds)
    return (f"{name}: {changes} changes of leader, {stall_s:.1f} s at most without a completed "
            f"checkpoint; killed, the next led after {took * 1000:.0f} ms; {text}",
            changes == 0 and took <= 3 and equal and restarts == 0)


@row(16, "Tokens expire (2 s), passwords change, members come and go; the same with mutual TLS",
     "no change of leader")
def _(run):
    def passwords(c, job):
        for _ in range(3):
            pause(3)
            change_password(c)
        roll_members(c, job)

    with_passwords(run.cluster, 2)
    a, good_a = locked(run, "passwords", 45, passwords)
    run.reopen()
    urls, ca = with_certificates(run.cluster)
    stranger = strangers_refused(urls[0], ca)
    b, good_b = locked(run, "mutual TLS", 35, roll_members)
    return Result(f"{a}. {b}, {'a stranger is refused' if stranger else 'STRANGERS GET IN'}",
                  good_a and good_b and stranger)
