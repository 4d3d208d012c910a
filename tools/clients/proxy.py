"""A proxy between client and stub that writes down what they say.

The notation is that of Tests/GDBRemoteTests/Golden: "> " client to stub, "< " stub to client, "$"
begins a body, \\xNN is a byte that is no text, "#" a comment.
"""

import re
import selectors
import socket
import threading


class Frames:
    """Cuts one direction into what its notation has as lines."""

    def __init__(self):
        self.rest = b""

    def feed(self, data):
        self.rest += data
        lines = []
        while self.rest:
            if self.rest[:1] != b"$":
                end = 1
                # Text that is no packet stays together; acknowledgments and Ctrl-C stand alone.
                if self.rest[0] not in b"+-\x03":
                    end = len(re.match(rb"[^+\-\x03$]*", self.rest, re.DOTALL).group())
                lines.append(text(self.rest[:end]))
                self.rest = self.rest[end:]
                continue
            end = self.rest.find(b"#")
            if end < 0 or len(self.rest) < end + 3:
                break
            lines.append("$" + text(self.rest[1:end]))
            self.rest = self.rest[end + 3:]
        return lines


def text(data):
    """Bytes as text; a backslash is a code too, so that there is one reading only."""
    return "".join(chr(byte) if 32 <= byte < 127 and byte != 0x5c else f"\\x{byte:02x}"
                   for byte in data)


class Proxy:
    """Listens on a port of its own; each connection becomes one to `port`."""

    def __init__(self, port):
        self.target = port
        self.lines = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def note(self, comment):
        self.lines.append("# " + text(comment.encode()))

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.relay, args=(client,), daemon=True).start()

    def relay(self, client):
        try:
            stub = socket.create_connection(("127.0.0.1", self.target))
        except OSError as error:
            self.lines.append(f"# refused: {error}")
            client.close()
            return
        for side in (client, stub):
            side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with client, stub, selectors.DefaultSelector() as selector:
            selector.register(client, selectors.EVENT_READ, (stub, "> ", Frames()))
            selector.register(stub, selectors.EVENT_READ, (client, "< ", Frames()))
            while True:
                for key, _ in selector.select():
                    other, mark, frames = key.data
                    try:
                        data = key.fileobj.recv(65536)
                        # Written down first: what follows from it comes later in the file.
                        self.lines += [mark + line for line in frames.feed(data)]
                        if data:
                            other.sendall(data)
                    except OSError:
                        data = b""
                    if not data:
                        self.lines.append("# end of the connection by the "
                                          + ("client" if mark == "> " else "stub"))
                        return

    def close(self):
        self.listener.close()
