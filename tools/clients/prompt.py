"""A debugger at its prompt, whichever it is."""

from steps import Interrupted, Signal
from system import Failure
from terminal import Terminal

#: The text that says that a command is done.
MARK = "@@done@@"
START_SECONDS = 30
CONTROL_C = "\x03"


class Prompt:
    """One run of a debugger, from its start to its end."""

    #: Prints the mark, and what of it no echo of the command has.
    mark_command = None
    mark = MARK
    #: What begins a line of the debugger's that says nothing.
    noise = ()

    def __init__(self, words, port):
        self.port = port
        self.terminal = Terminal(words)
        self.perform("", START_SECONDS)

    def until(self, command):
        """What to wait for before the mark: for commands that come back before they are done."""
        return None

    def perform(self, command, seconds):
        """Does one thing and waits until the debugger takes the next; what it printed."""
        start = len(self.terminal.output)
        if isinstance(command, Signal):
            self.terminal.process.send_signal(command.number)
            self.terminal.wait_for_end(seconds)
        elif command == "quit":
            self.terminal.type("quit\n")
            code = self.terminal.wait_for_end(seconds)
            if code != 0:
                raise Failure(f"the client ended with {code}")
        elif isinstance(command, Interrupted):
            self.terminal.type(command.command + "\n")
            self.terminal.wait_for(command.runs, seconds, start)
            self.wait_for_run()
            self.terminal.type(CONTROL_C)
            self.wait_for_mark(self.until(command.command), seconds, start)
        else:
            self.terminal.type(command.replace("PORT", str(self.port)) + "\n")
            self.wait_for_mark(self.until(command), seconds, start)
        return self.said(start)

    #: Waits until the guest runs; the owner knows how.
    wait_for_run = staticmethod(lambda: None)

    def wait_for_mark(self, until, seconds, start):
        if until:
            self.terminal.wait_for(until, seconds, start)
        self.terminal.type(self.mark_command + "\n")
        self.terminal.wait_for(self.mark, seconds, start)

    def said(self, start):
        lines = []
        for line in self.terminal.output[start:].splitlines():
            # What is typed ahead is shown wherever the output is at that moment.
            kept = line.replace(self.mark_command, "")
            is_typed = kept != line and not kept.strip()
            if MARK not in kept and not is_typed and kept.strip() not in self.noise:
                lines.append(kept)
        return "\n".join(lines)

    def recover(self):
        """Back to the prompt after a command that did not come back; false when that fails."""
        try:
            self.terminal.type(CONTROL_C)
            self.wait_for_mark(None, 5, len(self.terminal.output))
            return True
        except (Failure, OSError):
            return False

    def close(self):
        self.terminal.close()
