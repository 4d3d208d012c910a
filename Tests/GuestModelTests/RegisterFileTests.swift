import GuestModel
import Testing

@Suite struct RegisterFileTests {
    @Test func `each register has its own place in gdb's order`() {
        var words = RegisterFile.Words(repeating: 0)
        for index in words.indices { words[index] = UInt64(100 + index) }
        let file = RegisterFile(words: words)
        let named = [
            file.rax, file.rbx, file.rcx, file.rdx, file.rsi, file.rdi, file.rbp, file.rsp,
            file.r8, file.r9, file.r10, file.r11, file.r12, file.r13, file.r14, file.r15,
            file.rip, file.rflags,
        ]
        #expect(named == (100..<118).map(UInt64.init))
    }

    @Test func `words make the file they came from`() {
        var words = RegisterFile.Words(repeating: 0)
        for index in words.indices { words[index] = UInt64.max - UInt64(index) }
        let again = RegisterFile(words: words).words
        for index in words.indices { #expect(again[index] == words[index]) }
    }

    @Test(arguments: [(0, false), (511, false), (512, true), (513, false)])
    func `extended state is 512 bytes`(_ count: Int, isLegal: Bool) {
        let state = ExtendedState(fxsave: Array(repeating: 0, count: count))
        #expect((state != nil) == isLegal)
    }

    @Test func `long mode is 64-bit ring 0 with paging`() {
        let system = SystemRegisters.longMode(pageTable: GuestPhysicalAddress(0x5000))
        let (pagingAndProtection, longModeActive, codeIs64Bit) = (
            UInt64(0x8000_0001), UInt64(0x500), UInt16(0x2000)
        )
        #expect(system.cr0 & pagingAndProtection == pagingAndProtection)
        #expect(system.efer & longModeActive == longModeActive)
        #expect(system.cs.attributes & codeIs64Bit != 0)
        #expect(system.cs.attributes & 0x60 == 0)
        #expect(system.cr3 == 0x5000)
    }
}
