"""A program at a terminal of its own, with somebody who types and reads."""

import os
import pty
import re
import select
import signal
import subprocess
import termios
import time

from system import Failure

# Colours, cursor movement, titles.
ESCAPES = re.compile(rb"\x1b(\[[0-9;?]*[a-zA-Z]|\][^\x07]*\x07|[=>78cDEHMNO])")
CONTROL_C = "\x03"


class Terminal:
    def __init__(self, command, environment=None):
        master, slave = pty.openpty()
        attributes = termios.tcgetattr(slave)
        attributes[3] &= ~termios.ECHO
        termios.tcsetattr(slave, termios.TCSANOW, attributes)
        termios.tcsetwinsize(slave, (50, 200))
        variables = {**os.environ, "TERM": "dumb", "HOME": "/nonexistent", **(environment or {})}

        def take_terminal():
            # The new session's terminal, so that Ctrl-C is a signal.
            import fcntl
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        self.process = subprocess.Popen(
            [str(word) for word in command], stdin=slave, stdout=slave, stderr=slave,
            start_new_session=True, preexec_fn=take_terminal, env=variables)
        os.close(slave)
        self.master = master
        self.output = ""
        self.raw = b""

    def type(self, text):
        os.write(self.master, text.encode())

    def read_some(self, seconds):
        """Waits for output; false at the end of it."""
        ready, _, _ = select.select([self.master], [], [], max(0, seconds))
        if not ready:
            return True
        try:
            data = os.read(self.master, 65536)
        except OSError:
            return False
        self.raw += data
        # A sequence may still be cut: clean from the start.
        self.output = ESCAPES.sub(b"", self.raw).decode("utf-8", "replace").replace("\r", "")
        return bool(data)

    def wait_for(self, pattern, seconds, start):
        """Reads until `pattern` is in the output from `start` on; its match."""
        deadline = time.monotonic() + seconds
        while True:
            match = re.compile(pattern, re.DOTALL | re.MULTILINE).search(self.output, start)
            if match:
                return match
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                raise Failure(f"not within {seconds} s: {pattern}")
            if not self.read_some(remaining):
                raise Failure(f"the client ended before: {pattern}")

    def wait_for_end(self, seconds):
        deadline = time.monotonic() + seconds
        while self.process.poll() is None:
            if time.monotonic() > deadline:
                raise Failure(f"the client does not end within {seconds} s")
            self.read_some(0.05)
        while self.read_some(0):
            if not select.select([self.master], [], [], 0)[0]:
                break
        return self.process.returncode

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def close(self):
        if self.process.poll() is None:
            self.kill()
        os.close(self.master)
