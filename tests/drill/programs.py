"""Single programs, started and watched: what they say on stderr, how they end."""
import os
import re
import socket
import subprocess
import tempfile
import urllib.error
import urllib.request

from cluster import wait_for

NOBODY = "http://127.0.0.1:1"


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as s:
        return s.getsockname()[1]


class Program:
    """One program with its standard error in a file; killed at the end."""

    def __init__(self, path, *arguments, env=None):
        self.err = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen([path, *arguments], stdout=subprocess.DEVNULL,
                                        stderr=self.err, env=dict(os.environ, **(env or {})))

    def text(self):
        self.err.seek(0)
        return self.err.read()

    def says(self, pattern, seconds=15):
        return wait_for(f"{pattern!r} on stderr", seconds,
                        lambda: re.search(pattern, self.text()) or self.text() == 0)

    def ends(self, seconds=15):
        return self.process.wait(seconds)

    def __enter__(self):
        return self

    def __exit__(self, *what):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.err.close()
        return False


def jobmanager(check, *arguments, env=None):
    return Program(os.path.join(check.bin, "weir-jobmanager"), "--id", "jm", "--listen",
                   "127.0.0.1:0", "--cluster-listen", "127.0.0.1:0", *arguments, env=env)


def ready(port):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2) as answer:
            return answer.status
    except urllib.error.HTTPError as e:
        return e.code
