"""What every short drill needs: named checks that are counted, and the way it is called.

A drill is a list of functions that get a Checks; `run` calls them all, each with what the
command line said, and ends with the line of totals that tools/run-tests reads.
"""
import argparse
import os
import sys
import traceback

from cluster import Timeout, say


class Checks:
    def __init__(self, options):
        self.bin = os.path.abspath(options.bin)
        self.options = options
        self.passed = self.failed = 0

    def __call__(self, name, holds, seen=""):
        if holds:
            self.passed += 1
            say(f"ok      {name}")
        else:
            self.failed += 1
            say(f"FAILED  {name}: {str(seen)[:1500]}")
        return bool(holds)

    def attempt(self, act):
        """One act of the drill; an exception out of it is one failed check."""
        try:
            act(self)
        except (Timeout, RuntimeError, OSError, KeyError, IndexError, ValueError) as e:
            self(act.__name__, False, f"{e!r}\n{traceback.format_exc(limit=-3)}")


def run(doc, *acts, verify=False, skips=()):
    """`skips`: the reason of each act that cannot run here; counted and said."""
    parser = argparse.ArgumentParser(description=doc.split("\n")[0])
    parser.add_argument("--bin", required=True, help="directory of the programs")
    if verify:
        parser.add_argument("--verify", required=True, help="the verify_counts program")
    parser.add_argument("--only", help="name of one act")
    options = parser.parse_args()
    checks = Checks(options)
    for act in acts:
        if options.only in (None, act.__name__):
            say(f"-- {act.__name__.replace('_', ' ')}")
            checks.attempt(act)
    for reason in skips:
        say(f"SKIP: {reason}")
    say(f"{checks.passed} passed, {checks.failed} failed, {len(skips)} skipped")
    sys.exit(1 if checks.failed or not checks.passed else 0)


def sequence(name, records, sink, **more):
    """Keyed counts over a sequence; `sink` is the last operator without uid and inputs."""
    keys = more.pop("keys", 100)
    rate = more.pop("rate", 0)
    job = {"name": name, "parallelism": 4,
           "checkpointing": {"interval": "300ms", "timeout": "30s"},
           "operators": [
               {"uid": "numbers", "type": "source.sequence", "from": 0, "to": records - 1,
                "keys": keys, "rateLimit": rate},
               {"uid": "counts", "type": "aggregate", "inputs": ["numbers"], "keyBy": ["key"],
                "aggregates": [{"count": "*", "as": "n"}]},
               {"uid": "out", "inputs": ["counts"], **sink}]}
    job.update(more)
    return job


def to_files(path):
    return {"type": "sink.file", "path": path, "format": "tsv", "semantics": "exactly-once"}


def committed(cluster, path):
    """The visible part files of a file sink."""
    folder = os.path.join(cluster.root, path)
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    return [os.path.join(folder, n) for n in names if os.path.isfile(os.path.join(folder, n))]


def lines(cluster, path):
    found = []
    for name in committed(cluster, path):
        with open(name, encoding="utf-8") as f:
            found += f.read().splitlines()
    return found
