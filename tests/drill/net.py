"""JobManagers in network namespaces, so that one direction of one pair can be cut.

   this process, TaskManagers:       namespace NAME-0, 127.77.0.1 on a bridge
   etcd:                             the same, 127.77.0.2 (so that it alone can be cut off)
   jm-1, jm-2, ...:                  namespace NAME-1, NAME-2, ..., 127.77.0.11, .12, ...

A direction is cut by a wrong hardware address for the receiver in the sender's neighbour table:
frames vanish silently, one way only, also those of connections that exist. Needs root. Names hold
this process's pid; everything is removed by close().
"""
import os
import subprocess
import sys

NOWHERE = "02:00:00:00:00:99"


def possible():
    return os.geteuid() == 0


def ip(*words):
    subprocess.run(["ip", *words], check=True)


class Net:
    def __init__(self, n, name=None):
        self.n = n
        self.name = name or f"weir-{os.getpid()}"
        self.cuts = []

    def space(self, i):
        return f"{self.name}-{i}"

    @staticmethod
    def address(i):
        """Of a JobManager's number, 0, or "etcd"."""
        return {0: "127.77.0.1", "etcd": "127.77.0.2"}.get(i) or f"127.77.0.{10 + i}"

    @staticmethod
    def device(i):
        return "weir0" if i == 0 else "net0"

    def loopback(self, i):
        ip("-n", self.space(i), "link", "set", "lo", "up")
        ip("-n", self.space(i), "addr", "del", "127.0.0.1/8", "dev", "lo")
        ip("-n", self.space(i), "addr", "add", "127.0.0.1/32", "dev", "lo")
        ip("netns", "exec", self.space(i), "sysctl", "-qw",
           "net.ipv4.conf.all.route_localnet=1")

    def join(self, i):
        """What 0 does for all: the bridge; the others: a port of it."""
        if i == 0:
            ip("-n", self.space(0), "link", "add", "weir0", "type", "bridge")
        else:
            ip("-n", self.space(0), "link", "add", f"port{i}", "type", "veth", "peer", "name",
               "net0", "netns", self.space(i))
            ip("-n", self.space(0), "link", "set", f"port{i}", "master", "weir0")
            ip("-n", self.space(0), "link", "set", f"port{i}", "up")
        ip("-n", self.space(i), "addr", "add", self.address(i) + "/24", "dev", self.device(i))
        if i == 0:
            ip("-n", self.space(0), "addr", "add", self.address("etcd") + "/24", "dev", "weir0")
        ip("-n", self.space(i), "link", "set", self.device(i), "up")

    def open(self):
        try:
            for i in range(self.n + 1):
                ip("netns", "add", self.space(i))
                self.loopback(i)
                self.join(i)
        except BaseException:
            self.close()
            raise
        return self

    def cut(self, sender, receiver):
        """Nothing goes from sender to receiver any more."""
        ip("-n", self.space(sender), "neigh", "replace", self.address(receiver), "lladdr", NOWHERE,
           "nud", "permanent", "dev", self.device(sender))
        self.cuts.append((sender, receiver))

    def heal(self):
        for sender, receiver in self.cuts:
            ip("-n", self.space(sender), "neigh", "del", self.address(receiver), "dev",
               self.device(sender))
        self.cuts = []

    def close(self):
        for i in range(self.n, -1, -1):
            subprocess.run(["ip", "netns", "del", self.space(i)], check=False,
                           stderr=subprocess.DEVNULL)


def inside(n):
    """Run this very program again in namespace 0 of a fresh Net; returns its exit status."""
    net = Net(n).open()
    try:
        return subprocess.run(["ip", "netns", "exec", net.space(0), sys.executable, *sys.argv,
                               "--net", net.name], check=False).returncode
    finally:
        net.close()
