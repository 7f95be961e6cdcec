"""A TCP proxy that misbehaves: it delays, resets connections, or leaves them half open.

TCP hides loss and reordering of packets from a process, so what a process can see of a bad network is this: bytes come
late, a connection breaks in the middle of anything, or it stays open and carries nothing any more in one direction. What
nodes say to each other is frames (net/frame_private.h); with frames=True the proxy knows where one ends, and can lose,
double and reorder them, as a worse transport would. One thread for each proxy; it lives in the namespace of its node.
"""

import heapq
import random
import selectors
import socket
import struct
import threading
import time

from harness import netns

CHUNK, FULL = 65536, 4 << 20
FRAME_HEAD, FRAME_DATA = 16, 3  # u32 length of what follows the head, u8 kind, ...


class _Pipe:
    """One direction of a connection."""

    def __init__(self, source, target):
        self.source, self.target, self.dead = source, target, False
        self.last_due, self.ended = 0.0, False  # ended: nothing more is read
        self.partial, self.out, self.shut = b"", bytearray(), False  # shut: close when out is empty
        self.handler = None  # of what happens at source


class Proxy:
    def __init__(self, namespace, target, seed, listen=("127.0.0.1", 0), frames=False):
        self.namespace, self.target, self.rng, self.frames = namespace, target, random.Random(seed), frames
        self.delay, self.jitter, self.address = 0.0, 0.0, None
        self.lost, self.doubled, self.reorder = 0.0, 0.0, False  # of frames only
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

    def set_frames(self, lost, doubled, reorder):
        """Which share of the frames is lost, which comes twice, and whether one may pass another."""
        self.lost, self.doubled, self.reorder = lost, doubled, reorder

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
        self._selector.register(self._listener, selectors.EVENT_READ, lambda _: self._accept())
        self._selector.register(self._wake_read, selectors.EVENT_READ, lambda _: self._woken())
        while not self._stopping:
            timeout = max(0.0, self._due[0][0] - time.monotonic()) if self._due else None
            for key, events in self._selector.select(timeout):
                key.data(events)
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
        pair = up, down = (_Pipe(client, server), _Pipe(server, client))
        for reads, writes in ((up, down), (down, up)):
            reads.source.setblocking(False)
            reads.source.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            reads.handler = lambda events, reads=reads, writes=writes: self._able(pair, reads, writes, events)
            self._selector.register(reads.source, selectors.EVENT_READ, reads.handler)
        self._pairs.append(pair)

    def _able(self, pair, reads, writes, events):
        if events & selectors.EVENT_WRITE and pair in self._pairs:
            self._send(pair, writes)
        if events & selectors.EVENT_READ and pair in self._pairs:
            self._read(pair, reads)

    def _watch(self, pair):
        """A socket is read unless it ended, or who should get it takes nothing; written while something waits for it."""
        for reads, writes in (pair, pair[::-1]):
            events = 0 if reads.ended or len(reads.out) > FULL else selectors.EVENT_READ
            events |= selectors.EVENT_WRITE if writes.out else 0
            key = self._selector.get_map().get(reads.source)
            if key and not events:
                self._selector.unregister(reads.source)
            elif key and key.events != events:
                self._selector.modify(reads.source, events, reads.handler)
            elif not key and events:
                self._selector.register(reads.source, events, reads.handler)

    def _read(self, pair, pipe):
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
        if self.frames and data:
            self._take_frames(pair, pipe, data)
        else:
            self._queue(pair, pipe, data, ordered=True)
        if not data:
            pipe.ended = True
            self._watch(pair)

    def _take_frames(self, pair, pipe, data):
        data = pipe.partial + data
        at = 0
        while len(data) - at >= FRAME_HEAD:
            size = FRAME_HEAD + int.from_bytes(data[at:at + 4], "big")
            if len(data) - at < size:
                break
            is_data, frame = data[at + 4] == FRAME_DATA, data[at:at + size]
            at += size
            if is_data and self.rng.random() < self.lost:
                continue
            self._queue(pair, pipe, frame, ordered=not (is_data and self.reorder))
            if is_data and self.rng.random() < self.doubled:
                self._queue(pair, pipe, frame, ordered=not self.reorder)
        pipe.partial = data[at:]

    def _queue(self, pair, pipe, data, ordered):
        due = time.monotonic() + self.delay + self.rng.random() * self.jitter
        if ordered:
            due = max(pipe.last_due, due)
        pipe.last_due, self._count = max(pipe.last_due, due), self._count + 1
        heapq.heappush(self._due, (due, self._count, pair, pipe, data))

    def _deliver_due(self):
        now, touched = time.monotonic(), []
        while self._due and self._due[0][0] <= now:
            _, _, pair, pipe, data = heapq.heappop(self._due)
            if pair not in self._pairs or pipe.dead:
                continue
            pipe.out += data
            pipe.shut |= not data
            touched.append((pair, pipe))
        for pair, pipe in touched:
            if pair in self._pairs:
                self._send(pair, pipe)

    def _send(self, pair, pipe):
        try:
            if pipe.out:
                del pipe.out[:pipe.target.send(pipe.out)]
        except BlockingIOError:
            pass
        except OSError:
            self._close(pair, reset=True)
            return
        if pipe.shut and not pipe.out:
            self._close(pair)
            return
        self._watch(pair)

    def _close(self, pair, reset=False):
        if pair not in self._pairs:
            return
        self._pairs.remove(pair)
        for pipe in pair:
            if self._selector.get_map().get(pipe.source):
                self._selector.unregister(pipe.source)
            if reset:
                pipe.source.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            pipe.source.close()
