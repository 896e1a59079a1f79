"""Ceph's S3 gateway for as long as a drill runs (tests/s3/rgw does the work)."""
import os
import pathlib
import shutil
import subprocess
import tempfile

SCRIPT = pathlib.Path(__file__).resolve().parent.parent / "s3/rgw"
PROGRAMS = ("ceph-mon", "ceph-osd", "radosgw", "radosgw-admin")
ACCESS_KEY, SECRET_KEY = "AKTEST", "SKTEST"


def missing():
    """Why there can be no gateway here; None if there can."""
    absent = [p for p in PROGRAMS if shutil.which(p) is None]
    return f"no {', '.join(absent)} (tools/setup ceph)" if absent else None


class Ceph:
    def __init__(self, bucket):
        self.bucket = bucket

    def __enter__(self):
        self.dir = tempfile.mkdtemp(prefix="weir-rgw-")
        try:
            out = subprocess.run([SCRIPT, self.dir, "start"], check=True, text=True,
                                 stdout=subprocess.PIPE).stdout
            self.endpoint = out.split()[-1]
            subprocess.run([SCRIPT, self.dir, "bucket", self.bucket], check=True)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        self.env = {"AWS_ENDPOINT_URL_S3": self.endpoint, "AWS_REGION": "us-east-1",
                    "AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}
        return self

    def pid(self, name):
        """Of mon, osd or rgw."""
        with open(os.path.join(self.dir, name + ".pid"), encoding="ascii") as f:
            return int(f.read())

    def __exit__(self, kind, value, trace):
        subprocess.run([SCRIPT, self.dir, "stop"], check=False)
        shutil.rmtree(self.dir, ignore_errors=True)
        return False
