"""A small S3 server that fails as it is told: objects in memory, one bucket, nothing else.

    with S3Server("bucket") as s3:
        Cluster(..., storage="s3://bucket/prefix", env=s3.env)
        s3.set(only("PUT", ".snap", status(503, "SlowDown")))
        ...
        s3.set(None)

A fault is called with a Request before it is served, and returns True if it has dealt with it; it
may call request.serve() itself. `struck` counts those. Signatures are not checked: that is tested
on a real gateway.
"""
import hashlib
import http.server
import socket
import threading
import time
import urllib.parse
import xml.etree.ElementTree
import xml.sax.saxutils


class Request(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *args):
        pass

    def handle_one(self):
        url = urllib.parse.urlsplit(self.path)
        parts = urllib.parse.unquote(url.path).lstrip("/").split("/", 1)
        self.bucket, self.key = parts[0], parts[1] if len(parts) > 1 else ""
        self.query = dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True))
        self.body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        owner = self.server.owner
        if not owner.fault or not owner.fault(self):
            self.serve()

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = handle_one

    def answer(self, status, body=b"", announced=None, **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body) if announced is None else announced))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def error(self, status, code):
        self.answer(status, f"<Error><Code>{code}</Code><Message>{code}</Message></Error>".encode())

    def break_off(self):
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def serve(self):
        s = self.server.owner
        with s.lock:
            if self.bucket != s.bucket:
                self.error(404, "NoSuchBucket")
            elif self.command == "PUT" and "uploadId" in self.query:
                s.uploads[self.query["uploadId"]][int(self.query["partNumber"])] = self.body
                self.answer(200, ETag=f'"{hashlib.md5(self.body).hexdigest()}"')
            elif self.command == "PUT":
                self.put(s, self.body)
            elif self.command == "POST":
                self.post(s)
            elif self.command == "DELETE":
                s.uploads.pop(self.query.get("uploadId"), None)
                if "uploadId" not in self.query:
                    s.objects.pop(self.key, None)
                self.answer(204)
            elif "list-type" in self.query:
                self.list(s)
            elif self.key not in s.objects:
                self.error(404, "NoSuchKey")
            else:
                self.get(s.objects[self.key])

    def put(self, s, body):
        if self.headers.get("If-None-Match") and self.key in s.objects:
            self.error(412, "PreconditionFailed")
            return
        s.objects[self.key] = body
        self.answer(200, ETag=f'"{hashlib.md5(body).hexdigest()}"')

    def post(self, s):
        if "uploads" in self.query:
            s.uploads[str(len(s.uploads) + 1)] = {}
            self.answer(200, f"<InitiateMultipartUploadResult><UploadId>{len(s.uploads)}"
                             "</UploadId></InitiateMultipartUploadResult>".encode())
        elif "uploadId" in self.query:
            parts = s.uploads.get(self.query["uploadId"], {})
            s.objects[self.key] = b"".join(parts[n] for n in sorted(parts))
            self.answer(200, b"<CompleteMultipartUploadResult/>")
        else:
            for key in xml.etree.ElementTree.fromstring(self.body).iter():
                if key.tag.endswith("Key"):
                    s.objects.pop(key.text, None)
            self.answer(200, b"<DeleteResult/>")

    def list(self, s):
        prefix = self.query.get("prefix", "")
        keys = sorted(k for k in s.objects if k.startswith(prefix))
        keys = keys[:int(self.query.get("max-keys", 1000))]
        items = "".join(f"<Contents><Key>{xml.sax.saxutils.escape(k)}</Key></Contents>"
                        for k in keys)
        self.answer(200, ("<ListBucketResult><IsTruncated>false</IsTruncated>"
                          f"{items}</ListBucketResult>").encode())

    def get(self, data):
        wanted = self.headers.get("Range")
        if not wanted:
            self.answer(200, data, ETag=f'"{hashlib.md5(data).hexdigest()}"')
            return
        first, last = wanted.split("=", 1)[1].split("-")
        first, last = int(first), min(int(last or len(data)), len(data) - 1)
        if first >= len(data):
            self.error(416, "InvalidRange")
            return
        self.answer(206, data[first:last + 1],
                    Content_Range=f"bytes {first}-{last}/{len(data)}")


class S3Server:
    def __init__(self, bucket):
        self.bucket, self.objects, self.uploads = bucket, {}, {}
        self.lock = threading.Lock()
        self.fault, self.struck = None, 0
        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Request)
        self.http.daemon_threads = True
        self.http.owner = self
        self.env = {"AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{self.http.server_port}",
                    "AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "AKTEST",
                    "AWS_SECRET_ACCESS_KEY": "SKTEST"}

    def __enter__(self):
        threading.Thread(target=self.http.serve_forever, daemon=True).start()
        return self

    def __exit__(self, kind, value, trace):
        self.fault = None
        self.http.shutdown()
        self.http.server_close()
        return False

    def set(self, fault):
        """Returns how many requests the fault before has struck."""
        self.fault, n = fault, self.struck
        self.struck = 0
        return n


# ---- faults ----

def only(method, suffix, fault):
    """For requests of this method for keys that end so."""
    def some(r):
        if r.command != method or not r.key.endswith(suffix):
            return False
        owner = r.server.owner
        owner.struck += 1  # first: a fault may take its time
        if fault(r):
            return True
        owner.struck -= 1
        return False
    return some


def first(times, fault):
    """For the first requests for each key; then it works."""
    seen = {}

    def some(r):
        seen[r.key] = seen.get(r.key, 0) + 1
        return seen[r.key] <= times and fault(r)
    return some


def status(code, name):
    def fault(r):
        r.error(code, name)
        return True
    return fault


def hung(r):
    """No answer for as long as the fault is set."""
    mine = r.server.owner.fault
    while r.server.owner.fault is mine and mine:
        time.sleep(0.05)
    r.break_off()
    return True


def acknowledgement_lost(r):
    """Done, and the connection breaks before the answer."""
    r.answer = lambda *args, **more: None
    r.serve()
    r.break_off()
    return True


def truncated(r):
    """Half of the body comes, then the connection ends."""
    whole = type(r).answer.__get__(r)

    def half(code, body=b"", **headers):
        whole(code, body[:len(body) // 2], announced=len(body), **headers)
    r.answer = half
    r.serve()
    r.wfile.flush()
    r.break_off()
    return True
