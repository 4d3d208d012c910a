"""Debuggers by the Debug Adapter Protocol: lldb-dap (once lldb-vscode), and gdb's own adapter."""

import json
import os
import select
import signal
import subprocess
import time
from types import SimpleNamespace

from steps import Step
from system import Failure


class Request:
    """A request, and the event to wait for behind its answer.

    An argument "$thread", "$frame" or "$locals" is what the last answer said.
    """

    def __init__(self, command, arguments=None, event=None, waits=True):
        self.command, self.arguments = command, arguments or {}
        self.event, self.waits = event, waits

    def __str__(self):
        return f"{self.command} {json.dumps(self.arguments)}"


class Adapter:
    """An adapter, with the editor's end of its pipes."""

    def __init__(self, words, port):
        self.port = port
        self.process = subprocess.Popen(
            [str(word) for word in words], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, start_new_session=True)
        self.received = b""
        self.messages = []
        self.number = 0
        self.known = {}
        self.awaited = []

    #: Waits until the guest runs; the owner knows how.
    wait_for_run = staticmethod(lambda: None)

    @property
    def terminal(self):
        """What came, in the form of a debugger's output."""
        return SimpleNamespace(output="\n".join(json.dumps(message) for message in self.messages))

    def perform(self, request, seconds):
        first = len(self.messages)
        if request.command == "await":
            self.wait_for(lambda message: message.get("request_seq") in self.awaited, seconds, 0)
            return self.said(first)
        if request.command == "pause":
            self.wait_for_run()
        self.number += 1
        number = self.number
        arguments = json.loads(json.dumps(request.arguments).replace("PORT", str(self.port)))
        for key, value in arguments.items():
            if isinstance(value, str) and value.startswith("$"):
                arguments[key] = self.known[value]
        body = json.dumps({"seq": number, "type": "request", "command": request.command,
                           "arguments": arguments}).encode()
        self.process.stdin.write(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        self.process.stdin.flush()
        if request.waits:
            self.wait_for(lambda message: message.get("request_seq") == number, seconds, first)
        else:
            self.awaited.append(number)
        if request.event:
            # An adapter says that it is initialized when it likes to, once.
            since = 0 if request.event == "initialized" else first
            self.wait_for(lambda message: message.get("event") == request.event, seconds, since)
        if request.command == "disconnect":
            self.wait_for_end(seconds)
        return self.said(first)

    def said(self, first):
        return "\n".join(json.dumps(message) for message in self.messages[first:])

    def wait_for(self, wanted, seconds, first):
        deadline = time.monotonic() + seconds
        while not any(wanted(message) for message in self.messages[first:]):
            refused = [message for message in self.messages[first:]
                       if message.get("success") is False]
            if refused:
                raise Failure(f"{refused[0].get('command')}: {refused[0].get('message')}")
            if not self.read_some(deadline - time.monotonic()):
                raise Failure("no such message from the adapter")

    def read_some(self, seconds):
        """Reads a part of what comes; false at the end or when the time is over."""
        if seconds <= 0 or not select.select([self.process.stdout], [], [], seconds)[0]:
            return False
        data = os.read(self.process.stdout.fileno(), 65536)
        self.received += data
        while b"\r\n\r\n" in self.received:
            header, rest = self.received.split(b"\r\n\r\n", 1)
            length = int(header.rsplit(b"Content-Length:", 1)[1].split(b"\r\n")[0])
            if len(rest) < length:
                break
            self.learn(json.loads(rest[:length]))
            self.received = rest[length:]
        return bool(data)

    def learn(self, message):
        self.messages.append(message)
        body = message.get("body") or {}
        if body.get("threads"):
            self.known["$thread"] = body["threads"][0]["id"]
        if body.get("stackFrames"):
            for index, frame in enumerate(body["stackFrames"][:2]):
                self.known["$frame" if index == 0 else "$caller"] = frame["id"]
        for scope in body.get("scopes") or []:
            if scope["name"] in ("Locals", "Arguments"):
                self.known["$" + scope["name"].lower()] = scope["variablesReference"]

    def wait_for_end(self, seconds):
        deadline = time.monotonic() + seconds
        while self.process.poll() is None:
            if time.monotonic() > deadline:
                raise Failure("the adapter does not end")
            time.sleep(0.02)

    def recover(self):
        return False

    def close(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


def main_session(facts):
    is_gdb = facts.client.name.startswith("gdb")
    place = ({"target": "127.0.0.1:PORT"} if is_gdb
             else {"attachCommands": ["gdb-remote 127.0.0.1:PORT"], "stopOnEntry": True})
    call, back = facts.line("    tick();"), facts.line("return round->sum - before;")
    source = {"name": facts.source, "path": str(facts.guest.source)}
    failed = [r'"success": false']
    stack = [Request("threads"), Request("stackTrace", {"threadId": "$thread", "levels": 20})]
    return [
        Step("attach",
             [Request("initialize", {"adapterID": "hyperlight", "pathFormat": "path",
                                     "linesStartAt1": True, "columnsStartAt1": True}),
              Request("attach", {"program": facts.file, **place}, event="initialized", waits=False),
              Request("setFunctionBreakpoints", {"breakpoints": [{"name": "tick"}]}),
              Request("configurationDone"), Request("await"), Request("threads")],
             [r'"event": "initialized"', r'"threads": \[\{'], forbid=failed,
             # lldb-vscode looks for the stop sometimes before lldb has heard of it.
             race="process unloaded during launch or attach"),
        Step("break-name", [Request("continue", {"threadId": "$thread"}, event="stopped"), *stack],
             [r'"reason": "(function )?breakpoint"', r'"name": "tick(\(\))?"'], forbid=failed),
        Step("bt", stack, [r'"tick.*"advance.*"step.*"guest_main'], forbid=failed),
        Step("print", [Request("scopes", {"frameId": "$caller"}),
                       Request("variables", {"variablesReference": "$locals"}),
                       Request("evaluate", {"expression": "ticks", "frameId": "$frame"})],
             [r'"before"', r'"result": "\d+"'], forbid=failed),
        Step("finish", [Request("stepOut", {"threadId": "$thread"}, event="stopped"), *stack],
             [r'"reason": "step"', r'"name": "advance'], forbid=failed),
        Step("break-line",
             [Request("setFunctionBreakpoints", {"breakpoints": []}),
              Request("setBreakpoints", {"source": source, "breakpoints": [{"line": call}]}),
              Request("continue", {"threadId": "$thread"}, event="stopped"), *stack],
             [r'"verified": true', rf'"line": {call}\b'], forbid=failed),
        Step("next", [Request("next", {"threadId": "$thread"}, event="stopped"), *stack],
             [rf'"line": {back}\b'], forbid=failed),
        Step("step", [Request("continue", {"threadId": "$thread"}, event="stopped"),
                      Request("stepIn", {"threadId": "$thread"}, event="stopped"), *stack],
             [r'"name": "tick'], forbid=failed),
        Step("stepi", [Request("stepIn", {"threadId": "$thread", "granularity": "instruction"},
                               event="stopped"), *stack], [r'"reason": "step"'], forbid=failed),
        Step("set-var", [Request("continue", {"threadId": "$thread"}, event="stopped"), *stack,
                         Request("evaluate", {"expression": "ticks = 1000", "frameId": "$frame",
                                              "context": "watch"}),
                         Request("next", {"threadId": "$thread"}, event="stopped"), *stack,
                         Request("evaluate", {"expression": "ticks", "frameId": "$frame"})],
             [r'"result": "1001"'], forbid=failed),
        Step("Ctrl-C", [Request("setBreakpoints", {"source": source, "breakpoints": []}),
                        Request("continue", {"threadId": "$thread"}),
                        Request("pause", {"threadId": "$thread"}, event="stopped"), *stack],
             [r'"guest_main'], forbid=failed),
        Step("detach", [Request("setFunctionBreakpoints", {"breakpoints": [{"name": "tick"}]}),
                        Request("continue", {"threadId": "$thread"}, event="stopped"),
                        Request("disconnect", {"terminateDebuggee": False})],
             forbid=failed, leaves=True),
    ]


SESSIONS = {"counter": [main_session]}


def start(client, facts, port):
    if client.name.startswith("gdb"):
        quiet = ["-nx", "-q", "-iex", "set debuginfod enabled off"]
        return Adapter([client.program, *quiet, "-i=dap"], port)
    return Adapter([client.program], port)
