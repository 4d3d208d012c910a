"""The servers that tools/bench/run measures: ours, gdbserver and QEMU, all with the same loop."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HERE = ROOT / "tools/bench"
BUILD = ROOT / ".build/bench"
COUNTER = ROOT / ".build/guests/counter"
# loop.c for each server.
BARE_LOOP = BUILD / "loop-bare"
QEMU_LOOP = BUILD / "loop-qemu"
LINUX_LOOP = BUILD / "loop-linux"
WAIT_SECONDS = 20


class Failure(Exception):
    """Something is missing or went wrong; the text is for people."""


# Building and finding


def tool(name, package):
    path = shutil.which(name)
    if not path:
        raise Failure(f"{name} is missing: install {package}")
    return path


def run(command):
    try:
        return subprocess.run([str(part) for part in command], check=True, text=True,
                              stdout=subprocess.PIPE).stdout
    except subprocess.CalledProcessError as error:
        raise Failure(f"{Path(command[0]).name} failed with {error.returncode}") from None


def build():
    """The client, and the loop as a Linux process, as a bare guest and as a kernel for QEMU."""
    BUILD.mkdir(parents=True, exist_ok=True)
    compiler = tool("clang" if shutil.which("clang") else "gcc", "clang or gcc")
    run([compiler, "-O2", "-Wall", "-Wextra", "-Werror", HERE / "client.c", "-o", BUILD / "client"])
    # The flags that shape code are those of tools/guests. A static process has no libraries, about
    # which gdb would ask its server.
    loop = [compiler, "-O0", "-g", "-gdwarf-4", "-fno-pic", "-static", "-mno-red-zone",
            "-fno-stack-protector", HERE / "loop.c"]
    free = [*loop, "-ffreestanding", "-nostdlib", "-mgeneral-regs-only",
            "-Wl,--build-id=none,-Ttext-segment=0x100000"]
    run([*loop, "-DLINUX_PROCESS", "-o", LINUX_LOOP])
    run([*free, ROOT / "Sources/Guests/support/start.S", "-Wl,-e,_start", "-o", BARE_LOOP])
    run([*free, HERE / "boot.S", "-Wl,-e,boot", "-o", QEMU_LOOP])


def symbol(program, name):
    for line in run([tool("nm", "binutils"), program]).splitlines():
        words = line.split()
        if words[-1] == name:
            return int(words[0], 16)
    raise Failure(f"{program} has no symbol {name}")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def children(pid):
    return map(int, run(["ps", "-o", "pid=", "--ppid", pid]).split())


def tasks(pid):
    return [int(task) for task in os.listdir(f"/proc/{pid}/task")]


def wait_for(text, path, process):
    """Waits until `process` has written `text` to `path`."""
    deadline = time.monotonic() + WAIT_SECONDS
    while text not in path.read_text():
        if process.poll() is not None or time.monotonic() > deadline:
            raise Failure(f"{Path(process.args[0]).name} does not start: {path.read_text()}")
        time.sleep(0.002)


@contextlib.contextmanager
def stopped_guest(port):
    """A client that attaches and then says nothing."""
    with socket.create_connection(("127.0.0.1", port), 5) as client:
        client.sendall(b"$?#3f")
        answer = b""
        while b"#" not in answer:
            answer += client.recv(4096)
        client.sendall(b"+")
        yield


class Target:
    """One server as its clients see it."""

    def __init__(self, name, port, program, attached_pid=0):
        self.name = name
        self.port = port
        self.program = program
        self.attached_pid = attached_pid

    def client_argument(self):
        addresses = (f"{symbol(self.program, name):x}" for name in ("tick", "words", "room"))
        return ":".join([self.name, str(self.port), str(self.attached_pid), *addresses])

    def gdb_commands(self):
        if not self.attached_pid:
            return [f"target remote 127.0.0.1:{self.port}"]
        return [f"target extended-remote 127.0.0.1:{self.port}", f"attach {self.attached_pid}"]

    @contextlib.contextmanager
    def held(self):
        """Its guest takes no processor time from others meanwhile."""
        if not self.attached_pid:
            with stopped_guest(self.port):
                yield
            return
        os.kill(self.attached_pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.attached_pid, signal.SIGCONT)


# The system under test


class Supervisor:
    """A supervisor in a folder of its own, with one sandbox for each driver."""

    def __init__(self, programs, drivers, guest=COUNTER):
        self.folder = Path(tempfile.mkdtemp(prefix="bench-"))
        self.ports = {driver: free_port() for driver in drivers}
        self.guest = guest
        self.states = {}
        sandboxes = [
            {"name": driver, "guest": str(guest), "abi": "bare", "hypervisor": driver,
             "debug": {"port": port}}
            for driver, port in self.ports.items()
        ]
        config = self.folder / "sandboxes.json"
        config.write_text(json.dumps({"version": 1, "sandboxes": sandboxes}))
        command = [programs / "hyperlight-supervisor", "--config", config,
                   "--socket", self.folder / "control.sock", "--log-format", "json"]
        self.started = time.time()
        # A file, since a pipe that nobody empties would stop the supervisor.
        with open(self.folder / "log", "wb") as log:
            self.process = subprocess.Popen([str(part) for part in command], stderr=log,
                                            stdout=subprocess.DEVNULL)
        self.records = self.read_records()

    def read_records(self):
        """Records of the log, as they come, for at most WAIT_SECONDS."""
        deadline = time.monotonic() + WAIT_SECONDS
        with open(self.folder / "log", encoding="utf-8") as log:
            text = ""
            while time.monotonic() < deadline:
                text += log.readline()
                if not text.endswith("\n"):
                    if self.process.poll() is not None:
                        raise Failure("the supervisor ended: " + text)
                    time.sleep(0.002)
                    continue
                try:
                    yield json.loads(text)
                except ValueError:
                    raise Failure("supervisor: " + text.strip()) from None
                text = ""
        raise Failure("the supervisor did not do what was awaited")

    def wait_until_waiting(self):
        while len(self.states) < len(self.ports):
            record = next(self.records)
            if record["event"] == "sandbox.state":
                state = record["msg"].split(" -> ")[1].split(":")[0]
                if state == "waiting":
                    self.states[record["sandbox"]] = record
                elif state in ("failed", "crashed", "finished"):
                    raise Failure(f"sandbox {record['sandbox']}: {record['msg']}")

    def worker(self, driver):
        return int(self.states[driver]["worker"])

    def stub(self, driver):
        wanted = [b"hyperlight-gdbstub", driver.encode()]
        deadline = time.monotonic() + WAIT_SECONDS
        # On a busy machine it may come after its worker waits.
        while time.monotonic() < deadline:
            for pid in children(self.process.pid):
                with contextlib.suppress(FileNotFoundError):
                    if Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[:2] == wanted:
                        return pid
            time.sleep(0.002)
        raise Failure(f"no stub of {driver}")

    def spawned_at(self, driver):
        """When the worker was spawned: its socket is made right before."""
        return os.stat(self.folder / "private" / driver).st_mtime

    def targets(self):
        return [Target(driver, port, self.guest) for driver, port in self.ports.items()]

    def pids(self):
        both = [pid for driver in self.ports for pid in (self.worker(driver), self.stub(driver))]
        return [self.process.pid, *both]

    def close(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


# What it is measured beside


class Peer:
    """A foreign server, with a file for what it says."""

    def __init__(self):
        self.port = free_port()
        self.processes = []
        self.output = tempfile.NamedTemporaryFile(mode="w+", prefix="bench-")
        try:
            self.target = self.begin()
        except Failure:
            self.close()
            raise

    def start(self, command, **options):
        process = subprocess.Popen([str(part) for part in command], stdout=subprocess.DEVNULL,
                                   **options)
        self.processes.append(process)
        return process

    def pids(self):
        return [process.pid for process in self.processes]

    def close(self):
        # A tracer before its process, which would not be gone until then.
        for process in reversed(self.processes):
            process.kill()
            process.wait()
        self.output.close()


class GDBServer(Peer):
    """The loop as a Linux process, and a gdbserver that a client can tell to attach to it."""

    name = "gdbserver"

    def begin(self):
        program = tool("gdbserver", "gdbserver")
        # gdbserver interrupts a whole process group, so there must be one of that name.
        loop = self.start([LINUX_LOOP], start_new_session=True)
        server = self.start([program, "--multi", f"127.0.0.1:{self.port}"], stderr=self.output)
        wait_for("Listening", Path(self.output.name), server)
        return Target(self.name, self.port, LINUX_LOOP, loop.pid)


class QEMU(Peer):
    """The loop in QEMU's own translator, which serves a client itself."""

    name = "qemu"

    def begin(self):
        program = tool("qemu-system-x86_64", "qemu-system-x86")
        server = self.start(
            [program, "-accel", "tcg", "-M", "microvm", "-cpu", "max", "-m", "64",
             "-display", "none", "-nodefaults", "-no-user-config",
             "-serial", f"file:{self.output.name}", "-kernel", QEMU_LOOP,
             "-gdb", f"tcp:127.0.0.1:{self.port}"])
        wait_for("\n", Path(self.output.name), server)
        return Target(self.name, self.port, QEMU_LOOP)


def available_peers(missing):
    """Those that can be had; why others cannot goes to `missing`."""
    found = []
    for kind in (GDBServer, QEMU):
        try:
            found.append(kind())
        except Failure as failure:
            missing[kind.name] = str(failure)
    return found


def available_drivers(programs, missing):
    """The drivers that work here by the workers' own probe; why others do not goes to `missing`."""
    found = []
    for driver, program in (("kvm", "hyperlight-worker"), ("emulator", "hyperlight-worker-emulator")):
        path = programs / program
        if not path.exists():
            missing[driver] = f"{path} is missing"
            continue
        answer = subprocess.run([path, "--probe", driver], text=True, stdout=subprocess.PIPE).stdout
        if "usable=yes" in answer:
            found.append(driver)
        else:
            missing[driver] = answer.strip() or "the probe failed"
    return found
