import GuestModel
import Hypervisor

/// Four-level page tables as the guest has them now.
///
/// - Source: Intel SDM volume 3, "4-Level Paging".
struct PageWalk {
    let memory: GuestMemory
    /// CR3; its low twelve bits do not matter.
    let root: UInt64

    struct Translation {
        var physical: GuestPhysicalAddress
        /// Whether every level allows writing.
        var isWritable: Bool
    }

    /// Where `address` leads, or nil when something on the way is not present or not in memory.
    func translation(of address: UInt64) -> Translation? {
        var table = root & Self.frameMask
        var isWritable = true
        for level in [39, 30, 21, 12] as [UInt64] {
            let place = table + (address >> level & 0x1FF) * 8
            guard let entry = memory.readUInt64(at: .init(place)), entry & 1 != 0 else {
                return nil
            }
            isWritable = isWritable && entry & 2 != 0
            let isLeaf = level == 12 || (level < 39 && entry & 0x80 != 0)
            if isLeaf {
                let inside = (UInt64(1) << level) - 1
                let physical = (entry & Self.frameMask & ~inside) | (address & inside)
                return Translation(physical: .init(physical), isWritable: isWritable)
            }
            table = entry & Self.frameMask
        }
        return nil
    }

    /// Up to `byteCount` bytes at `address`; fewer when the next page is not there.
    func bytes(at address: UInt64, byteCount: Int) -> [UInt8] {
        var bytes: [UInt8] = []
        var next = address
        while bytes.count < byteCount, let place = translation(of: next)?.physical {
            let untilPageEnd = guestPageBytes - Int(next & UInt64(guestPageBytes - 1))
            let count = min(byteCount - bytes.count, untilPageEnd)
            guard memory.read(at: place, byteCount: count, appendingTo: &bytes) else { break }
            next &+= UInt64(count)
        }
        return bytes
    }

    private static let frameMask: UInt64 = 0x000F_FFFF_FFFF_F000
}
