"""A member of etcd as seen through a proxy whose watches can go wrong.

    with Proxy("127.0.0.1:2379") as p:      # p.address is what its clients are given
        p.mute()        # watches fall silent, now and later ones: connections stay, nothing comes
        p.cancel()      # etcd's own words of a cancelled watch on each, and then silence
        p.cut()         # every watch's connection is closed
        p.heal()

Requests other than watches pass untouched at any time. A connection is a watch from the request
line on; the client gives each watch a connection of its own.
"""
import json
import socket
import threading

CHUNK = 65536


def close(*sockets):
    for s in sockets:
        try:
            s.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


class Watch:
    def __init__(self, client, server):
        self.client, self.server, self.silent = client, server, False


class Proxy:
    def __init__(self, target):
        host, port = target.rsplit(":", 1)
        self.target = (host, int(port))
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        self.lock = threading.Lock()
        self.watches, self.muted, self.seen = [], False, 0
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        try:
            server = socket.create_connection(self.target)
        except OSError:
            client.close()
            return
        for s in (client, server):
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        state = {"watch": None}
        threading.Thread(target=self.answers, args=(client, server, state), daemon=True).start()
        self.pump(client, server, lambda data: self.request(data, client, server, state))
        with self.lock:
            if state["watch"] in self.watches:
                self.watches.remove(state["watch"])

    def request(self, data, client, server, state):
        if state["watch"] is None and data.startswith(b"POST /v3/watch"):
            with self.lock:
                state["watch"] = Watch(client, server)
                state["watch"].silent = self.muted
                self.watches.append(state["watch"])
                self.seen += 1
        return data

    def answers(self, client, server, state):
        def heard(data):
            watch = state["watch"]
            return b"" if watch and watch.silent else data
        self.pump(server, client, heard)

    @staticmethod
    def pump(source, sink, through):
        """Until either end closes; then both are closed."""
        try:
            while True:
                data = source.recv(CHUNK)
                if not data:
                    break
                data = through(data)
                if data:
                    sink.sendall(data)
        except OSError:
            pass
        close(source, sink)
        source.close()

    # ---- what goes wrong ----

    def mute(self):
        with self.lock:
            self.muted = True
            for w in self.watches:
                w.silent = True

    def cancel(self):
        """Watches that exist are cancelled as after a compaction, and stay open."""
        frame = json.dumps({"result": {"header": {}, "canceled": True,
                                       "compact_revision": "1"}}) + "\n"
        chunk = f"{len(frame):x}\r\n{frame}\r\n".encode()
        with self.lock:
            struck = 0
            for w in self.watches:
                try:
                    w.client.sendall(chunk)
                except OSError:  # it ended just now
                    continue
                w.silent = True
                struck += 1
            return struck

    def cut(self):
        with self.lock:
            struck = len(self.watches)
            for w in self.watches:
                close(w.client, w.server)
            self.watches = []  # what comes next is a new one
            return struck

    def heal(self):
        """What was swallowed is gone: later bytes would make no sense. So they are cut."""
        with self.lock:
            self.muted = False
        self.cut()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()
        self.cut()
        return False
