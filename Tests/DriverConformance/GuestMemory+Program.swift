import GuestModel
package import Hypervisor

extension GuestMemory {
    /// Puts a program of long mode into memory that begins at zero: page tables from 0x1000 on that map
    /// the first 2 MiB one to one, and the code at `address`.
    package func load(_ program: [UInt8], at address: UInt64) {
        for (place, entry) in [(0x1000, 0x2003), (0x2000, 0x3003), (0x3000, 0x83)]
            as [(UInt64, UInt64)]
        {
            _ = writeUInt64(entry, at: .init(place))
        }
        _ = write(program, at: .init(address))
    }
}
