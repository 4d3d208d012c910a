package import LinuxSystem

/// What a stub is born with.
package struct StubDescriptors: ~Copyable {
    package let control: OwnedDescriptor
    package let worker: OwnedDescriptor
    /// Not there without `debug.port`.
    package let tcpListener: OwnedDescriptor?
    package let unixListener: OwnedDescriptor?
    /// The one file that clients may read; not there when the supervisor has none to give.
    package var symbols: SealedFile?

    package init(
        control: consuming OwnedDescriptor, worker: consuming OwnedDescriptor,
        tcpListener: consuming OwnedDescriptor?, unixListener: consuming OwnedDescriptor?,
        symbols: consuming SealedFile? = nil
    ) {
        self.control = control
        self.worker = worker
        self.tcpListener = tcpListener
        self.unixListener = unixListener
        self.symbols = symbols
    }

    /// The descriptors at the numbers of `ChildDescriptor`; nil if one that must be there is not.
    ///
    /// Call it once, before anything else is opened and before confinement: what it asks of the
    /// symbol file is forbidden afterwards.
    package static func inherited() -> StubDescriptors? {
        let numbers = ChildDescriptor.Stub.self
        guard ChildDescriptor.isOpen(ChildDescriptor.control),
            ChildDescriptor.isOpen(numbers.worker)
        else { return nil }
        return StubDescriptors(
            control: OwnedDescriptor(ChildDescriptor.control),
            worker: OwnedDescriptor(numbers.worker),
            tcpListener: optional(numbers.tcpListener),
            unixListener: optional(numbers.unixListener),
            symbols: SealedFile(inherited: numbers.symbols))
    }

    private static func optional(_ number: Int32) -> OwnedDescriptor? {
        ChildDescriptor.isOpen(number) ? OwnedDescriptor(number) : nil
    }
}
