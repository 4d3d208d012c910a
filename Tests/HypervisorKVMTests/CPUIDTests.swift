import HypervisorKVM
import Testing

struct CPUIDTests {
    @Test(
        arguments: [
            [], [0], [1, 0], [0xFFFF_FFFF, 0], [257, 0] + Array(repeating: 0, count: 2570),
            [1, 0] + Array(repeating: 0, count: 11),
        ] as [[UInt32]])
    func `a table whose count and size disagree is refused`(_ words: [UInt32]) {
        #expect(KVMCPUIDTable(words: words) == nil)
    }

    @Test func `what a guest must not use is taken out and nothing else`() throws {
        let all = UInt32.max
        func entry(_ leaf: UInt32, _ subleaf: UInt32, _ registers: [UInt32]) -> [UInt32] {
            [leaf, subleaf, 0] + registers + [0, 0, 0]
        }
        func table(_ entries: [[UInt32]]) throws -> KVMCPUIDTable {
            let header: [UInt32] = [UInt32(entries.count), 0]
            let words = header + Array(entries.joined())
            return try #require(KVMCPUIDTable(words: words))
        }
        let full = [all, all, all, all]
        let leaves: [(UInt32, UInt32)] = [
            (0, 0), (1, 0), (7, 0), (7, 1), (0x8000_0001, 0), (0x8000_0008, 0),
        ]
        let adapted = try table(leaves.map { entry($0, $1, full) }).adapted(physicalAddressBits: 36)
        let expected = try table([
            entry(0, 0, full),
            entry(1, 0, [all, all, 0xFFDF_FFDF, all]),  // VMX, x2APIC
            entry(7, 0, [all, all, 0xFFFF_FF7F, 0xFFEF_FFFF]),  // shadow stack, IBT
            entry(7, 1, full),
            entry(0x8000_0001, 0, [all, all, 0xFFFF_FFFB, all]),  // SVM
            entry(0x8000_0008, 0, [0xFFFF_FF24, all, all, all]),
        ])
        #expect(adapted == expected)
    }
}
