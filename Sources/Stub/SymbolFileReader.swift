import LinuxSystem
import SessionCore

/// The file with symbols that the supervisor gave to this stub.
final class SymbolFileReader: SymbolFile {
    let name: String
    private let file: SealedFile

    init(_ file: consuming SealedFile, name: String) {
        self.file = file
        self.name = name
    }

    var byteCount: UInt64 { UInt64(file.byteCount) }

    func read(at offset: UInt64, byteCount: Int) -> [UInt8]? {
        try? file.read(at: offset, limit: byteCount)
    }
}
