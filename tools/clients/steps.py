"""What a step of a script is, and what the scripts know of the guest they run on."""

from dataclasses import dataclass, field

from system import Failure


@dataclass(frozen=True)
class Interrupted:
    """A command that lets the guest run, and Ctrl-C once the client says that it does."""

    command: str
    runs: str


@dataclass(frozen=True)
class Signal:
    """A signal for the client itself."""

    number: int


@dataclass(frozen=True)
class Step:
    """Commands, and what the client must print for them."""

    name: str
    commands: list
    #: Patterns that all have to be in what was printed.
    expect: list = field(default_factory=list)
    #: Patterns that must not be in it.
    forbid: list = field(default_factory=list)
    #: What the driver must be able to do, in the words of --check. Where it is not, a refusal is
    #: what has to come.
    needs: str = None
    refusal: str = None
    #: Commands that follow whatever came.
    cleanup: list = field(default_factory=list)
    #: What a client says that lost a race within itself; its session begins anew then.
    race: str = None
    #: Whether the guest has to be found at work, with its own code, after the step.
    leaves: bool = False


@dataclass(frozen=True)
class Outcome:
    """What came of a step: ok, FAIL, n.a. or skip; with a text for people."""

    word: str
    text: str = ""


class Facts:
    """Places in a guest that the scripts speak of."""

    def __init__(self, guest, client):
        self.guest, self.client = guest, client
        self.image = guest.image
        self.file = str(guest.image.path)
        if guest.source is None:
            return
        self.lines = guest.source.read_text(encoding="utf-8").splitlines()
        self.source = guest.source.name

    def line(self, text):
        for number, line in enumerate(self.lines, 1):
            if text in line:
                return number
        raise Failure(f"{self.guest.source} has no line with {text!r}")

    def code_of(self, symbol, count):
        return self.image.bytes_at(self.image.symbols[symbol], count)
