import GDBRemote
import GuestModel
import Testing

struct RegisterTests {
    @Test func `registers lie one behind the other without gaps`() {
        var end = 0
        for number in 0..<UInt64(RegisterLayout.registerCount) {
            let range = RegisterLayout.range(of: number)
            #expect(range?.lowerBound == end)
            end = range?.upperBound ?? end
        }
        #expect(end == RegisterLayout.byteCount)
        #expect(RegisterLayout.range(of: UInt64(RegisterLayout.registerCount)) == nil)
        #expect(RegisterLayout.range(of: .max) == nil)
    }

    @Test(arguments: [
        (0, 0), (7, 56), (15, 120), (16, 128), (17, 136), (18, 140), (23, 160), (24, 164),
        (31, 234), (32, 244), (39, 272), (40, 276), (55, 516), (56, 532), (57, 536), (58, 544),
        (59, 552), (60, 560), (65, 600),
    ])
    func `a register has the place that clients were seen to use`(_ number: Int, _ offset: Int) {
        #expect(RegisterLayout.range(of: UInt64(number))?.lowerBound == offset)
    }

    @Test func `every general register keeps its own value`() throws {
        for number in 0..<UInt64(17) {
            var image = RegisterImage(numbered, extended: nil)
            try image.write(register: number, [8, 7, 6, 5, 4, 3, 2, 1])
            let after = RegisterImage(image.state(replacing: numbered), extended: nil)
            let before = RegisterImage(numbered, extended: nil)
            for other in 0..<UInt64(17) where other != number {
                #expect(text(of: other, in: after) == text(of: other, in: before))
            }
            #expect(text(of: number, in: after) == "0807060504030201")
        }
    }

    @Test func `all registers read in the order of their numbers`() {
        let all = framed { encoder in
            encoder.start()
            RegisterImage(numbered, extended: pattern).append(to: &encoder)
            encoder.finish()
        }
        let single = (0..<UInt64(RegisterLayout.registerCount)).map { number in
            text(of: number, in: RegisterImage(numbered, extended: pattern))
        }
        #expect(all.dropFirst().dropLast(3) == single.joined())
        #expect(all.utf8.count == 2 * RegisterLayout.byteCount + 4)
    }

    @Test func `what is not known reads as unavailable`() {
        let image = RegisterImage(numbered, extended: nil)
        #expect(text(of: 40, in: image) == String(repeating: "x", count: 32))
        #expect(text(of: 59, in: image) == String(repeating: "x", count: 16))
        let all = framed { encoder in
            encoder.start()
            image.append(to: &encoder)
            encoder.finish()
        }
        #expect(all.utf8.count == 2 * RegisterLayout.byteCount + 4)
    }

    @Test func `selectors and control registers take only what they have`() throws {
        var image = RegisterImage(numbered, extended: nil)
        try image.write(register: 18, [0x08, 0, 0, 0])
        #expect(throws: RegisterImage.WriteError.notWritable) {
            try image.write(register: 18, [0x10, 0, 0, 0])
        }
        #expect(throws: RegisterImage.WriteError.notWritable) {
            try image.write(register: 60, [0, 0, 0, 0, 0, 0, 0, 0])
        }
        #expect(throws: RegisterImage.WriteError.wrongLength) {
            try image.write(register: 0, [0])
        }
        #expect(throws: RegisterImage.WriteError.unknownRegister) {
            try image.write(register: 66, [0])
        }
    }

    @Test func `a refused write of many registers changes none`() {
        var image = RegisterImage(numbered, extended: nil)
        let before = image.bytes
        var values = before
        values[0] ^= 0xFF
        values[140] ^= 0xFF
        #expect(throws: RegisterImage.WriteError.notWritable) { try image.write(leading: values) }
        #expect(image.bytes == before)
    }

    @Test func `a short write of many registers changes the leading ones`() throws {
        var image = RegisterImage(numbered, extended: nil)
        try image.write(leading: [UInt8](repeating: 0xEE, count: 16))
        let state = image.state(replacing: numbered)
        #expect(state.general.rax == 0xEEEE_EEEE_EEEE_EEEE)
        #expect(state.general.rbx == 0xEEEE_EEEE_EEEE_EEEE)
        #expect(state.general.rcx == numbered.general.rcx)
    }

    @Test func `fixed bits of eflags stay as the CPU has them`() throws {
        var image = RegisterImage(numbered, extended: nil)
        try image.write(register: 17, [0xFF, 0xFF, 0xFF, 0xFF])
        #expect(image.state(replacing: numbered).general.rflags == 0x003F_7FD7)
        try image.write(register: 17, [0, 0, 0, 0])
        #expect(image.state(replacing: numbered).general.rflags == 2)
    }

    @Test func `x87 and SSE come back as they were`() {
        let image = RegisterImage(numbered, extended: pattern)
        #expect(image.extended(replacing: pattern) == pattern)
        #expect(text(of: 40, in: image).hasPrefix("a0a1a2a3"))
    }

    @Test func `the tag word tells empty, zero, valid and special registers`() {
        var area = [UInt8](repeating: 0, count: 512)
        // The stack's top is physical register 6; 6 holds zero, 7 one, 0 infinity.
        area[3] = 6 << 3
        area[4] = 0b1100_0001
        area[32 + 16 + 7] = 0x80
        area[32 + 16 + 8] = 0xFF
        area[32 + 16 + 9] = 0x3F
        area[32 + 32 + 7] = 0x80
        area[32 + 32 + 8] = 0xFF
        area[32 + 32 + 9] = 0x7F
        let state = ExtendedState(fxsave: area)
        // 7: valid (0), 6: zero (1), 5 to 1: empty (3), 0: special (2).
        #expect(text(of: 34, in: RegisterImage(numbered, extended: state)) == "fe1f0000")
    }

    /// Registers that all differ.
    private var numbered: VCPUState {
        var state = VCPUState()
        state.system.cs.selector = 8
        state.system.cr0 = 0x8005_0033
        var image = RegisterImage(state, extended: nil)
        let values: [UInt8] = (0..<136).map { (index: Int) in
            let register = index / 8
            return UInt8(truncatingIfNeeded: register * 16 + index % 8)
        }
        try? image.write(leading: values)
        return image.state(replacing: state)
    }

    /// An FXSAVE area in which each byte is its own offset; the stack is full of valid numbers.
    private var pattern: ExtendedState {
        var area = (0..<512).map { UInt8(truncatingIfNeeded: $0) }
        area[3] = 0
        area[4] = 0xFF
        for index in 28..<32 { area[index] = 0xFF }
        guard let state = ExtendedState(fxsave: area) else {
            preconditionFailure("512 bytes are an extended state")
        }
        return state
    }

    private func text(of number: UInt64, in image: RegisterImage) -> String {
        var encoder = PacketEncoder()
        encoder.start()
        #expect(image.append(register: number, to: &encoder))
        return String(decoding: encoder.bytes.dropFirst(), as: UTF8.self)
    }
}

struct TargetDescriptionTests {
    private var document: String { String(decoding: TargetDescription.bytes, as: UTF8.self) }

    @Test func `the registers' sizes are those of the layout`() throws {
        let sizes = document.matches(of: /<reg name="\w+" bitsize="(\d+)"[^>]* regnum="(\d+)"/)
        #expect(sizes.count == RegisterLayout.registerCount)
        for (index, match) in sizes.enumerated() {
            #expect(Int(match.output.2) == index)
            let bits = (RegisterLayout.range(of: UInt64(index))?.count ?? 0) * 8
            #expect(Int(match.output.1) == bits)
        }
    }

    @Test(arguments: ["target", "feature", "flags", "union", "architecture"])
    func `what is opened is closed`(_ element: String) {
        let opened =
            document.ranges(of: "<\(element) ").count + document.ranges(of: "<\(element)>").count
        #expect(opened > 0)
        #expect(opened == document.ranges(of: "</\(element)>").count)
    }

    @Test func `nothing in it needs escaping`() {
        #expect(!TargetDescription.bytes.contains { "#$}*".utf8.contains($0) })
    }
}
