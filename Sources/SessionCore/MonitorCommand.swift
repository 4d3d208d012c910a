import GuestModel
import WireProtocol

/// What a user typed after `monitor`.
enum MonitorCommand: Hashable {
    case help
    /// Whether this connection's addresses are physical ones from now on.
    case memory(isPhysical: Bool)
    case inspect(Inspection)
    /// Not understood; the words say what would be.
    case mistake(String)

    /// Most characters that are looked at: no command is nearly as long.
    private static let charactersMax = 64

    init(_ text: [UInt8]) {
        let words = String(decoding: text.prefix(Self.charactersMax), as: UTF8.self)
            .split(separator: " ").map(String.init)
        switch words.first {
        case nil, "help": self = .help
        case "status" where words.count == 1: self = .inspect(.status)
        case "exits" where words.count == 1: self = .inspect(.exits)
        case "regs" where words.count == 1: self = .inspect(.registers)
        case "regions" where words.count == 1: self = .inspect(.regions)
        case "hostcalls" where words.count == 1: self = .inspect(.hostCalls)
        case "dump" where words.count == 1: self = .inspect(.dump)
        case "translate": self = Self.translate(words.dropFirst())
        case "mem": self = Self.memory(words.dropFirst())
        default: self = .mistake("unknown command; try 'monitor help'\n")
        }
    }

    /// Whether the guest must stand before this can be answered.
    var needsGuest: Bool {
        if case .inspect = self { true } else { false }
    }

    private static func translate(_ words: ArraySlice<String>) -> MonitorCommand {
        let usage = "usage: monitor translate ADDRESS (hexadecimal)\n"
        guard words.count == 1, let word = words.first else { return .mistake(usage) }
        let digits = word.hasPrefix("0x") ? word.dropFirst(2) : word[...]
        // A number that Swift would take with a sign is not one here.
        guard digits.allSatisfy(\.isHexDigit), let address = UInt64(digits, radix: 16) else {
            return .mistake(usage)
        }
        return .inspect(.translate(GuestVirtualAddress(address)))
    }

    private static func memory(_ words: ArraySlice<String>) -> MonitorCommand {
        switch words {
        case ["phys"]: .memory(isPhysical: true)
        case ["virt"]: .memory(isPhysical: false)
        default: .mistake("usage: monitor mem phys|virt\n")
        }
    }

    static let helpLines = [
        "Commands of this stub:\n",
        "  status          what the guest does, and why\n",
        "  exits           the last exits of the vCPU\n",
        "  regs            control registers, tables and segments in words\n",
        "  translate ADDR  the walk of the guest's page tables for one address\n",
        "  regions         what is mapped where\n",
        "  hostcalls       the last calls of host functions\n",
        "  dump            all of it, with the code at RIP and the top of the stack\n",
        "  mem phys|virt   what addresses mean from now on: physical or virtual\n",
        "  help            this list\n",
    ]
}
