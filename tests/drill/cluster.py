"""A cluster of real processes for drills: `weir local` underneath, conditions instead of sleeps.

Everything is started here, on loopback, on free ports, in a temporary directory; only processes
that were started here are ever signalled, by pid. A wait that runs out of time raises Timeout with
what was last seen.
"""
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request


class Timeout(Exception):
    pass


def say(text):
    print(text, flush=True)


def wait_for(what, seconds, condition, every=0.05):
    """Await a condition; returns its first true value."""
    end = time.monotonic() + seconds
    seen = None
    while True:
        try:
            seen = condition()
            if seen:
                return seen
        except (OSError, ValueError, KeyError, IndexError) as e:
            seen = repr(e)
        if time.monotonic() > end:
            raise Timeout(f"waited {seconds} s for {what}; last seen: {str(seen)[:300]}")
        time.sleep(every)


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as f:
            return f.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


class Cluster:
    def __init__(self, bin_dir, etcd=1, jobmanagers=3, taskmanagers=2, slots=4, storage=None,
                 env=None, cwd=None, directory=None, net=None):
        self.bin = os.path.abspath(bin_dir)
        self.dir = directory or tempfile.mkdtemp(prefix="weir-drill-")
        self.root = cwd or os.path.join(self.dir, "files")
        os.makedirs(self.root, exist_ok=True)
        self.kill_dir = os.path.join(self.dir, "kill")
        os.makedirs(self.kill_dir, exist_ok=True)
        self.env = dict(os.environ, WEIR_KILL_DIR=self.kill_dir, **(env or {}))
        self.home = os.path.join(self.dir, "cluster")
        args = ["local", "--dir", self.home, "--etcd", str(etcd), "--jobmanagers",
                str(jobmanagers), "--taskmanagers", str(taskmanagers), "--slots", str(slots),
                "--detach", "--json"]
        if storage:
            args += ["--storage", storage]
        if net:
            args += ["--net", net]
        self.args = args
        self.info = json.loads(self.weir(*args, timeout=90))

    def rewire(self, edit):
        """Stop all, let edit(record) change the command lines on record, start it all again."""
        self.weir("local", "stop", "--dir", self.home)
        path = os.path.join(self.home, "local.json")
        with open(path, encoding="utf-8") as f:
            record = json.load(f)
        edit(record)
        with open(path + ".new", "w", encoding="utf-8") as f:
            json.dump(record, f)
        os.rename(path + ".new", path)
        self.info = json.loads(self.weir(*self.args, timeout=90))

    def weir(self, *args, timeout=60, check=True):
        p = subprocess.run([os.path.join(self.bin, "weir"), *args], env=self.env, cwd=self.root,
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout,
                           text=True, check=False)
        if check and p.returncode != 0:
            raise RuntimeError(f"weir {' '.join(args)}: exit {p.returncode}\n{p.stdout}{p.stderr}")
        return p.stdout

    def refresh(self):
        self.info = json.loads(self.weir("local", "status", "--dir", self.home, "--json"))
        return self.info

    def pid(self, name):
        for kind in ("etcd", "jobmanagers", "taskmanagers"):
            for p in self.info[kind]:
                if p.get("id", p.get("name")) == name:
                    return p["pid"]
        raise KeyError(name)

    def names(self, kind):
        return [p.get("id", p.get("name")) for p in self.info[kind]]

    # ---- REST: any JobManager answers ----

    def rest(self, path, method="GET", body=None, timeout=3, address=None):
        addresses = [address] if address else [p["address"] for p in self.info["jobmanagers"]]
        last = None
        for a in addresses:
            request = urllib.request.Request(
                f"http://{a}{path}", method=method,
                data=None if body is None else json.dumps(body).encode(),
                headers={"Content-Type": "application/json"})
            try:
                with urllib.request.urlopen(request, timeout=timeout) as r:
                    return json.loads(r.read() or b"{}")
            except urllib.error.HTTPError as e:
                text = e.read().decode(errors="replace")
                last = OSError(f"{method} {path}: {e.code} {text[:300]}")
                if e.code not in (503, 502, 504):
                    raise last from None
            except (OSError, ValueError) as e:
                last = OSError(f"{method} http://{a}{path}: {e}")
        raise last

    def submit(self, spec, timeout=30):
        def once():
            return self.rest("/v1/jobs", "POST", spec)["jobid"]
        return wait_for("the job to be accepted", timeout, once)

    def job(self, job):
        return self.rest(f"/v1/jobs/{job}")

    def state(self, job):
        return self.job(job)["state"]

    def completed(self, job):
        """Id of the newest completed checkpoint, 0 if there is none."""
        latest = self.rest(f"/v1/jobs/{job}/checkpoints")["latest"]["completed"]
        return latest["id"] if latest else 0

    def leader(self):
        """(id, epoch) of who leads, as told by whoever answers; None while nobody does."""
        cluster = self.rest("/v1/cluster")
        leader = cluster["leader"]
        return (leader["id"], cluster["epoch"]) if leader else None

    def wait_state(self, job, states, seconds):
        def reached():
            state = self.state(job)
            if state in ("FAILED", "CANCELED", "FINISHED") and state not in states:
                raise RuntimeError(f"job is {state}: "
                                   + json.dumps(self.rest(f'/v1/jobs/{job}/exceptions'))[:2000])
            return state if state in states else None
        return wait_for(f"job state {'/'.join(states)}", seconds, reached)

    # ---- processes ----

    def kill(self, pid, sig=signal.SIGKILL):
        os.kill(pid, sig)
        if sig == signal.SIGKILL:
            wait_for(f"pid {pid} to be gone", 10, lambda: not alive(pid), every=0.002)

    @staticmethod
    def thaw(pid):
        if alive(pid):
            os.kill(pid, signal.SIGCONT)

    def start(self, name):
        def started():
            try:
                self.weir("local", "start", name, "--dir", self.home)
                return True
            except RuntimeError as e:
                # While it was dead its port was free: somebody's connection may have it for now.
                if "bind" not in str(e):
                    raise
                return False
        wait_for(f"{name} to get its port back", 30, started, every=0.5)
        self.refresh()

    def add_taskmanager(self):
        before = set(self.names("taskmanagers"))
        self.weir("local", "add-taskmanager", "--dir", self.home)
        self.refresh()
        return (set(self.names("taskmanagers")) - before).pop()

    def workers(self):
        """Pids of worker processes below our TaskManagers."""
        found = []
        for p in self.info["taskmanagers"]:
            try:
                with open(f"/proc/{p['pid']}/task/{p['pid']}/children", encoding="ascii") as f:
                    found += [int(c) for c in f.read().split()]
            except OSError:
                pass
        return found

    def arm(self, point, pid=None):
        """The next process that passes `point` dies there, or has `pid` killed at that moment."""
        path = os.path.join(self.kill_dir, point)
        with open(path + ".new", "w", encoding="ascii") as f:
            f.write(str(pid) if pid else "")
        os.rename(path + ".new", path)
        return path

    def disarm(self, point):
        """True if nothing had taken it."""
        try:
            os.unlink(os.path.join(self.kill_dir, point))
            return True
        except FileNotFoundError:
            return False

    def close(self, keep=False):
        try:
            self.weir("local", "stop", "--dir", self.home, check=False, timeout=60)
        finally:
            if not keep:
                shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        keep = kind is not None and os.environ.get("WEIR_KEEP")
        if keep:
            print(f"kept: {self.dir}", file=sys.stderr)
        self.close(keep=bool(keep))
        return False
