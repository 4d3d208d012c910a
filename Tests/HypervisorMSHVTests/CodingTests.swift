import CLinux
import GuestModel
import Hypervisor
import LinuxSystem
import Testing

@testable import HypervisorMSHV

/// What the driver writes for the kernel and reads from it; needs no hypervisor.
struct CodingTests {
    private func hex(_ text: String) -> [UInt8] {
        text.split(separator: " ").flatMap { word in
            stride(from: 0, to: word.count, by: 2).compactMap { place in
                UInt8(word.dropFirst(place).prefix(2), radix: 16)
            }
        }
    }

    @Test func `the property is set with its number and value`() {
        let call = Hypercall.set(.syntheticFeatures, 0)
        #expect(call.code == .setPartitionProperty && call.repetitions == 0)
        #expect(call.outputByteCount == 0)
        // Partition, property, reserved, value
        #expect(call.input == hex("0000000000000000 01000100 00000000 0000000000000000"))
    }

    @Test func `an intercept is turned on and off for one vector`() {
        // Partition, access, type, vector
        #expect(
            Hypercall.interceptException(1, isOn: true).input
                == hex("0000000000000000 04000000 03000000 0100000000000000"))
        #expect(
            Hypercall.interceptException(3, isOn: false).input
                == hex("0000000000000000 00000000 03000000 0300000000000000"))
    }

    @Test func `registers are read by name`() {
        let call = Hypercall.read([.rip, .dr6])
        #expect(call.repetitions == 2 && call.outputByteCount == 32)
        // Partition, processor, trust level, names
        #expect(call.input == hex("0000000000000000 00000000 00000000 10000200 04000500"))
    }

    @Test func `registers are written by name`() {
        let call = Hypercall.write([(.rax, RegisterValue(0x1122_3344_5566_7788, high: 0x99))])
        #expect(call.repetitions == 1 && call.outputByteCount == 0)
        #expect(
            call.input
                == hex(
                    "0000000000000000 00000000 00000000 00000200 000000000000000000000000 "
                        + "8877665544332211 9900000000000000"))
    }

    @Test func `values are read sixteen bytes each`() {
        let output = hex("0100000000000000 0200000000000000 0300000000000080 0000000000000000")
        #expect(
            Hypercall.values(in: output) == [
                RegisterValue(1, high: 2), RegisterValue(0x8000_0000_0000_0003),
            ])
    }

    @Test func `as many registers as are written at once fit into one page`() {
        let count = SystemRegisters().entries.count
        #expect(count == 17)
        #expect(Hypercall.write(SystemRegisters().entries).input.count == 16 + 17 * 32)
        #expect(MSHVRegister.modelSpecific.count <= 127)
    }

    @Test func `a segment has base, limit, selector and attributes`() {
        let segment = Segment(
            base: 0x1122_3344_5566_7788, limit: 0xAABB_CCDD, selector: 0x0008, attributes: 0xA09B)
        let value = RegisterValue(segment)
        #expect(value == RegisterValue(0x1122_3344_5566_7788, high: 0xA09B_0008_AABB_CCDD))
        #expect(value.segment == segment)
    }

    @Test func `a table has its limit at 6 and its base at 8`() {
        let table = DescriptorTable(base: 0x1122_3344_5566_7788, limit: 0xFEDC)
        let value = RegisterValue(table)
        #expect(value == RegisterValue(0xFEDC_0000_0000_0000, high: 0x1122_3344_5566_7788))
        #expect(value.table == table)
    }

    @Test func `an exception of the guest's is pending with its vector and parameter`() {
        #expect(
            RegisterValue.pendingException(vector: 1, parameter: 0xFFFF_4FF0)
                == RegisterValue(0x0001_0001, high: 0xFFFF_4FF0))
        #expect(RegisterValue.pendingException(vector: 3) == RegisterValue(0x0003_0001))
    }

    @Test func `control registers are written by the names that pass unmodified`() {
        let written = Set(SystemRegisters().entries.map(\.0))
        #expect(written.isSuperset(of: [.intermediateCR0, .intermediateCR3, .intermediateCR4]))
        #expect(written.isDisjoint(with: [.cr0, .cr3, .cr4]))
    }

    @Test func `every system register is read back from where it was written`() {
        var system = SystemRegisters.longMode(pageTable: .init(0x1000))
        (system.cr2, system.cr8, system.apicBase) = (2, 8, 0xFEE0_0000)
        (system.gdt, system.idt) = (.init(base: 3, limit: 4), .init(base: 5, limit: 6))
        (system.fs.base, system.gs.base, system.ldt.selector) = (7, 9, 0x28)
        let plain: [MSHVRegister: MSHVRegister] = [
            .intermediateCR0: .cr0, .intermediateCR3: .cr3, .intermediateCR4: .cr4,
        ]
        let entries = system.entries
        let names = entries.map { plain[$0.0] ?? $0.0 }
        var copy = SystemRegisters()
        copy.take(entries.map(\.1), names)
        #expect(copy == system)
        #expect(Set(names) == Set(SystemRegisters.names))
        #expect(Set(SystemRegisters.namesBesidePage).count == 6)
    }

    @Test func `memory is executable always and writable where the guest may write`() throws {
        let host = try HostMemory(byteCount: 0x3000)
        for (isWritable, flags) in [(true, "03"), (false, "02")] {
            let region = unsafe MemoryRegion(
                start: .init(0x1_2345_6000), byteCount: 0x3000, isGuestWritable: isWritable,
                host: host.base)
            let address = unsafe UInt64(UInt(bitPattern: host.base))
            var place = [UInt8](repeating: 0, count: 8)
            place.put(address, at: 0)
            let expected: [UInt8] =
                hex("0030000000000000 5634120000000000") + place + hex("\(flags) 00000000000000")
            #expect(MSHVPartition.argument(for: region) == expected)
        }
    }

    @Test func `a failed hypercall is told with its status`() {
        #expect("\(HypercallStatus(rawValue: 5))" == "status 0x5 (bad parameter)")
        #expect("\(HypercallStatus(rawValue: 0x50))" == "status 0x50 (bad register value)")
        #expect("\(HypercallStatus(rawValue: 0xABCD))" == "status 0xabcd")
    }

    // MARK: Register page

    /// A register page with a different value in every place, valid and of the known version.
    @safe private struct FilledPage {
        let page: RegisterPage
        private let base: UnsafeMutableRawPointer

        init() throws {
            guard let base = unsafe clinux_map_anonymous(4096) else {
                throw SystemCallError("mmap", code: 12)
            }
            for index in 0..<512 {
                unsafe base.storeBytes(
                    of: 0x0101_0000 + UInt64(index), toByteOffset: 8 * index, as: UInt64.self)
            }
            unsafe self.base = base
            page = unsafe RegisterPage(base: base)
            put(1, at: 0)
            put(1, at: 2)
            for offset in 4..<8 { put(0, at: offset) }
        }

        func put(_ byte: UInt8, at offset: Int) {
            unsafe base.storeBytes(of: byte, toByteOffset: offset, as: UInt8.self)
        }

        var dirty: UInt32 { unsafe base.load(fromByteOffset: 4, as: UInt32.self) }
    }

    @Test func `the page shows registers in the hardware's order`() throws {
        let page = try FilledPage().page
        var expected = RegisterFile()
        (expected.rax, expected.rcx, expected.rdx) = (0x0101_0001, 0x0101_0002, 0x0101_0003)
        (expected.rbx, expected.rsp, expected.rbp) = (0x0101_0004, 0x0101_0005, 0x0101_0006)
        (expected.rsi, expected.rdi) = (0x0101_0007, 0x0101_0008)
        (expected.r8, expected.r9, expected.r10) = (0x0101_0009, 0x0101_000A, 0x0101_000B)
        (expected.r11, expected.r12, expected.r13) = (0x0101_000C, 0x0101_000D, 0x0101_000E)
        (expected.r14, expected.r15) = (0x0101_000F, 0x0101_0010)
        (expected.rip, expected.rflags) = (0x0101_0011, 0x0101_0012)
        #expect(page.general == expected)
    }

    @Test func `the page shows segments and control registers`() throws {
        let page = try FilledPage().page
        var system = SystemRegisters()
        page.read(into: &system)
        let bases = [system.es, system.cs, system.ss, system.ds, system.fs, system.gs].map(\.base)
        #expect(
            bases == [0x0101_0020, 0x0101_0022, 0x0101_0024, 0x0101_0026, 0x0101_0028, 0x0101_002A])
        #expect(system.gs.limit == 0x0101_002B)
        #expect([system.cr0, system.cr3, system.cr4] == [0x0101_002C, 0x0101_002D, 0x0101_002E])
        #expect([system.cr8, system.efer] == [0x0101_002F, 0x0101_0030])
    }

    @Test func `the page takes what has changed and marks it`() throws {
        let filled = try FilledPage()
        let page = filled.page
        var registers = page.general
        (registers.rip, registers.rflags, registers.rax) = (1, 2, 3)
        page.write(registers, .rip)
        #expect(page.general.rip == 1 && page.general.rflags != 2 && page.general.rax != 3)
        #expect(filled.dirty == 0b0_0010)
        page.write(registers, .rflags)
        // What was marked stays marked until the hypervisor has taken it.
        #expect(filled.dirty == 0b1_0010)
        page.write(registers, .all)
        #expect(page.general == registers)
        #expect(filled.dirty == 0b1_0011)
    }

    @Test func `the page means nothing while it is not valid or of another version`() throws {
        let filled = try FilledPage()
        let page = filled.page
        #expect(page.isValid)
        filled.put(2, at: 0)
        #expect(!page.isValid)
        filled.put(1, at: 0)
        filled.put(0, at: 2)
        #expect(!page.isValid)
    }

    // MARK: Debug registers

    @Test func `armed debug registers leave no condition and the fixed bits`() {
        let image = DebugRegisterImage([
            .instruction(.init(0x4000)), .data(.write, .init(0x5004), byteCount: 4),
        ])
        // From the left: DR1 writes to four bytes, DR0; bit 10; DR1 and DR0 enabled.
        #expect(image.values == [0x4000, 0x5004, 0, 0, 0xFFFF_0FF0, 0b1101_0000 << 16 | 0x405])
        #expect(DebugRegisterImage([]).values == [0, 0, 0, 0, 0xFFFF_0FF0, 0x400])
        #expect(
            DebugRegisterImage.names.map(\.rawValue)
                == [0x5_0000, 0x5_0001, 0x5_0002, 0x5_0003, 0x5_0004, 0x5_0005])
    }
}
