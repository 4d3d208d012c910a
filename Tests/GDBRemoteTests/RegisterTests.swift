import GDBRemote
import GuestModel
import Testing

struct RegisterTests {
    private static let withAVX = RegisterLayout(hasAVX: true)
    private static let withoutAVX = RegisterLayout(hasAVX: false)

    @Test(arguments: [withoutAVX, withAVX])
    func `registers lie one behind the other without gaps`(_ layout: RegisterLayout) {
        var end = 0
        for number in 0..<UInt64(layout.registerCount) {
            let range = layout.range(of: number)
            #expect(range?.lowerBound == end)
            end = range?.upperBound ?? end
        }
        #expect(end == layout.byteCount)
        #expect(layout.range(of: UInt64(layout.registerCount)) == nil)
        #expect(layout.range(of: .max) == nil)
    }

    @Test func `a client without AVX gets 608 bytes, one with it 864`() {
        #expect(Self.withoutAVX.byteCount == 608)
        #expect(Self.withAVX.byteCount == 864)
    }

    @Test(arguments: [
        (0, 0), (7, 56), (15, 120), (16, 128), (17, 136), (18, 140), (23, 160), (24, 164),
        (31, 234), (32, 244), (39, 272), (40, 276), (55, 516), (56, 532), (57, 536), (58, 544),
        (59, 552), (60, 560), (65, 600), (66, 608), (81, 848),
    ])
    func `a register has the place that clients were seen to use`(_ number: Int, _ offset: Int) {
        #expect(Self.withAVX.range(of: UInt64(number))?.lowerBound == offset)
    }

    @Test func `what comes with the extended state is known by its number`() {
        let all = (0..<UInt64(100)).filter(Self.withAVX.isExtended)
        #expect(all == Array(24...56) + [59] + Array(66...81))
        #expect((0..<UInt64(100)).filter(Self.withoutAVX.isExtended) == Array(24...56) + [59])
        #expect(!Self.withAVX.isExtended(.max))
    }

    @Test func `every general register keeps its own value`() throws {
        for number in 0..<UInt64(17) {
            var image = RegisterImage(numbered, extended: nil, layout: Self.withoutAVX)
            try image.write(register: number, [8, 7, 6, 5, 4, 3, 2, 1])
            let after = RegisterImage(
                image.state(replacing: numbered), extended: nil, layout: Self.withoutAVX)
            let before = RegisterImage(numbered, extended: nil, layout: Self.withoutAVX)
            for other in 0..<UInt64(17) where other != number {
                #expect(text(of: other, in: after) == text(of: other, in: before))
            }
            #expect(text(of: number, in: after) == "0807060504030201")
        }
    }

    @Test(arguments: [withoutAVX, withAVX])
    func `all registers read in the order of their numbers`(_ layout: RegisterLayout) {
        let all = framed { encoder in
            encoder.start()
            RegisterImage(numbered, extended: pattern, layout: layout).append(to: &encoder)
            encoder.finish()
        }
        let single = (0..<UInt64(layout.registerCount)).map { number in
            text(of: number, in: RegisterImage(numbered, extended: pattern, layout: layout))
        }
        #expect(all.dropFirst().dropLast(3) == single.joined())
        #expect(all.utf8.count == 2 * layout.byteCount + 4)
    }

    @Test(arguments: [withoutAVX, withAVX])
    func `what is not known reads as unavailable`(_ layout: RegisterLayout) {
        let image = RegisterImage(numbered, extended: nil, layout: layout)
        #expect(text(of: 40, in: image) == String(repeating: "x", count: 32))
        #expect(text(of: 59, in: image) == String(repeating: "x", count: 16))
        if layout.hasAVX { #expect(text(of: 66, in: image) == String(repeating: "x", count: 32)) }
        let all = framed { encoder in
            encoder.start()
            image.append(to: &encoder)
            encoder.finish()
        }
        #expect(all.utf8.count == 2 * layout.byteCount + 4)
    }

    @Test func `AVX that the guest has turned off since is unavailable`() throws {
        let off = ExtendedState(fxsave: pattern.bytes, kernelGSBase: 1)
        var image = RegisterImage(numbered, extended: off, layout: Self.withAVX)
        #expect(text(of: 66, in: image) == String(repeating: "x", count: 32))
        #expect(text(of: 40, in: image).hasPrefix("a0a1"))
        #expect(throws: RegisterImage.WriteError.notWritable) {
            try image.write(register: 66, [UInt8](repeating: 0, count: 16))
        }
    }

    @Test func `the upper halves and the kernel GS base are read and written`() throws {
        var image = RegisterImage(numbered, extended: pattern, layout: Self.withAVX)
        #expect(text(of: 66, in: image) == "404142434445464748494a4b4c4d4e4f")
        #expect(text(of: 81, in: image) == "303132333435363738393a3b3c3d3e3f")
        #expect(text(of: 59, in: image) == "efcdab8967452301")
        try image.write(register: 81, [UInt8](repeating: 0xEE, count: 16))
        try image.write(register: 59, [1, 2, 3, 4, 5, 6, 7, 8])
        let after = image.extended(replacing: pattern)
        #expect(after.kernelGSBase == 0x0807_0605_0403_0201)
        #expect(after.upperYMM?.prefix(240) == pattern.upperYMM?.prefix(240))
        #expect(after.upperYMM?.suffix(16) == [UInt8](repeating: 0xEE, count: 16)[...])
        #expect(after.bytes == pattern.bytes)
    }

    @Test func `a client that was told of no AVX leaves it alone`() throws {
        var image = RegisterImage(numbered, extended: pattern, layout: Self.withoutAVX)
        try image.write(register: 40, [UInt8](repeating: 0, count: 16))
        #expect(image.extended(replacing: pattern).upperYMM == pattern.upperYMM)
    }

    @Test func `MXCSR takes the bits that the CPU has and no other`() throws {
        for (mask, expected) in [(0xFFFF, 0xFFFF), (0, 0xFFBF), (0x2_FFFF, 0x2_FFFF)]
            as [(UInt32, UInt32)]
        {
            var area = pattern.bytes
            for index in 0..<4 { area[28 + index] = UInt8(truncatingIfNeeded: mask >> (8 * index)) }
            let state = try #require(ExtendedState(fxsave: area))
            var image = RegisterImage(numbered, extended: state, layout: Self.withoutAVX)
            try image.write(register: 56, [0xFF, 0xFF, 0xFF, 0xFF])
            #expect(image.extended(replacing: state).mxcsr == expected)
        }
    }

    @Test func `selectors and control registers take only what they have`() throws {
        var image = RegisterImage(numbered, extended: nil, layout: Self.withoutAVX)
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
        var image = RegisterImage(numbered, extended: nil, layout: Self.withoutAVX)
        let before = image.bytes
        var values = before
        values[0] ^= 0xFF
        values[140] ^= 0xFF
        #expect(throws: RegisterImage.WriteError.notWritable) { try image.write(leading: values) }
        #expect(image.bytes == before)
    }

    @Test func `a short write of many registers changes the leading ones`() throws {
        var image = RegisterImage(numbered, extended: nil, layout: Self.withoutAVX)
        try image.write(leading: [UInt8](repeating: 0xEE, count: 16))
        let state = image.state(replacing: numbered)
        #expect(state.general.rax == 0xEEEE_EEEE_EEEE_EEEE)
        #expect(state.general.rbx == 0xEEEE_EEEE_EEEE_EEEE)
        #expect(state.general.rcx == numbered.general.rcx)
    }

    @Test func `fixed bits of eflags stay as the CPU has them`() throws {
        var image = RegisterImage(numbered, extended: nil, layout: Self.withoutAVX)
        try image.write(register: 17, [0xFF, 0xFF, 0xFF, 0xFF])
        #expect(image.state(replacing: numbered).general.rflags == 0x003F_7FD7)
        try image.write(register: 17, [0, 0, 0, 0])
        #expect(image.state(replacing: numbered).general.rflags == 2)
    }

    @Test func `x87 and SSE come back as they were`() {
        let image = RegisterImage(numbered, extended: pattern, layout: Self.withoutAVX)
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
        #expect(
            text(of: 34, in: RegisterImage(numbered, extended: state, layout: Self.withoutAVX))
                == "fe1f0000")
    }

    /// Registers that all differ.
    private var numbered: VCPUState {
        var state = VCPUState()
        state.system.cs.selector = 8
        state.system.cr0 = 0x8005_0033
        var image = RegisterImage(state, extended: nil, layout: Self.withoutAVX)
        let values: [UInt8] = (0..<136).map { (index: Int) in
            let register = index / 8
            return UInt8(truncatingIfNeeded: register * 16 + index % 8)
        }
        try? image.write(leading: values)
        return image.state(replacing: state)
    }

    /// An FXSAVE area in which each byte is its own offset; the stack is full of valid numbers.
    ///
    /// The upper halves of the YMM registers go on with the offsets of an XSAVE area.
    private var pattern: ExtendedState {
        var area = (0..<512).map { UInt8(truncatingIfNeeded: $0) }
        area[3] = 0
        area[4] = 0xFF
        for index in 28..<32 { area[index] = 0xFF }
        let upper = (576..<832).map { UInt8(truncatingIfNeeded: $0) }
        guard
            let state = ExtendedState(
                fxsave: area, upperYMM: upper, kernelGSBase: 0x0123_4567_89AB_CDEF)
        else { preconditionFailure("512 and 256 bytes are an extended state") }
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
    private static let withAVX = RegisterLayout(hasAVX: true)
    private static let withoutAVX = RegisterLayout(hasAVX: false)

    private func document(_ layout: RegisterLayout) -> String {
        String(decoding: TargetDescription.bytes(for: layout), as: UTF8.self)
    }

    @Test(arguments: [withoutAVX, withAVX])
    func `the registers' sizes are those of the layout`(_ layout: RegisterLayout) throws {
        let sizes = document(layout)
            .matches(of: /<reg name="\w+" bitsize="(\d+)"[^>]* regnum="(\d+)"/)
        #expect(sizes.count == layout.registerCount)
        for (index, match) in sizes.enumerated() {
            #expect(Int(match.output.2) == index)
            let bits = (layout.range(of: UInt64(index))?.count ?? 0) * 8
            #expect(Int(match.output.1) == bits)
        }
    }

    @Test func `AVX is a feature of its own, and only where the guest has it`() {
        let feature = "<feature name=\"org.gnu.gdb.i386.avx\"><reg name=\"ymm0h\" bitsize=\"128\""
        #expect(document(Self.withAVX).contains(feature))
        #expect(!document(Self.withoutAVX).contains("ymm"))
    }

    @Test(arguments: ["target", "feature", "flags", "union", "architecture"])
    func `what is opened is closed`(_ element: String) {
        let document = document(Self.withAVX)
        let opened =
            document.ranges(of: "<\(element) ").count + document.ranges(of: "<\(element)>").count
        #expect(opened > 0)
        #expect(opened == document.ranges(of: "</\(element)>").count)
    }

    @Test func `nothing in it needs escaping`() {
        #expect(!document(Self.withAVX).utf8.contains { "#$}*".utf8.contains($0) })
    }
}
