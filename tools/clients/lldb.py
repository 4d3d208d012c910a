"""lldb: how to speak to it, and the scripts it goes through."""

import re
import signal

from prompt import MARK, Prompt
from steps import Interrupted, Signal, Step

WATCHPOINTS = "data watchpoints"
# Without it a driver shows no registers of x87 and SSE, and what it reads with them.
SSE = "SSE in ring 0"
STOPPED = r"stop reason = |Process \d+ exited|Process \d+ detached|^error: "
# These come back at once, and what became of the guest is told later.
RESUMING = re.compile(r"(continue|next|step|stepi|finish|gdb-remote .*|process kill|detach)$")


class LLDB(Prompt):
    # Without Python, which not every lldb finds.
    mark_command = "settings show target.arg0"
    mark = rf'\(string\) = "{MARK}"'
    noise = ("(lldb)",)

    def __init__(self, client, facts, port):
        super().__init__(
            [client.program, "--no-lldbinit", "--no-use-colors",
             "-o", "settings set auto-confirm true",
             "-o", f"settings set target.arg0 {MARK}", facts.file], port)

    def until(self, command):
        return STOPPED if RESUMING.match(command) else None

    def said(self, start):
        return super().said(start).replace("(lldb) ", "")


ATTACH = "gdb-remote 127.0.0.1:PORT"
HIT = r"stop reason = breakpoint \d+\.1\b"
REFUSED_WATCH = r"error: .*[Ww]atchpoint"


def main_session(facts):
    call, back = facts.line("    tick();"), facts.line("return round->sum - before;")
    code = " ".join("0x%02x" % byte for byte in facts.code_of("tick", 8))
    more = " ".join("0x%02x" % byte for byte in facts.code_of("tick", 16)[8:])
    return [
        Step("attach", [ATTACH, "image lookup --address $pc"],
             [r"Process \d+ stopped", r"`_start"], forbid=[r"error:"]),
        Step("registers", ["register read", "register read rip cr0 efer", "register read --all"],
             [r"\brax = 0x", r"\brip = 0x[0-9a-f]+ .*`_start", r"\bcr0 = ", r"\bfs_base = "],
             forbid=[r"error:"]),
        Step("more-registers", ["register read k_gs_base mxcsr"],
             [r"\bk_gs_base = 0x0+$", r"\bmxcsr = 0x0*1f80$"], needs=SSE, refusal=r"error:"),
        Step("break-name", ["breakpoint set --name tick", "continue"],
             [r"where = .*`tick", HIT, r"`tick at counter\.c:"], forbid=["warning:"]),
        Step("bt", ["bt"], [r"frame #0: .*`tick", r"frame #1: .*`advance", r"frame #2: .*`step",
                            r"frame #3: .*`guest_main", r"frame #4: .*`_start"]),
        Step("print", ["target variable ticks", "frame select 1", "frame variable",
                       "print *round", "frame select 0"],
             [r"ticks = 0\b", r"before = 0\b", r'"spring"', r"sum = 1\b"]),
        Step("finish", ["finish"], [r"stop reason = step out", r"`advance"]),
        Step("break-line", ["breakpoint delete 1",
                            f"breakpoint set --file {facts.source} --line {call}", "continue"],
             [HIT, rf"`advance\b.*counter\.c:{call}\b"]),
        Step("next", ["next"], [r"stop reason = step over", rf"counter\.c:{back}\b"]),
        Step("step", ["continue", "step"], [HIT, r"stop reason = step in", r"`tick"]),
        Step("stepi", ["stepi"], [r"stop reason = instruction step into", r"`tick"]),
        Step("set-var", ["breakpoint delete",
                         f"breakpoint set --file {facts.source} --line {back}", "continue",
                         "expression ticks = 1000", "continue", "target variable ticks"],
             [HIT, r"ticks = 1001\b"]),
        Step("set-reg", ["register write r15 0x1122334455667788", "stepi", "register read r15"],
             [r"r15 = 0x1122334455667788"]),
        Step("x", ["breakpoint delete", "breakpoint set --address `(unsigned long)&tick`",
                   "memory read --size 1 --format x --count 16 --num-per-line 8 "
                   "`(unsigned long)&tick`",
                   "memory read --format s `names[1]`", "disassemble --name tick"],
             [code, more, r"summer", r"pushq? +%rbp"]),
        Step("mem-write", ["memory write --size 8 `&ticks` 2000", "target variable ticks"],
             [r"ticks = 8192\b"]),
        Step("find", ["memory find --string autumn `names[0]` `names[0]+40`"],
             [r"data found at location: 0x"]),
        Step("hbreak", ["breakpoint delete", "breakpoint set --hardware --name step", "continue"],
             [HIT, r"`step"]),
        Step("tbreak", ["breakpoint delete", "breakpoint set --one-shot true --name advance",
                        "continue"],
             [r"stop reason = one-shot breakpoint", r"`advance"]),
        Step("condition", ["breakpoint delete",
                           "breakpoint set --name tick --condition 'ticks == 8200'", "continue",
                           "target variable ticks"], [HIT, r"ticks = 8200\b"]),
        Step("region", ["memory region `(unsigned long)&tick`", "memory region 0"],
             [r"\[0x[0-9a-f]+-0x[0-9a-f]+\) r[w-]x", r"---"], forbid=["error:"]),
        Step("watch", ["breakpoint delete", "watchpoint set variable ticks", "continue"],
             [r"stop reason = watchpoint \d+", r"old value: \d+", r"new value: \d+"],
             needs=WATCHPOINTS, refusal=REFUSED_WATCH,
             cleanup=["watchpoint delete"]),
        Step("rwatch", ["watchpoint set variable --watch read ticks", "continue"],
             [r"stop reason = watchpoint \d+"], needs=WATCHPOINTS, refusal=REFUSED_WATCH,
             cleanup=["watchpoint delete"]),
        Step("awatch", ["watchpoint set variable --watch read_write ticks", "continue"],
             [r"stop reason = watchpoint \d+"], needs=WATCHPOINTS, refusal=REFUSED_WATCH,
             cleanup=["watchpoint delete"]),
        Step("Ctrl-C", ["breakpoint delete", Interrupted("continue", "resuming"), "thread list"],
             [r"stop reason = signal SIGINT", r"thread #1"]),
        Step("monitor", ["process plugin packet monitor help"], [r"^ +help\b"]),
        Step("detach", ["breakpoint set --name tick", "continue", "detach"],
             [HIT, r"Process \d+ detached"], leaves=True),
        Step("re-attach", [ATTACH, "bt"], [r"frame #\d+: .*`guest_main"]),
        Step("re-break", ["continue", "next"], [HIT, r"`tick"]),
        Step("quit", ["quit"], leaves=True),
    ]


def kill_session(facts):
    return [Step("", [ATTACH, "breakpoint set --name tick", "continue"], [HIT]),
            Step("kill", ["process kill"], [r"Process \d+ exited"], leaves=True)]


def death_session(facts):
    return [Step("", [ATTACH, "breakpoint set --name tick", "continue"], [HIT]),
            Step("death", [Signal(signal.SIGKILL)], leaves=True)]


def end_session(facts):
    """For a guest that ends."""
    return [
        Step("attach", [ATTACH], [r"Process \d+ stopped", r"`_start"]),
        Step("break-name", ["breakpoint set --name print_line", "continue"], [HIT, r"`print_line"]),
        Step("print", ["frame variable text"], [r'"Hello from a micro-VM\."']),
        Step("finish", ["finish"], [r"stop reason = step out", r"`guest_main"]),
        Step("exit", ["breakpoint delete", "continue"], [r"Process \d+ exited with status = 0"]),
        Step("quit", ["quit"]),
    ]


def symbols_session(facts):
    """For a guest without DWARF."""
    return [
        Step("attach", [ATTACH], [r"Process \d+ stopped", r"`entrypoint"]),
        Step("registers", ["register read rip efer"],
             [r"\brip = 0x[0-9a-f]+ .*`entrypoint", r"efer"]),
        Step("break-name", ["breakpoint set --name hyperlight_main", "continue"],
             [HIT, r"`hyperlight_main"]),
        Step("bt", ["bt"], [r"frame #0: .*`hyperlight_main"]),
        Step("stepi", ["stepi"], [r"instruction step into", r"`hyperlight_main"]),
        Step("finish", ["breakpoint delete", "finish"], [r"stop reason = step out"]),
        Step("x", ["disassemble --name hyperlight_main --count 2"], [r"`hyperlight_main"]),
        Step("Ctrl-C", [Interrupted("continue", "resuming")], [r"stop reason = signal SIGINT"]),
        Step("detach", ["detach"], [r"Process \d+ detached"], leaves=True),
        Step("re-attach", [ATTACH, "register read rip"], [r"rip = 0x"]),
        Step("quit", ["quit"], leaves=True),
    ]


SESSIONS = {
    "counter": [main_session, kill_session, death_session],
    "hello": [end_session],
    "wasm": [symbols_session],
}


def start(client, facts, port):
    return LLDB(client, facts, port)
