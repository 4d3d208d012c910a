"""The system under test: a supervisor with one sandbox, and a look at its guest."""

import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time
from pathlib import Path

WAIT_SECONDS = 20


class Failure(Exception):
    """Something is missing or went wrong; the text is for people."""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Image:
    """What the harness has to know of a guest's ELF file."""

    def __init__(self, path):
        self.path = Path(path)
        self.data = self.path.read_bytes()
        # ET_EXEC: runs at its link address.
        self.is_fixed = self.data[16] == 2
        (table,) = struct.unpack_from("<Q", self.data, 32)
        size, count = struct.unpack_from("<HH", self.data, 54)
        self.segments = []
        for index in range(count):
            kind, flags, offset, address, _, in_file, _ = struct.unpack_from(
                "<IIQQQQQ", self.data, table + index * size)
            if kind == 1:
                self.segments.append((address, offset, in_file, bool(flags & 1)))
        self.first_address = min(address for address, *_ in self.segments)
        self.symbols = {}
        listed = subprocess.run(["nm", str(path)], text=True, stdout=subprocess.PIPE, check=True)
        for line in listed.stdout.splitlines():
            words = line.split()
            if len(words) == 3:
                self.symbols[words[2]] = int(words[0], 16)

    def bytes_at(self, address, count):
        for start, offset, in_file, _ in self.segments:
            if start <= address and address + count <= start + in_file:
                return self.data[offset + address - start:][:count]
        raise Failure(f"{self.path} has nothing at {address:#x}")

    def code(self):
        """Link address and bytes of what is executed."""
        for address, offset, in_file, is_executable in self.segments:
            if is_executable:
                return address, self.data[offset:offset + in_file]
        raise Failure(f"{self.path} has no code")


class Supervisor:
    """A supervisor in a folder of its own, with the one sandbox `guest`."""

    def __init__(self, programs, guest, driver):
        self.programs = programs
        self.folder = Path(tempfile.mkdtemp(prefix="clients-"))
        self.socket = self.folder / "control.sock"
        self.port = free_port()
        sandbox = {"name": "guest", "guest": str(guest.image.path), "abi": guest.abi,
                   "hypervisor": driver, "debug": {"port": self.port}, **guest.settings}
        config = self.folder / "sandboxes.json"
        config.write_text(json.dumps({"version": 1, "sandboxes": [sandbox]}))
        # A file, since a pipe that nobody empties would stop the supervisor.
        with open(self.folder / "log", "wb") as log:
            self.process = subprocess.Popen(
                [str(programs / "hyperlight-supervisor"), "--config", str(config),
                 "--socket", str(self.socket), "--log-format", "json"],
                stderr=log, stdout=subprocess.DEVNULL, start_new_session=True)
        try:
            self.wait_until("waiting")
        except Failure:
            self.close()
            raise
        self.worker = self.status()["worker"]

    def status(self):
        """State, restarts and worker, from hyperlight-ctl."""
        listed = subprocess.run(
            [str(self.programs / "hyperlight-ctl"), "status", "guest", "--format", "json",
             "--socket", str(self.socket)], text=True, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE)
        try:
            entry = json.loads(listed.stdout)
        except ValueError:
            raise Failure(f"hyperlight-ctl: {listed.stdout}{listed.stderr}") from None
        sandboxes = entry["sandboxes"] if isinstance(entry, dict) else entry
        sandbox = sandboxes[0]
        return {"state": sandbox["state"], "restarts": sandbox.get("restarts"),
                "worker": sandbox.get("workerPID")}

    def log(self):
        return (self.folder / "log").read_text(encoding="utf-8", errors="replace")

    def wait_until(self, state):
        deadline = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise Failure("the supervisor ended: " + self.log())
            # The guests start before the control socket is there.
            if f"-> {state}" in self.log() and self.socket.exists():
                return
            time.sleep(0.01)
        raise Failure(f"the guest is not {state}: {self.log()}")

    def close(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


class Probe:
    """A client that only looks, between the sessions of the real ones."""

    def __init__(self, port):
        self.connection = socket.create_connection(("127.0.0.1", port), 5)
        self.connection.settimeout(10)
        self.received = b""
        self.ask("qSupported:multiprocess+;swbreak+;hwbreak+")

    def ask(self, body):
        data = body.encode()
        self.connection.sendall(b"$%s#%02x" % (data, sum(data) & 0xff))
        while True:
            match = re.search(rb"\$([^#]*)#..", self.received, re.DOTALL)
            if match:
                self.received = self.received[match.end():]
                self.connection.sendall(b"+")
                return match.group(1).decode("latin-1")
            more = self.connection.recv(65536)
            if not more:
                raise Failure(f"the stub closed after {body}")
            self.received += more

    def stop(self):
        reply = self.ask("?")
        if not reply.startswith("T"):
            raise Failure(f"the guest does not stand: {reply}")

    def bias(self, image):
        return int(self.ask("qOffsets").split("=")[1].split(";")[0], 16) - image.first_address

    def read(self, address, count):
        result = b""
        while len(result) < count:
            reply = self.ask(f"m{address + len(result):x},{min(count - len(result), 0x4000):x}")
            if not reply or reply.startswith("E"):
                raise Failure(f"memory at {address + len(result):#x}: {reply or 'no answer'}")
            result += bytes.fromhex(reply)
        return result

    def detach(self):
        self.ask("D")
        self.connection.close()


def check_guest(supervisor, guest):
    """Fails unless the guest is at work in the same worker, with its own code."""
    status = supervisor.status()
    if status["worker"] != supervisor.worker or status["restarts"]:
        raise Failure(f"the worker is another one: {status}")
    before = look(supervisor.port, guest)
    if guest.counter is None:
        return
    deadline = time.monotonic() + 5
    while look(supervisor.port, guest) == before:
        if time.monotonic() > deadline:
            raise Failure(f"the guest does nothing: {supervisor.status()}")


def look(port, guest):
    """The guest's counter; fails when its code is not that of its file."""
    probe = Probe(port)
    probe.stop()
    bias = probe.bias(guest.image)
    start, code = guest.image.code()
    # The largest guests are compared in part, for time.
    code = code[:0x10000]
    present = probe.read(start + bias, len(code))
    changed = [offset for offset in range(len(code)) if present[offset] != code[offset]]
    value = None
    if guest.counter:
        value = probe.read(guest.image.symbols[guest.counter] + bias, 8)
    probe.detach()
    if changed:
        first = changed[0]
        raise Failure(f"{len(changed)} bytes of code differ, first at {start + bias + first:#x}:"
                      f" {present[first]:02x} for {code[first]:02x}")
    return value


def lacking(programs):
    """What each driver lacks here, in the words of --check; a driver that is missing lacks all."""
    with tempfile.TemporaryDirectory(prefix="clients-") as folder:
        config = Path(folder) / "sandboxes.json"
        config.write_text(json.dumps({"version": 1, "sandboxes": [
            {"name": driver, "guest": "/bin/true", "hypervisor": driver}
            for driver in ("kvm", "emulator")]}))
        checked = subprocess.run(
            [str(programs / "hyperlight-supervisor"), "--check", "--config", str(config)],
            text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    found = dict(re.findall(r"^driver (\w+): (.*)$", checked.stdout, re.MULTILINE))
    return {driver: found.get(driver, "not usable") for driver in ("kvm", "emulator")}
