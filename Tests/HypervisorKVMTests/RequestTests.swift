import CLinux
import HypervisorKVM
import Testing

/// Against numbers written down from the kernel's interface, not computed from the same header.
struct RequestTests {
    @Test(
        arguments: [
            (.getAPIVersion, 0x0000_AE00), (.createVM, 0x0000_AE01), (.checkExtension, 0x0000_AE03),
            (.getVCPUMappingSize, 0x0000_AE04), (.getSupportedCPUID, 0xC008_AE05),
            (.setUserMemoryRegion, 0x4020_AE46), (.createVCPU, 0x0000_AE41),
            (.setMSRFilter, 0x4188_AEC6), (.run, 0x0000_AE80), (.getRegisters, 0x8090_AE81),
            (.setRegisters, 0x4090_AE82), (.getSystemRegisters, 0x8138_AE83),
            (.setSystemRegisters, 0x4138_AE84), (.setCPUID, 0x4008_AE90),
            (.setGuestDebug, 0x4048_AE9B), (.getXSave, 0x9000_AEA4), (.setXSave, 0x5000_AEA5),
            (.getExtendedControl, 0x8188_AEA6), (.getModelSpecific, 0xC008_AE88),
            (.setModelSpecific, 0x4008_AE89),
        ] as [(KVMRequest, UInt)])
    func `request codes are those of the kernel`(_ request: KVMRequest, _ code: UInt) {
        #expect(request.code == code)
    }

    @Test func `every request is needed before or after creation`() {
        #expect(Set(KVMRequest.creating + KVMRequest.running) == Set(KVMRequest.allCases))
    }

    @Test(arguments: [
        ("kvm_userspace_memory_region", MemoryLayout<kvm_userspace_memory_region>.size, 32),
        ("kvm_regs", MemoryLayout<kvm_regs>.size, 144),
        ("kvm_segment", MemoryLayout<kvm_segment>.size, 24),
        ("kvm_sregs", MemoryLayout<kvm_sregs>.size, 312),
        ("kvm_guest_debug", MemoryLayout<kvm_guest_debug>.size, 72),
        ("kvm_xsave", MemoryLayout<kvm_xsave>.size, 4096),
        ("kvm_xcrs", MemoryLayout<kvm_xcrs>.size, 392),
        ("kvm_msr_filter", MemoryLayout<kvm_msr_filter>.size, 392),
    ])
    func `structures have the kernel's size`(_ name: String, _ size: Int, _ expected: Int) {
        #expect(size == expected)
    }

    @Test func `the shared page has the kernel's layout`() {
        #expect(clinux_kvm_immediate_exit_offset() == 1)
        #expect(clinux_kvm_shared_regs_offset() == 304)
        #expect(clinux_kvm_shared_sregs_offset() == 448)
        #expect(MemoryLayout<kvm_run>.offset(of: \.exit_reason) == 8)
        #expect(MemoryLayout<kvm_run>.offset(of: \.cr8) == 16)
        #expect(MemoryLayout<kvm_run>.offset(of: \.kvm_valid_regs) == 288)
        #expect(MemoryLayout<kvm_run>.offset(of: \.kvm_dirty_regs) == 296)
    }
}
