package import LinuxSystem

/// What a stub is born with.
package struct StubDescriptors: ~Copyable {
    package let control: OwnedDescriptor
    package let worker: OwnedDescriptor
    /// Not there without `debug.port`.
    package let tcpListener: OwnedDescriptor?
    package let unixListener: OwnedDescriptor?

    package init(
        control: consuming OwnedDescriptor, worker: consuming OwnedDescriptor,
        tcpListener: consuming OwnedDescriptor?, unixListener: consuming OwnedDescriptor?
    ) {
        self.control = control
        self.worker = worker
        self.tcpListener = tcpListener
        self.unixListener = unixListener
    }

    /// The descriptors at the numbers of `ChildDescriptor`; nil if one that must be there is not.
    ///
    /// Call it once, before anything else is opened.
    package static func inherited() -> StubDescriptors? {
        let numbers = ChildDescriptor.Stub.self
        guard ChildDescriptor.isOpen(ChildDescriptor.control),
            ChildDescriptor.isOpen(numbers.worker)
        else { return nil }
        return StubDescriptors(
            control: OwnedDescriptor(ChildDescriptor.control),
            worker: OwnedDescriptor(numbers.worker),
            tcpListener: optional(numbers.tcpListener),
            unixListener: optional(numbers.unixListener))
    }

    private static func optional(_ number: Int32) -> OwnedDescriptor? {
        ChildDescriptor.isOpen(number) ? OwnedDescriptor(number) : nil
    }
}
