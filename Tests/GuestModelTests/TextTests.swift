import GuestModel
import Testing

@Suite struct TextTests {
    @Test(arguments: [
        (GuestCrash.tripleFault, "triple fault"),
        (
            .unmappedAccess(GuestPhysicalAddress(0x1F), .write),
            "write of guest physical address 0x1f that it may not touch"
        ),
        (.unmappedFetch(GuestVirtualAddress(0)), "jump to 0x0 where no memory is"),
        (
            .unsupportedInstruction(bytes: [0x0F, 0x0B]),
            "instruction this driver cannot execute: 0f 0b"
        ),
        (.unexpectedPort(7), "access to unknown port 7"),
        (.aborted(code: 3, text: "out of memory"), "abort with code 3: out of memory"),
    ])
    func `a crash is described in one line`(_ crash: GuestCrash, text: String) {
        #expect(crash.description == text)
    }

    @Test func `a driver is limited until nothing of a full one is missing`() {
        #expect(DriverCapabilities([]).isLimited)
        #expect(!DriverCapabilities.complete.isLimited)
        #expect(DriverCapabilities.complete.missingText == ["data watchpoints"])
        #expect(DriverCapabilities([]).missingText.count == 5)
    }
}
