import GuestABI
import GuestModel
import Testing

/// Broken images are refused with the place and the reason.
struct BadImageTests {
    private static let good = ImageBuilder()

    private static func image(_ change: (inout ImageBuilder) -> Void) -> [UInt8] {
        var builder = good
        change(&builder)
        return builder.bytes
    }

    private func text(_ image: [UInt8], _ options: GuestOptions) -> String? {
        do throws(GuestRejection) {
            _ = try GuestPlan(image: image.span, options: options)
            return nil
        } catch {
            return error.description
        }
    }

    private static let bareCases: [([UInt8], String)] = [
        ([], "not an ELF file"),
        (Array("#!/bin/sh\n".utf8), "not an ELF file"),
        ([0x7F, 0x45, 0x4C, 0x46], "ELF header: ends at 0x40 beyond the file (0x4)"),
        (Array(good.bytes[..<63]), "ELF header: ends at 0x40 beyond the file (0x3f)"),
        (good.bytes.patched(UInt8(1), at: 4), "a 32-bit ELF file; guests are 64-bit"),
        (good.bytes.patched(UInt8(2), at: 5), "a big-endian ELF file; guests are x86-64"),
        (image { $0.machine = 183 }, "for machine 183; guests are x86-64 (62)"),
        (
            image { $0.type = 1 },
            "ELF type 1 is neither an executable (2) nor position independent (3)"
        ),
        (Array(good.bytes[..<100]), "program headers: ends at 0x78 beyond the file (0x64)"),
        (
            good.bytes.patched(UInt64.max - 7, at: 32),
            "program headers: 0xfffffffffffffff8 plus 0x38 does not fit in 64 bits"
        ),
        (
            good.bytes.patched(UInt16(32), at: 54), "program headers: entries of 32 bytes, not 56"
        ),
        (
            good.bytes.patched(UInt16(0xFFFF), at: 56),
            "program headers: 65535 entries, the limit is 256"
        ),
        (
            good.bytes.patched(UInt16(0xFFFF), at: 60),
            "section headers: 65535 entries, the limit is 4096"
        ),
        (
            good.bytes.patched(UInt16(3), at: 60).patched(UInt64(0xFF0), at: 40),
            "section headers: ends at 0x10b0 beyond the file (0x1000)"
        ),
        (image { $0.loads = [] }, "no segment to load (PT_LOAD)"),
        (
            image { $0.loads[0].fileBytes = 0x2000 },
            "segment 0: ends at 0x2000 beyond the file (0x1000)"
        ),
        (
            image { $0.loads[0].offset = .max },
            "segment 0: 0xffffffffffffffff plus 0x1000 does not fit in 64 bits"
        ),
        (
            image { $0.loads[0].memoryBytes = 0xFFF },
            "segment 0: 0x1000 bytes in the file, only 0xfff in memory"
        ),
        (
            image { $0.loads[0].address = .max - 0xFFE },
            "segment 0: 0xfffffffffffff001 plus 0x1000 does not fit in 64 bits"
        ),
        (
            image { $0.loads.append(.init(address: 0xFFF)) },
            "segment 1: starts at 0xfff, before the previous one ends (0x1000)"
        ),
        (
            image {
                $0.loads[0].address = 0x4000
                $0.loads.append(.init(address: 0))
            },
            "segment 1: starts at 0x0, before the previous one ends (0x5000)"
        ),
        (image { $0.entry = 0x1000 }, "entry point 0x1000 lies in no segment"),
        (
            image { $0.loads[0].memoryBytes = 0x7000_0000_0000 },
            "image: 0x700000000000 bytes, the limit is 0x40000000"
        ),
        (
            image {
                $0.type = 2
                $0.loads[0].address = 0xF_FFFF_0000
                $0.entry = 0xF_FFFF_0000
            },
            "the image ends at 0xfffff1000, beyond the start of scratch memory (0xfffff0000)"
        ),
    ]

    @Test(arguments: bareCases)
    func `a broken bare image is refused in words`(image: [UInt8], expected: String) {
        var options = GuestOptions(abi: .bare)
        options.sizes.scratch = 0x10000
        #expect(text(image, options) == expected)
    }

    @Test func `the image that the broken ones are made from is accepted`() {
        #expect(text(Self.good.bytes, GuestOptions(abi: .bare)) == nil)
    }

    private static let tinyCases: [(@Sendable ([UInt8]) -> [UInt8], String)] = [
        ({ $0.patched(UInt32(5), at: 0x228) }, "relocation 0: type 5 is not R_X86_64_RELATIVE (8)"),
        (
            { $0.patched(UInt64(0x122D), at: 0x220) },
            "relocation 0: place 0x122d lies outside the image"
        ),
        (
            { $0.patched(UInt64.max, at: 0x220) },
            "relocation 0: place 0xffffffffffffffff lies outside the image"
        ),
        (
            { $0.patched(UInt8(0x38), at: 0x21B) },
            "built for Hyperlight 0.18.0; accepted: 0.17.0"
        ),
        ({ $0.patched(UInt8(0x78), at: 0x20C) }, "no Hyperlight version note; accepted: 0.17.0"),
        ({ $0.patched(UInt32.max, at: 0x200) }, "the Hyperlight version note is malformed"),
        ({ $0.patched(UInt32.max, at: 0x204) }, "the Hyperlight version note is malformed"),
        (
            { $0.patched(UInt64.max, at: 0x1088).patched(UInt64(0), at: 0x1090) },
            "no Hyperlight version note; accepted: 0.17.0"
        ),
        (
            { $0.patched(UInt64(0), at: 0x1088).patched(UInt64(0x1001), at: 0x1090) },
            "the Hyperlight version note is malformed"
        ),
        ({ $0.patched(UInt16(0), at: 60) }, "no Hyperlight version note; accepted: 0.17.0"),
        ({ $0.patched(UInt16(99), at: 62) }, "no Hyperlight version note; accepted: 0.17.0"),
        (
            { $0.patched(UInt64(0x1000), at: 0x50).patched(UInt64(0x1100), at: 0x18) },
            "the first segment lies at 0x1000; the Hyperlight ABI needs it at 0x0"
        ),
    ]

    @Test(arguments: tinyCases.indices)
    func `a broken Hyperlight image is refused in words`(index: Int) throws {
        let (change, expected) = Self.tinyCases[index]
        let image = change(try Golden.bytes("tiny-guest-elf.hex"))
        #expect(text(image, GuestOptions(abi: .hyperlight)) == expected)
    }

    @Test func `a guest without note is accepted when the options say so`() throws {
        let image = try Golden.bytes("tiny-guest-elf.hex").patched(UInt8(0x78), at: 0x20C)
        let options = GuestOptions(abi: .hyperlight, acceptsUnversionedGuest: true)
        #expect(text(image, options) == nil)
    }

    @Test func `a truncated guest is refused at every length`() throws {
        let image = try Golden.bytes("tiny-guest-elf.hex")
        for length in stride(from: 0, to: image.count, by: 61) {
            #expect(text(Array(image[..<length]), GuestOptions(abi: .hyperlight)) != nil)
        }
    }

    @Test func `no single changed byte in the headers traps`() throws {
        let image = try Golden.bytes("tiny-guest-elf.hex")
        let headers = Array(0..<0x78) + Array(0x200..<0x238) + Array(0x1000..<image.count)
        for offset in headers {
            for value: UInt8 in [0, 0x80, 0xFF] {
                let changed = image.patched(value, at: offset)
                guard
                    let plan = try? GuestPlan(
                        image: changed.span, options: GuestOptions(abi: .hyperlight)),
                    value == 0x80, plan.regions[0].byteCount < 1 << 20
                else { continue }
                _ = try? plan.load(image: changed.span, into: TestMemory(plan.regions), seed: 0)
            }
        }
    }

    @Test func `images of random numbers do not trap`() {
        var generator = SeededGenerator(state: 1)
        for _ in 0..<1000 {
            var image = Self.good.bytes
            for _ in 0..<3 {
                let offset = Int.random(in: 0x10..<0x78, using: &generator) & ~7
                image = image.patched(UInt64.random(in: 0...(.max), using: &generator), at: offset)
            }
            _ = text(image, GuestOptions(abi: .bare))
            _ = text(image, GuestOptions(abi: .hyperlight, acceptsUnversionedGuest: true))
        }
    }

    /// Several fields at once, each with a number that is easy to get wrong.
    @Test func `headers with any mixture of border values do not trap`() throws {
        var generator = SeededGenerator(state: 7)
        let image = try Golden.bytes("tiny-guest-elf.hex")
        let fields =
            Array(stride(from: 0x18, to: 0x78, by: 2))
            + Array(stride(from: 0x200, to: 0x238, by: 4))
            + Array(stride(from: 0x1030, to: 0x1130, by: 4))
        let values: [UInt64] = [
            0, 1, 2, 4, 7, 8, 9, 24, 0x1000, 0x1130, 0x1131, 0x7FFF_FFFF, 0xFFFF_FFFF,
            1 << 32, 1 << 63, .max - 7, .max,
        ]
        for _ in 0..<250 {
            var changed = image
            for _ in 0..<Int.random(in: 1...4, using: &generator) {
                let offset = fields[Int.random(in: 0..<fields.count, using: &generator)]
                let value = values[Int.random(in: 0..<values.count, using: &generator)]
                if Bool.random(using: &generator), offset + 8 <= image.count {
                    changed = changed.patched(value, at: offset)
                } else {
                    changed = changed.patched(UInt16(truncatingIfNeeded: value), at: offset)
                }
            }
            _ = text(changed, GuestOptions(abi: .hyperlight))
            _ = text(changed, GuestOptions(abi: .bare))
        }
    }

    @Test func `another file than the planned one is refused`() throws {
        let image = Self.good.bytes
        let plan = try GuestPlan(image: image.span, options: GuestOptions(abi: .bare))
        #expect(throws: GuestRejection.imageChanged(fileBytes: 0xFFF, expected: 0x1000)) {
            let shorter = Array(image[..<0xFFF])
            _ = try plan.load(image: shorter.span, into: TestMemory(plan.regions), seed: 0)
        }
    }
}

/// The same numbers in every run.
private struct SeededGenerator: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return state ^ (state >> 29)
    }
}
