import GuestModel
import Testing

@Suite struct AddressTests {
    struct RangeCase: Sendable {
        let start: UInt64
        let byteCount: Int
        let isLegal: Bool
    }

    @Test(arguments: [
        RangeCase(start: 0, byteCount: 0, isLegal: true),
        RangeCase(start: 0, byteCount: Int.max, isLegal: true),
        RangeCase(start: .max, byteCount: 0, isLegal: true),
        RangeCase(start: .max, byteCount: 1, isLegal: true),
        RangeCase(start: .max, byteCount: 2, isLegal: false),
        RangeCase(start: .max - 9, byteCount: 10, isLegal: true),
        RangeCase(start: .max - 9, byteCount: 11, isLegal: false),
        RangeCase(start: 0x1000, byteCount: -1, isLegal: false),
        RangeCase(start: 0x1000, byteCount: Int.min, isLegal: false),
    ])
    func `a range never wraps around`(_ range: RangeCase) {
        let made = GuestVirtualRange(
            start: GuestVirtualAddress(range.start), byteCount: range.byteCount)
        #expect((made != nil) == range.isLegal)
    }

    @Test func `a range holds its first and last byte and no other`() throws {
        let range = try #require(
            GuestVirtualRange(start: GuestVirtualAddress(0x1000), byteCount: 16))
        #expect(range.contains(GuestVirtualAddress(0x1000)))
        #expect(range.contains(GuestVirtualAddress(0x100F)))
        #expect(!range.contains(GuestVirtualAddress(0x0FFF)))
        #expect(!range.contains(GuestVirtualAddress(0x1010)))
        #expect(!range.contains(GuestVirtualAddress(.max)))
    }

    @Test func `a range at the end of the address space holds the last byte`() throws {
        let range = try #require(GuestVirtualRange(start: GuestVirtualAddress(.max), byteCount: 1))
        #expect(range.contains(GuestVirtualAddress(.max)))
        #expect(!range.contains(GuestVirtualAddress(0)))
    }

    @Test(arguments: [
        (UInt64(0), UInt64?(0)), (1, 4096), (4096, 4096), (4097, 8192),
        (UInt64.max - 4095, UInt64.max - 4095), (UInt64.max - 4094, nil), (UInt64.max, nil),
    ])
    func `rounding up to pages says when it does not fit`(_ value: UInt64, expected: UInt64?) {
        #expect(roundedUpToGuestPage(value) == expected)
    }

    @Test(arguments: [
        (UInt64(0), UInt64(0), 0), (0x1FFF, 0x1000, 0xFFF), (.max, .max - 0xFFF, 0xFFF),
    ])
    func `an address is a page and a place in it`(_ value: UInt64, base: UInt64, offset: Int) {
        let address = GuestVirtualAddress(value)
        #expect(address.pageBase == GuestVirtualAddress(base))
        #expect(address.pageOffset == offset)
    }
}
