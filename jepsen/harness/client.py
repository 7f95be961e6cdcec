"""One client: a connection that is made again when it breaks, and the judgement of what an error means.

    fail   certainly no effect: the server refused, or nothing that changes anything had been sent
    info   unknown: the connection broke, or no answer came in time, after a COMMIT or a single writing statement was sent

An error that the server does send for a COMMIT means by the protocol's contract that nothing was committed, except
40003 (statement completion unknown), class 08, and 57P01 to 57P03 (it is going down). The harness believes that, so that a
server that breaks the contract is caught: what it refused shows up in a read.
"""

import contextlib
import socket
import threading
import time

import psycopg

from harness import netns

OPERATION_TIMEOUT = 5.0
CONNECT_TIMEOUT = 3
UNKNOWN_STATES = ("40003", "57P01", "57P02", "57P03")


class Refused(Exception):
    """The operation certainly had no effect; the text says why."""


class Unknown(Exception):
    """The operation may have had an effect."""


class NoConnection(Exception):
    """No node answered; nothing was begun."""


class Watchdog(threading.Thread):
    """Cuts the connection of a client that waits for too long: a frozen server never answers, and TCP does not mind."""

    def __init__(self):
        super().__init__(daemon=True, name="watchdog")
        self.clients, self._ended = [], threading.Event()

    def run(self):
        while not self._ended.wait(0.1):
            now = time.monotonic()
            for client in list(self.clients):
                client.cut_if_late(now)

    def stop(self):
        self._ended.set()
        self.join()


class Client:
    def __init__(self, cluster, number, watchdog):
        self.cluster, self.number, self.node, self.connection = cluster, number, None, None
        self._lock, self._deadline, self._namespace, self._attempt = threading.Lock(), None, None, 0
        self._risky = False  # something was sent whose effect is not known
        watchdog.clients.append(self)

    def cut_if_late(self, now):
        with self._lock:
            if self.connection is not None and self._deadline is not None and now > self._deadline:
                with contextlib.suppress(OSError), socket.socket(fileno=socket.dup(self.connection.pgconn.socket)) as sock:
                    sock.shutdown(socket.SHUT_RDWR)
                self._deadline = None

    def connect(self):
        """Makes sure that there is a connection; nodes are tried in turn."""
        if self.connection is not None:
            return
        node = self.cluster.nodes[(self.number + self._attempt) % len(self.cluster.nodes)]
        self._attempt += 1
        if node.port is None:
            raise NoConnection("never started")
        try:
            if node.namespace != self._namespace:
                netns.enter(node.namespace)
                self._namespace = node.namespace
            host, port = node.address()
            connection = psycopg.connect(host=host, port=port, user="gnomon", dbname="gnomon", autocommit=True,
                                         connect_timeout=CONNECT_TIMEOUT, sslmode="disable", gssencmode="disable")
            if self.cluster.session:
                connection.cursor_factory = psycopg.ClientCursor  # simple protocol: only there a lone SELECT may be stale
                connection.execute(self.cluster.session)
        except (psycopg.Error, OSError) as error:
            raise NoConnection(_text(error)) from None
        with self._lock:
            self.connection, self.node = connection, node

    def close(self):
        with self._lock:
            connection, self.connection, self._deadline = self.connection, None, None
        if connection is not None:
            with contextlib.suppress(psycopg.Error, OSError):
                connection.close()

    def query(self, sql, *parameters):
        """A statement that changes nothing by itself (a read, or a part of a transaction). Its rows."""
        cursor = self.connection.execute(sql, parameters or None)
        return cursor.fetchall() if cursor.description else []

    def change(self, sql, *parameters):
        """A writing statement inside a transaction; how many rows it touched."""
        return self.connection.execute(sql, parameters or None).rowcount

    def write(self, sql, *parameters):
        """A writing statement that is a transaction of its own; (rows touched, rows returned)."""
        self._risky = True
        cursor = self.connection.execute(sql, parameters or None)
        self._risky = False
        return cursor.rowcount, cursor.fetchall() if cursor.description else []

    @contextlib.contextmanager
    def transaction(self):
        self.connection.execute("BEGIN")
        yield
        self._risky = True
        self.connection.execute("COMMIT")
        self._risky = False

    @contextlib.contextmanager
    def operation(self, timeout=OPERATION_TIMEOUT):
        """Turns whatever goes wrong inside into Refused or Unknown, and leaves a usable client."""
        self._risky = False
        with self._lock:
            self._deadline = time.monotonic() + timeout
        try:
            yield
            with self._lock:
                self._deadline = None
        except psycopg.Error as error:
            self._judge(error)
        except Refused:
            self._roll_back()
            raise
        except BaseException:
            self.close()
            raise

    def _judge(self, error):
        state, risky = error.sqlstate, self._risky
        self._roll_back()
        answered = state is not None and state not in UNKNOWN_STATES and not state.startswith("08")
        if risky and not answered:
            raise Unknown(_text(error)) from None
        raise Refused(_text(error)) from None

    def _roll_back(self):
        """A connection that is not well is closed; the next operation makes another."""
        with self._lock:
            self._deadline = time.monotonic() + OPERATION_TIMEOUT
        try:
            if self.connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
                self.connection.execute("ROLLBACK")
            with self._lock:
                self._deadline = None
        except psycopg.Error:
            self.close()


def _text(error):
    state = getattr(error, "sqlstate", None)
    return (f"{state} " if state else "") + " ".join(str(error).split())[:200]
