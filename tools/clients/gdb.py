"""gdb: how to speak to it, and the scripts it goes through."""

import signal

from prompt import Prompt
from steps import Interrupted, Signal, Step

WATCHPOINTS = "data watchpoints"
# Without it a driver shows no registers of x87 and SSE, and what it reads with them.
SSE = "SSE in ring 0"
QUIET = [
    "-nx", "-q", "-iex", "set pagination off", "-iex", "set confirm off", "-iex", "set width 0",
    "-iex", "set debuginfod enabled off", "-iex", "set style enabled off", "-iex",
    "set editing off", "-iex", "set startup-with-shell off",
]


class GDB(Prompt):
    mark_command = r"echo @@\144one@@\n"
    noise = ("(gdb)",)

    def __init__(self, client, facts, port):
        super().__init__([client.program, *QUIET, facts.file], port)

    def said(self, start):
        return super().said(start).replace("(gdb) ", "")


# What the stub calls the guest of the first sandbox.
PROCESS_ID = 4194305
ATTACH = "target remote 127.0.0.1:PORT"
REFUSED_WATCH = r"Could not insert hardware (read |access )?watchpoint|Cannot insert hardware"


def attach(facts):
    return Step("attach", [ATTACH, "info symbol $pc", "info registers rip"],
                [r"^_start in section \.text", r"rip +0x[0-9a-f]+"])


def main_session(facts):
    call, back = facts.line("    tick();"), facts.line("return round->sum - before;")
    code = ["0x%02x" % byte for byte in facts.code_of("tick", 16)]
    return [
        attach(facts),
        Step("registers",
             ["info registers", "print/x $cr0", "print $efer"],
             [*(rf"^{name} +" for name in "rax rbx r8 r15 eflags cs gs fs_base".split()),
              r"^\$1 = 0x[0-9a-f]{8}$", r"^\$2 = \[ .*LME.*LMA"],
             forbid=["Invalid register", "[Ee]rror"]),
        Step("more-registers", ["print $k_gs_base", "print $mxcsr"],
             # As after a reset: every exception masked.
             [r"= 0$", r"= \[ IM DM ZM OM UM PM \]$"], needs=SSE, refusal=r"= <unavailable>"),
        Step("break-name", ["break tick", "continue"],
             [r"Breakpoint 1, .*tick \(\) at .*counter\.c:"]),
        Step("bt", ["bt"],
             [r"^#0 +tick \(\)", r"^#1 .* in advance \(round=0x[0-9a-f]+, delta=1\)",
              r"^#2 .* in step \(", r"^#3 .* in guest_main \(\)", r"^#4 .* in _start \(\)"]),
        Step("print", ["print ticks", "up", "info locals", "print *round", "down"],
             [r"= 0$", r"^before = 0$", r'name = 0x[0-9a-f]+ "spring"', r"sum = 1,"]),
        Step("finish", ["finish"],
             [r"Run till exit", r"\badvance \(round=", rf"^{back}\t|^{call}\t"]),
        Step("break-line", ["delete", f"break {facts.source}:{call}", "continue"],
             [rf"Breakpoint \d+, advance \(.*counter\.c:{call}\b"]),
        Step("next", ["next"], [rf"^{back}\t"]),
        Step("step", ["continue", "step"], [r"^tick \(\) at .*counter\.c:"]),
        Step("stepi", ["set $was = $pc", "stepi", "print $pc - $was < 16 && $pc != $was",
                       "info symbol $pc"], [r"= 1$", r"^tick \+ \d+ in section"]),
        Step("set-var", ["delete", f"break {facts.source}:{back}", "continue",
                         "set var ticks = 1000", "continue", "print ticks"], [r"= 1001$"]),
        Step("set-reg", ["set $r15 = 0x1122334455667788", "maintenance flush register-cache",
                         "print/x $r15", "stepi", "print/x $r15"],
             [r"= 0x1122334455667788\n.*= 0x1122334455667788"]),
        Step("x", ["delete", "set breakpoint always-inserted on", "break *tick", "x/16xb tick",
                   "x/s names[1]", "x/3i tick"],
             [r"<tick>:\t" + r"\t".join(code[:8]), r"<tick\+8>:\t" + r"\t".join(code[8:]),
              r'"summer"', r"<tick>:\tpush +%rbp"]),
        Step("find", ["find names[0], +40, 'a', 'u', 't', 'u', 'm', 'n'"], [r"1 pattern found"]),
        Step("hbreak", ["delete", "hbreak step", "continue"],
             [r"Hardware assisted breakpoint", r"Breakpoint \d+, step \(round="]),
        Step("tbreak", ["delete", "tbreak advance", "continue"],
             [r"Temporary breakpoint \d+, advance \("]),
        Step("condition", ["set $goal = ticks + 3", "break tick if ticks == $goal", "continue",
                           "print ticks == $goal", "delete"], [r"Breakpoint \d+, ", r"= 1$"]),
        # gdb asks for the addresses in the file: of a guest that lies elsewhere there is nothing.
        Step("crc", ["break tick", "compare-sections .text", "delete"],
             [r"Section \.text, range .*: matched"] if facts.image.is_fixed
             else [r"target memory fault, section \.text"]),
        Step("watch", ["watch ticks", "continue"],
             [r"Hardware watchpoint \d+: ticks", r"Old value = \d+\nNew value = \d+"],
             needs=WATCHPOINTS, refusal=REFUSED_WATCH, cleanup=["delete"]),
        Step("rwatch", ["rwatch ticks", "continue"],
             [r"Hardware read watchpoint \d+: ticks", r"^Value = \d+"],
             needs=WATCHPOINTS, refusal=REFUSED_WATCH, cleanup=["delete"]),
        Step("awatch", ["awatch ticks", "continue"],
             [r"Hardware access \(read/write\) watchpoint \d+: ticks", r"[Vv]alue = \d+"],
             needs=WATCHPOINTS, refusal=REFUSED_WATCH, cleanup=["delete"]),
        Step("soft-watch", ["set can-use-hw-watchpoints 0", "watch ticks", "continue", "delete",
                            "set can-use-hw-watchpoints 1"],
             [r"^Watchpoint \d+: ticks", r"Old value = \d+\nNew value = \d+"]),
        Step("Ctrl-C", ["delete", Interrupted("continue", "Continuing"), "info threads"],
             [r"received signal SIGINT", r"\* 1 +Thread"]),
        Step("monitor", ["monitor help", "monitor no-such-command"],
             [r"^ +help\b", r"unknown"]),
        Step("detach", ["break tick", "continue", "detach"],
             [r"Breakpoint \d+, ", r"[Dd]etach(ed|ing from)"], leaves=True),
        Step("re-attach", [ATTACH, "bt"], [r"^#\d+ .*guest_main \(\)"]),
        Step("re-break", ["continue", "delete", "next"], [r"Breakpoint \d+, .*tick \(\)"]),
        Step("quit", ["break advance", "quit"], leaves=True),
    ]


def kill_session(facts):
    return [Step("", [ATTACH, "break tick", "continue"], [r"Breakpoint 1, "]),
            Step("kill", ["kill"], [r"Inferior 1 \(.*\) killed"], leaves=True)]


def extended_session(facts):
    return [
        Step("ext-attach", ["target extended-remote 127.0.0.1:PORT", "break tick", "continue"],
             [r"Breakpoint 1, tick \(\)"]),
        # The connection stays, so nobody else can look at the guest.
        Step("ext-detach", ["detach"], [r"[Dd]etach(ed|ing from)"]),
        Step("ext-again", [f"attach {PROCESS_ID}", "bt"], [r"^#\d+ .*guest_main \(\)"]),
        Step("ext-quit", ["quit"], leaves=True),
    ]


def file_session(facts):
    """Without a file of its own: gdb gets it from the stub."""
    return [
        Step("no-file", ["file", ATTACH, "info symbol $pc"],
             [r"No symbol file now", r"in section \.text"]),
        Step("no-file-bt", ["break tick", "continue", "bt"],
             [r"Breakpoint 1, .*tick \(\) at .*counter\.c:", r"^#\d+ .*guest_main \(\)"]),
        Step("no-file-quit", ["quit"], leaves=True),
    ]


def call_session(facts):
    """Last, since a guest that does not survive it is a guest that the others do not have."""
    return [
        Step("", [ATTACH, "break tick", "continue", "next", "delete", "set $goal = ticks + 1"],
             [r"Breakpoint 1, "]),
        Step("call", ["call tick()", "print ticks == $goal", "stepi", "detach"], [r"= 1$"],
             forbid=["SIGSEGV", "abandoned", "Could not"], leaves=True),
    ]


def disconnect_session(facts):
    return [Step("", ["set breakpoint always-inserted on", ATTACH, "break tick", "continue"],
                 [r"Breakpoint 1, "]),
            Step("disconnect", ["disconnect"], [r"Ending remote debugging"], leaves=True)]


def death_session(facts):
    return [Step("", ["set breakpoint always-inserted on", ATTACH, "break tick", "continue"],
                 [r"Breakpoint 1, "]),
            Step("death", [Signal(signal.SIGKILL)], leaves=True)]


def end_session(facts):
    """For a guest that ends."""
    return [
        attach(facts),
        Step("break-name", ["break print_line", "continue"], [r"Breakpoint 1, print_line \(text="]),
        Step("print", ["print text"], [r'"Hello from a micro-VM\."']),
        Step("finish", ["finish"], [r"Run till exit", r"guest_main \(\)"]),
        Step("exit", ["delete", "continue"], [r"exited normally"]),
        Step("quit", ["quit"]),
    ]


def symbols_session(facts):
    """For a guest without DWARF."""
    return [
        Step("attach", [ATTACH, "info symbol $pc"], [r"^entrypoint in section \.text"]),
        Step("registers", ["info registers", "print $efer", "print $mxcsr"],
             [r"^rip +0x", r"LMA", r"^\$2 = \[ IM DM ZM OM UM PM \]$"]),
        Step("break-name", ["break *hyperlight_main", "continue", "info symbol $pc"],
             [r"Breakpoint 1, ", r"^hyperlight_main in section"]),
        Step("bt", ["bt"], [r"^#0 .*hyperlight_main \(\)"]),
        Step("stepi", ["stepi", "info symbol $pc"], [r"^hyperlight_main \+ \d+ in section"]),
        Step("finish", ["delete", "finish"], [r"Run till exit"], forbid=["Cannot", "SIG"]),
        Step("x", ["x/2i hyperlight_main"], [r"<hyperlight_main>:"]),
        Step("Ctrl-C", ["delete", Interrupted("continue", "Continuing")],
             [r"received signal SIGINT"]),
        Step("detach", ["detach"], [r"[Dd]etach(ed|ing from)"], leaves=True),
        Step("re-attach", [ATTACH, "info registers rip"], [r"rip +0x"]),
        Step("quit", ["quit"], leaves=True),
    ]


SESSIONS = {
    "counter": [main_session, kill_session, disconnect_session, death_session,
                extended_session, file_session, call_session],
    "hello": [end_session],
    "wasm": [symbols_session],
}


def start(client, facts, port):
    return GDB(client, facts, port)
