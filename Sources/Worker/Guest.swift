import GuestABI
import GuestModel
import Hypervisor
import LinuxSystem
import WireProtocol

/// Why a guest could not be started.
enum GuestStartError: Error, CustomStringConvertible {
    case rejected(GuestRejection)
    case memory(SystemCallError)
    case driver(HypervisorError)

    var description: String {
        switch self {
        case .rejected(let rejection): "guest rejected: \(rejection)"
        case .memory(let error): "guest memory: \(error)"
        case .driver(let error): "driver: \(error)"
        }
    }

    var exit: WorkerExit {
        switch self {
        case .rejected: .guestRejected
        case .memory: .systemError
        case .driver: .hypervisorUnusable
        }
    }
}

/// A loaded guest: machine, memory, and what the plan says of it.
final class Guest {
    let machine: any VirtualMachine
    let vcpu: any VirtualCPU
    let memory = GuestMemory()
    let plan: GuestPlan
    /// Registers as of the last time the guest stood; not valid while it runs.
    private(set) var state: VCPUState

    /// Provides memory, loads `image` and puts the vCPU at the entry point.
    init(
        _ machine: any VirtualMachine, image: Span<UInt8>, settings: WorkerSettings,
        inputs: GuestInputs
    ) throws(GuestStartError) {
        let options = GuestOptions(settings)
        let plan: GuestPlan
        do throws(GuestRejection) {
            plan = try GuestPlan(image: image, options: options)
        } catch {
            throw .rejected(error)
        }
        self.machine = machine
        self.vcpu = machine.vcpu
        self.plan = plan
        state = VCPUState()
        try Self.provideMemory(plan.regions, to: machine, memory)
        try load(image, inputs)
    }

    /// Fills memory, which is zero, and puts the vCPU at the entry point.
    private func load(_ image: Span<UInt8>, _ inputs: GuestInputs) throws(GuestStartError) {
        do throws(GuestRejection) {
            state = try plan.load(image: image, into: memory, seed: inputs.seed)
        } catch {
            throw .rejected(error)
        }
        do throws(HypervisorError) {
            try vcpu.reset()
            vcpu.translationsChanged()
            try vcpu.write(state.system)
            try vcpu.write(state.general)
            vcpu.codeChanged()
        } catch {
            throw .driver(error)
        }
    }

    /// Loads `image`, the one that it was made from, into the same memory, as if nothing had ever run.
    ///
    /// What remains is what the drivers do not take back: the time-stamp counter, the guest's own
    /// debug registers, and XCR0.
    func restart(image: Span<UInt8>, inputs: GuestInputs) throws(GuestStartError) {
        memory.zero(givingPagesBack: !machine.pinsMemory)
        try load(image, inputs)
    }

    private static func provideMemory(
        _ regions: [GuestRegion], to machine: any VirtualMachine, _ memory: GuestMemory
    ) throws(GuestStartError) {
        for region in regions {
            let host: HostMemory
            do throws(SystemCallError) {
                host = try HostMemory(byteCount: region.byteCount)
            } catch {
                throw .memory(error)
            }
            let piece = unsafe MemoryRegion(
                start: region.start, byteCount: region.byteCount,
                isGuestWritable: region.isGuestWritable, host: host.base)
            do throws(HypervisorError) {
                try memory.add(piece)
                try machine.map(piece)
            } catch {
                throw .driver(error)
            }
        }
    }

    /// What the driver can do, and of AVX whether the guest has it on at this moment.
    var capabilities: DriverCapabilities {
        guard machine.capabilities.contains(.avx) else { return machine.capabilities }
        // Who cannot show the registers has no AVX to show.
        let hasAVX = (try? vcpu.readExtendedState())?.upperYMM != nil
        return hasAVX ? machine.capabilities : machine.capabilities.subtracting(.avx)
    }

    /// Reads the registers after the guest has run.
    func refreshState() throws(HypervisorError) {
        state = try vcpu.readState()
    }

    /// Replaces the general registers of a guest that stands.
    func write(_ registers: RegisterFile) throws(HypervisorError) {
        try vcpu.write(registers)
        state.general = registers
    }

    /// Replaces everything that a client may write of a guest that stands.
    func write(_ write: StateWrite) throws(HypervisorError) {
        try self.write(write.general)
        var system = state.system
        system.fs.base = write.fsBase
        system.gs.base = write.gsBase
        system.cr2 = write.cr2
        if system != state.system {
            try vcpu.write(system)
            state.system = system
        }
        if let extended = write.extended { try vcpu.write(extended) }
    }

    /// Appends what is mapped from the start of `range` on; answers how many bytes that was.
    func read(_ range: GuestVirtualRange, appendingTo bytes: inout [UInt8]) -> Int {
        readVirtual(range, system: state.system, memory: memory, appendingTo: &bytes)
    }

    func write(_ bytes: Span<UInt8>, at address: GuestVirtualAddress) -> Bool {
        writeVirtual(bytes, at: address, system: state.system, memory: memory)
    }

    /// Where the bytes from `address` on lie, page by page, up to the first page that is not mapped.
    func pieces(at address: GuestVirtualAddress, byteCount: Int) -> [MemoryPiece] {
        var pieces: [MemoryPiece] = []
        guard let range = GuestVirtualRange(start: address, byteCount: byteCount) else {
            return pieces
        }
        var done = 0
        while done < range.byteCount {
            let next = GuestVirtualAddress(address.rawValue + UInt64(done))
            guard let place = physicalAddress(of: next) else { break }
            let count = min(byteCount - done, guestPageBytes - next.pageOffset)
            pieces.append(MemoryPiece(part: done..<done + count, place: place))
            done += count
        }
        return pieces
    }

    /// Where `address` lies in physical memory, when there is memory behind it.
    func physicalAddress(of address: GuestVirtualAddress) -> GuestPhysicalAddress? {
        translation(of: address)?.physicalAddress
    }

    func translation(of address: GuestVirtualAddress) -> Translation? {
        PageWalk.translate(address, system: state.system, memory: memory)
    }
}

/// A part of a run of bytes, and where it lies in guest physical memory.
struct MemoryPiece {
    let part: Range<Int>
    let place: GuestPhysicalAddress
}

extension GuestOptions {
    fileprivate init(_ settings: WorkerSettings) {
        self.init(
            abi: settings.abi,
            sizes: GuestMemorySizes(
                heap: settings.heap, scratch: settings.scratch, input: settings.input,
                output: settings.output),
            acceptsUnversionedGuest: settings.acceptsUnversionedGuest)
    }
}
