import GuestModel

/// General registers, and memory around RIP and from RSP on.
struct DumpReport {
    let state: VCPUState
    /// Memory at an address, with the bytes under breakpoints in place; fewer where less is mapped.
    let memory: (_ start: GuestVirtualAddress, _ byteCount: Int) -> [UInt8]

    private static let stackLines = 8
    private static let stackLineBytes = 32
    private static let codeLineBytes = 16

    func appendRegisters(to report: inout Report) {
        let names = [
            "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp", "r8", "r9", "r10", "r11", "r12",
            "r13", "r14", "r15", "rip", "rflags",
        ]
        let words = state.general.words
        for start in stride(from: 0, to: words.count, by: 3) {
            let row = (start..<min(start + 3, words.count)).map {
                names[$0].padded(to: 6) + " " + words[$0].digits
            }
            report.line(row.joined(separator: "  "))
        }
    }

    func appendCode(to report: inout Report) {
        let start = state.general.rip
        let bytes = memory(GuestVirtualAddress(start), 2 * Self.codeLineBytes)
        guard !bytes.isEmpty else { return report.line("nothing is mapped at rip \(start.hex)") }
        for offset in stride(from: 0, to: bytes.count, by: Self.codeLineBytes) {
            let row = bytes[offset..<min(offset + Self.codeLineBytes, bytes.count)]
            report.line(
                (start &+ UInt64(offset)).digits + ": "
                    + row.map(\.digits).joined(separator: " "))
        }
    }

    func appendStack(to report: inout Report) {
        let start = state.general.rsp
        let bytes = memory(GuestVirtualAddress(start), Self.stackLines * Self.stackLineBytes)
        guard bytes.count >= 8 else { return report.line("nothing is mapped at rsp \(start.hex)") }
        for offset in stride(from: 0, to: bytes.count, by: Self.stackLineBytes) {
            let row = stride(from: offset, to: offset + Self.stackLineBytes, by: 8)
                .filter { $0 + 8 <= bytes.count }
                .map { word in
                    bytes[word..<word + 8].reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
                }
            report.line(
                (start &+ UInt64(offset)).digits + ": "
                    + row.map(\.digits).joined(separator: " "))
        }
    }
}
