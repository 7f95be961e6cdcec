"""A TCP proxy that misbehaves: it delays, resets connections, or leaves them half open.

TCP hides loss and reordering of packets from a process, so what a process can see of a bad network is this: bytes come
late, a connection breaks in the middle of anything, or it stays open and carries nothing any more in one direction. One
thread for each proxy; the thread lives in the namespace of its node.
"""

import heapq
import random
import selectors
import socket
import struct
import threading
import time

from harness import netns

CHUNK = 65536


class _Pipe:
    """One direction of a connection."""

    def __init__(self, source, target):
        self.source, self.target, self.dead = source, target, False
        self.last_due, self.ended = 0.0, False


class Proxy:
    def __init__(self, namespace, target, seed, listen=("127.0.0.1", 0)):
        self.namespace, self.target, self.rng = namespace, target, random.Random(seed)
        self.delay, self.jitter, self.address = 0.0, 0.0, None
        self._pairs, self._due, self._count = [], [], 0  # _pairs: (client to server, server to client)
        self._commands, self._stopping = [], False
        self._lock, self._ready = threading.Lock(), threading.Event()
        self._wake_read, self._wake_write = socket.socketpair()
        self._failure = None
        self._thread = threading.Thread(target=self._run, args=(listen,), daemon=True, name="proxy")
        self._thread.start()
        self._ready.wait()
        if self._failure:
            raise self._failure

    def set_delay(self, seconds, jitter):
        self.delay, self.jitter = seconds, jitter

    def reset_all(self):
        """Every connection ends with RST."""
        self._post(self._reset_all)

    def half_open_all(self):
        """In every connection that is there one direction, drawn by lot, dies in silence, for ever."""
        self._post(self._half_open_all)

    def stop(self):
        self._stopping = True
        self._post(lambda: None)
        self._thread.join()
        self._wake_read.close()
        self._wake_write.close()

    def _post(self, command):
        with self._lock:
            self._commands.append(command)
        self._wake_write.send(b"x")

    def _reset_all(self):
        for pair in list(self._pairs):
            self._close(pair, reset=True)

    def _half_open_all(self):
        for pair in self._pairs:
            self.rng.choice(pair).dead = True

    def _run(self, listen):
        try:
            if self.namespace:
                netns.enter(self.namespace)
            self._listener = socket.create_server(listen)
            self.address = self._listener.getsockname()
        except OSError as error:
            self._failure = error
            return
        finally:
            self._ready.set()
        self._selector = selectors.DefaultSelector()
        self._listener.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        self._selector.register(self._wake_read, selectors.EVENT_READ, self._woken)
        while not self._stopping:
            timeout = max(0.0, self._due[0][0] - time.monotonic()) if self._due else None
            for key, _ in self._selector.select(timeout):
                key.data()
            self._deliver_due()
        self._reset_all()
        self._listener.close()
        self._selector.close()

    def _woken(self):
        self._wake_read.recv(CHUNK)
        with self._lock:
            commands, self._commands = self._commands, []
        for command in commands:
            command()

    def _accept(self):
        client, _ = self._listener.accept()
        try:
            server = socket.create_connection(self.target, timeout=1)
        except OSError:
            client.close()
            return
        pair = (_Pipe(client, server), _Pipe(server, client))
        for pipe in pair:
            pipe.source.setblocking(False)
            pipe.source.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._selector.register(pipe.source, selectors.EVENT_READ, lambda pipe=pipe: self._readable(pair, pipe))
        self._pairs.append(pair)

    def _readable(self, pair, pipe):
        if pair not in self._pairs:
            return
        try:
            data = pipe.source.recv(CHUNK)
        except BlockingIOError:
            return
        except OSError:
            self._close(pair, reset=True)
            return
        if pipe.dead:
            if not data:
                self._close(pair)
            return
        due = max(pipe.last_due, time.monotonic() + self.delay + self.rng.random() * self.jitter)  # order is kept
        pipe.last_due, self._count = due, self._count + 1
        heapq.heappush(self._due, (due, self._count, pair, pipe, data))
        if not data:
            self._selector.unregister(pipe.source)
            pipe.ended = True

    def _deliver_due(self):
        now = time.monotonic()
        while self._due and self._due[0][0] <= now:
            _, _, pair, pipe, data = heapq.heappop(self._due)
            if pair not in self._pairs or pipe.dead:
                continue
            if not data:
                self._close(pair)
                continue
            try:
                pipe.target.settimeout(1)  # answers are small; a peer that reads nothing for a second is cut off
                pipe.target.sendall(data)
                pipe.target.setblocking(False)
            except OSError:
                self._close(pair, reset=True)

    def _close(self, pair, reset=False):
        if pair not in self._pairs:
            return
        self._pairs.remove(pair)
        for pipe in pair:
            if not pipe.ended:
                self._selector.unregister(pipe.source)
            if reset:
                pipe.source.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            pipe.source.close()
