/// The one file that clients may read: the guest with its symbols.
///
/// Reading never waits; what is behind it cannot change or shrink.
package protocol SymbolFile: Sendable {
    /// What clients are shown as its absolute path.
    var name: String { get }
    var byteCount: UInt64 { get }
    /// Up to `byteCount` bytes from `offset` on; none at the end, nil when reading failed.
    func read(at offset: UInt64, byteCount: Int) -> [UInt8]?
}
