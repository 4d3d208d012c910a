import LinuxSystem

/// The file that stubs of one guest read to their clients, a copy in sealed memory.
///
/// It is kept as long as the guest's worker, so that a stub which replaces another has the same.
struct SymbolFile: ~Copyable {
    let descriptor: OwnedDescriptor
    /// As clients are shown it: `/guest/counter`.
    let name: String

    init(_ descriptor: consuming OwnedDescriptor, path: String) {
        self.descriptor = descriptor
        name = Self.shownName(of: path)
    }

    /// The longest name shown, in bytes; clients need no more to tell files apart.
    static let nameBytesMax = 64
    private static let shownFolder = "/guest/"

    /// A name that says nothing about the host's folders, in characters that mean nothing to gdb's
    /// protocol, nor to a shell or a debugger's command line.
    static func shownName(of path: String) -> String {
        let last = path.split(separator: "/").last ?? ""
        let safe = last.utf8.map { isPlain($0) ? $0 : UInt8(ascii: "_") }
        let room = nameBytesMax - shownFolder.utf8.count
        let name = String(decoding: safe.prefix(room), as: UTF8.self)
        return shownFolder + (name.allSatisfy { $0 == "." } ? "symbols" : name)
    }

    private static func isPlain(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "_"),
            UInt8(ascii: "-"), UInt8(ascii: "+"):
            true
        default: false
        }
    }
}
