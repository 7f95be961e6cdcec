"""One gnomond under test: on a scratch directory and a free loopback port. Used by the tests and the demo."""

import os
import pathlib
import signal
import subprocess
import time


class StartError(Exception):
    """The server ended before it was ready; the text is its log's end."""


class Server:
    def __init__(self, program, directory, *options, env=None):
        self.program, self.directory, self.options = str(program), pathlib.Path(directory), list(options)
        self.env = env
        self.process, self.port, self.http_port = None, None, None

    @property
    def log(self):
        return self.directory / "gnomond.log"

    def start(self):
        """Returns the seconds until the server said that it is ready."""
        ready_read, ready_write = os.pipe()
        started = time.perf_counter()
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [self.program, "--data-dir", str(self.directory / "data"), "--listen", f"127.0.0.1:{self.port or 0}",
                 "--http-listen", "127.0.0.1:0", "--ready-fd", str(ready_write), *self.options],
                stdout=log, stderr=log, pass_fds=[ready_write], start_new_session=True, env=self.env)
        os.close(ready_write)
        with os.fdopen(ready_read) as ready:
            line = ready.readline()
        if not line:
            self.process.wait()
            raise StartError(f"gnomond ended with status {self.process.returncode}; its log ends:\n"
                             + self.log.read_text(errors="replace")[-3000:])
        fields = dict(field.split("=") for field in line.split())
        self.port, self.http_port = int(fields["port"]), int(fields["http_port"])
        return time.perf_counter() - started

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process = None

    def stop(self):
        """Asks it to end (SIGTERM) and returns its exit status; None if it was not running."""
        if not self.process:
            return None
        self.process.terminate()
        status = self.process.wait()
        self.process = None
        return status

    def uri(self):
        return f"postgresql://gnomon@127.0.0.1:{self.port}/gnomon"
