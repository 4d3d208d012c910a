import CLinux

package import Hypervisor
package import LinuxSystem

/// What CPUID answers in a guest: `struct kvm_cpuid2` as 32-bit words.
///
/// Reading it from the device is slow (0.6 ms where KVM is nested); one table serves every machine.
/// - Source: Linux `api.rst`, "KVM_GET_SUPPORTED_CPUID"; Intel SDM volume 2, "CPUID".
package struct KVMCPUIDTable: Hashable, Sendable {
    /// KVM refuses longer tables.
    package static let entriesMax = 256

    private static let headerWords = 2
    private static let entryWords = 10

    /// Count, padding, then ten words an entry: leaf, subleaf, flags, EAX, EBX, ECX, EDX, padding.
    package private(set) var words: [UInt32]

    /// Nil unless the words are one table with the number of entries it says.
    package init?(words: [UInt32]) {
        guard let count = words.first, count <= UInt32(Self.entriesMax),
            words.count == Self.headerWords + Int(count) * Self.entryWords
        else { return nil }
        self.words = words
    }

    /// What KVM on this machine can offer.
    package init(supportedBy device: borrowing OwnedDescriptor) throws(HypervisorError) {
        var words = [UInt32](
            repeating: 0, count: Self.headerWords + Self.entriesMax * Self.entryWords)
        words[0] = UInt32(Self.entriesMax)
        try Self.call(device, .getSupportedCPUID, &words)
        let count = min(Int(words[0]), Self.entriesMax)
        self.words = Array(words.prefix(Self.headerWords + count * Self.entryWords))
    }

    /// Makes this table the one of a vCPU that has not run yet.
    func install(on vcpu: borrowing OwnedDescriptor) throws(HypervisorError) {
        var words = words
        try Self.call(vcpu, .setCPUID, &words)
    }

    /// Without nested virtualisation, x2APIC and control-flow enforcement, and with this many
    /// physical address bits.
    package func adapted(physicalAddressBits: UInt8) -> KVMCPUIDTable {
        var table = self
        var start = Self.headerWords
        while start < words.count {
            table.adaptEntry(at: start, physicalAddressBits: physicalAddressBits)
            start += Self.entryWords
        }
        return table
    }

    private mutating func adaptEntry(at start: Int, physicalAddressBits: UInt8) {
        let (eax, ecx, edx) = (start + 3, start + 5, start + 6)
        switch (words[start], words[start + 1]) {
        case (1, _):
            words[ecx] &= ~(1 << 5 | 1 << 21)
        case (7, 0):
            words[ecx] &= ~(1 << 7)
            words[edx] &= ~(1 << 20)
        case (0x8000_0001, _):
            words[ecx] &= ~(1 << 2)
        case (0x8000_0008, _):
            words[eax] = words[eax] & ~0xFF | UInt32(physicalAddressBits)
        default:
            break
        }
    }

    private static func call(
        _ descriptor: borrowing OwnedDescriptor, _ request: KVMRequest, _ words: inout [UInt32]
    ) throws(HypervisorError) {
        let number = descriptor.rawValue
        // SAFETY: the array holds the entries that its first word counts (both initialisers see to
        // that); the kernel reads or writes no more.
        let result = unsafe words.withUnsafeMutableBytes { bytes in
            unsafe clinux_ioctl(number, request.code, bytes.baseAddress)
        }
        try checkedKVM(result, request)
    }
}
