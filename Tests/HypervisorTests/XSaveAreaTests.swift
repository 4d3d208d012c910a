import GuestModel
import Hypervisor
import Testing

struct XSaveAreaTests {
    /// What an area full of 0xA5 holds whose header says `inUse`.
    private func state(inUse: UInt8, isCompacted: Bool, mask: UInt8 = 0xA5) throws -> ExtendedState
    {
        var memory = [UInt8](repeating: 0xA5, count: 4096)
        for place in 512..<576 { memory[place] = 0 }
        for place in 28..<32 { memory[place] = mask }
        memory[512] = inUse
        memory[527] = isCompacted ? 0x80 : 0
        let state = unsafe memory.withUnsafeMutableBytes {
            unsafe XSaveArea($0).state(hasAVX: true, kernelGSBase: nil)
        }
        return try #require(state)
    }

    @Test(arguments: [true, false])
    func `what is in use is as it lies there`(_ isCompacted: Bool) throws {
        let state = try state(inUse: 0b111, isCompacted: isCompacted)
        #expect(state.bytes == [UInt8](repeating: 0xA5, count: 512))
        #expect(state.upperYMM == [UInt8](repeating: 0xA5, count: 256))
    }

    @Test(arguments: [true, false])
    func `x87 that is not in use is as after a reset`(_ isCompacted: Bool) throws {
        let bytes = try state(inUse: 0b110, isCompacted: isCompacted).bytes
        #expect(bytes[..<24] == [0x7F, 0x03] + [UInt8](repeating: 0, count: 22)[...])
        #expect(bytes[32..<160].allSatisfy { $0 == 0 })
        #expect(bytes[24..<32].allSatisfy { $0 == 0xA5 })
        #expect(bytes[160...].allSatisfy { $0 == 0xA5 })
    }

    @Test(arguments: [(true, 0x1F80), (false, 0xA5A5_A5A5)] as [(Bool, UInt32)])
    func `SSE that is not in use is as after a reset`(_ isCompacted: Bool, _ mxcsr: UInt32) throws {
        let state = try state(inUse: 0b001, isCompacted: isCompacted)
        #expect(state.bytes[160..<416].allSatisfy { $0 == 0 })
        #expect(state.bytes[..<24].allSatisfy { $0 == 0xA5 })
        #expect(state.mxcsr == mxcsr)
        #expect(state.upperYMM == [UInt8](repeating: 0, count: 256))
    }

    @Test func `what was read as after a reset is written back so, and in use`() throws {
        // All bits of MXCSR's mask, without which the CPU would refuse some.
        let fresh = try state(inUse: 0, isCompacted: true, mask: 0xFF)
        var memory = [UInt8](repeating: 0xFF, count: 4096)
        memory[512] = 0
        let again = unsafe memory.withUnsafeMutableBytes { bytes in
            let area = unsafe XSaveArea(bytes)
            area.replace(by: fresh)
            return area.state(hasAVX: true, kernelGSBase: nil)
        }
        #expect(memory[512] == 0b111)
        #expect(again == fresh)
    }
}
