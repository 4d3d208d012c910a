"""gdb as an editor drives it: the machine interface, in the order that VS Code's cppdbg has."""

import re

from gdb import QUIET
from prompt import START_SECONDS, Prompt
from steps import Interrupted, Step

# These come back at once, and the stop is told later.
RESUMING = re.compile(r"-exec-(?!interrupt)|-target-select")
STOPPED = r"^\*stopped[^\n]*\n"


class MI(Prompt):
    """Every command has a token, and its result bears that."""

    def __init__(self, client, facts, port):
        self.token = 0
        super().__init__([client.program, "--interpreter=mi", *QUIET], port)

    def perform(self, command, seconds):
        start = len(self.terminal.output)
        if not command:
            self.terminal.wait_for(r"^\(gdb\)", START_SECONDS, start)
        elif isinstance(command, Interrupted):
            self.give(command.command, seconds, start)
            self.terminal.wait_for(command.runs, seconds, start)
            self.wait_for_run()
            self.give("-exec-interrupt", seconds, start)
            self.terminal.wait_for(STOPPED, seconds, start)
        else:
            self.give(command.replace("PORT", str(self.port)), seconds, start)
            if command == "-gdb-exit":
                self.terminal.wait_for_end(seconds)
            elif RESUMING.match(command):
                self.terminal.wait_for(STOPPED, seconds, start)
        return self.terminal.output[start:].replace("(gdb) \n", "")

    def give(self, command, seconds, start):
        self.token += 1
        self.terminal.type(f"{self.token}{command}\n")
        self.terminal.wait_for(rf"^{self.token}\^\w+.*?\n", seconds, start)


def main_session(facts):
    call = facts.line("    tick();")
    code = facts.code_of("tick", 16).hex()
    failed = [r"\^error"]
    return [
        Step("attach", ["-gdb-set mi-async on", "-enable-pretty-printing",
                        "-gdb-set disassembly-flavor intel",
                        f'-file-exec-and-symbols "{facts.file}"',
                        "-target-select remote 127.0.0.1:PORT", "-thread-info"],
             [r"\^connected", r'^\*stopped,frame=\{.*func="_start"', r'threads=\[\{id="1"'],
             forbid=failed),
        Step("registers", ["-data-list-register-names", "-data-list-register-values x"],
             [r'"rax","rbx"', r'"efer"', r'number="16",value="0x'], forbid=failed),
        Step("break-name", ["-break-insert -f tick", "-exec-continue"],
             [r'bkpt=\{number="1".*func="tick"', r'reason="breakpoint-hit".*func="tick"'],
             forbid=failed),
        Step("bt", ["-stack-info-depth", "-stack-list-frames 0 20", "-stack-list-arguments 1 0 20"],
             [r'func="tick".*func="advance".*func="step".*func="guest_main".*func="_start"',
              r'name="delta",value="1"'], forbid=failed),
        Step("print", ["-stack-select-frame 1", "-stack-list-variables --simple-values",
                       "-var-create round * *round", "-var-list-children --simple-values round",
                       "-data-evaluate-expression ticks", "-stack-select-frame 0"],
             [r'name="before",type="uint64_t",value="0"', r'numchild="4"', r'exp="sum".*value="1"',
              r'value="0"'], forbid=failed),
        Step("finish", ["-exec-finish"], [r'reason="function-finished".*func="advance"'],
             forbid=failed),
        Step("break-line", ["-break-delete 1", f'-break-insert -f {facts.source}:{call}',
                            "-exec-continue"],
             [rf'reason="breakpoint-hit".*line="{call}"'], forbid=failed),
        Step("next", ["-exec-next"], [r'reason="end-stepping-range".*func="advance"'],
             forbid=failed),
        Step("step", ["-exec-continue", "-exec-step"],
             [r'reason="end-stepping-range".*func="tick"'], forbid=failed),
        Step("stepi", ["-exec-step-instruction"], [r'reason="end-stepping-range".*func="tick"'],
             forbid=failed),
        Step("set-var", ["-exec-continue", "-gdb-set var ticks = 1000", "-exec-next",
                         "-data-evaluate-expression ticks"], [r'value="1001"'], forbid=failed),
        Step("x", ["-data-read-memory-bytes &tick 16",
                   "-data-disassemble -s &tick -e &tick+8 -- 2"],
             [rf'contents="{code}"', r'inst="push +rbp"'], forbid=failed),
        Step("hbreak", ["-break-delete", "-break-insert -h -f step", "-exec-continue"],
             [r'type="hw breakpoint"', r'reason="breakpoint-hit".*func="step"'], forbid=failed),
        Step("Ctrl-C", ["-break-delete", Interrupted("-exec-continue", r"^\*running")],
             [r'reason="signal-received",signal-name="SIGINT"|\*stopped.*signal-name="0"'],
             forbid=failed),
        Step("detach", ["-break-insert -f tick", "-exec-continue", "-target-detach"],
             [r'reason="breakpoint-hit"'], forbid=failed, leaves=True),
        Step("re-attach", ["-target-select remote 127.0.0.1:PORT", "-stack-list-frames"],
             [r'func="guest_main"'], forbid=failed),
        Step("quit", ["-gdb-exit"], leaves=True),
    ]


SESSIONS = {"counter": [main_session]}


def start(client, facts, port):
    return MI(client, facts, port)
