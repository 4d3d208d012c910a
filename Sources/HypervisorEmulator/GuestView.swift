import CUnicorn
import GuestModel
import Hypervisor

/// Guest memory as the vCPU's page tables show it at this moment.
struct GuestView {
    private let memory: GuestMemory
    private let system: SystemRegisters

    init(_ memory: GuestMemory, control: cunicorn_control) {
        self.memory = memory
        system = SystemRegisters(control: control)
    }

    /// Where `address` leads, or nil when it is not mapped.
    func translation(of address: UInt64) -> Translation? {
        PageWalk.translate(.init(address), system: system, memory: memory)
    }

    /// Up to `byteCount` bytes at `address`; fewer when the next page is not there.
    func bytes(at address: UInt64, byteCount: Int) -> [UInt8] {
        // The last byte of the address space is the last that can be asked for.
        let left = Int(clamping: UInt64.max - address)
        let count = min(byteCount, left == .max ? left : left + 1)
        guard let range = GuestVirtualRange(start: .init(address), byteCount: count) else {
            return []
        }
        var bytes: [UInt8] = []
        _ = readVirtual(range, system: system, memory: memory, appendingTo: &bytes)
        return bytes
    }

    /// Up to `byteCount` bytes of code at `address`; fewer when the next page may not be executed.
    func code(at address: UInt64, byteCount: Int) -> [UInt8] {
        guard isExecutable(address) else { return [] }
        let left = guestPageBytes - GuestVirtualAddress(address).pageOffset
        let isWhole = byteCount <= left || isExecutable(address &+ UInt64(left))
        return bytes(at: address, byteCount: isWhole ? byteCount : left)
    }

    private func isExecutable(_ address: UInt64) -> Bool {
        translation(of: address)?.isExecutable == true
    }

    /// The little-endian word at an address of any alignment.
    func word(at address: UInt64) -> UInt64? {
        let bytes = bytes(at: address, byteCount: 8)
        guard bytes.count == 8 else { return nil }
        return bytes.reversed().reduce(0) { $0 << 8 | UInt64($1) }
    }
}
