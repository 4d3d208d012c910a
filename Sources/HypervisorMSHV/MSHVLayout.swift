/// Where things lie in what the driver exchanges with the kernel: offsets and sizes in bytes.
///
/// All numbers are little endian. Bytes that are not named here are zero on the way in.
/// - Source: Linux `include/uapi/linux/mshv.h`, `include/hyperv/hvhdk.h` and `hvhdk_mini.h`.
enum MSHVLayout {
    /// `struct mshv_create_partition_v2`; without flags an old kernel reads the first 16 bytes.
    enum CreatePartition {
        static let byteCount = 64
    }

    /// The index of a virtual processor (`struct mshv_create_vp`).
    enum CreateVP {
        static let byteCount = 4
    }

    /// `struct mshv_user_mem_region`.
    enum GuestMemory {
        static let byteCount = 32
        static let size = 0
        static let firstPage = 8
        static let host = 16
        static let flags = 24

        static let writable: UInt8 = 1
        static let executable: UInt8 = 2
    }

    /// `struct mshv_root_hvcall`.
    enum RootHypercall {
        static let byteCount = 32
        static let code = 0
        static let repetitions = 2
        static let inputByteCount = 4
        static let outputByteCount = 6
        static let status = 8
        static let input = 16
        static let output = 24
    }

    /// What a hypercall gets; the kernel fills in the partition at 0.
    enum HypercallInput {
        /// The head that register calls share: partition, processor, trust level.
        static let registersHead = 16
        static let registerName = 4
        static let registerEntry = 32
        static let registerEntryValue = 16
        static let registerValue = 16

        static let propertyByteCount = 24
        static let property = 8
        static let propertyValue = 16

        static let interceptByteCount = 24
        static let interceptAccess = 8
        static let interceptKind = 12
        static let interceptParameter = 16
    }

    /// `struct mshv_get_set_vp_state`.
    enum VPState {
        static let byteCount = 16
        static let kind = 0
        static let bufferByteCount = 4
        static let buffer = 8

        static let xsave: UInt8 = 1
    }

    /// `struct hv_vp_register_page`, mapped from the processor's descriptor at offset 0.
    enum RegisterPage {
        static let byteCount = 4096
        static let version = 0
        static let isValid = 2
        static let dirty = 4
        static let general = 8
        static let rip = 136
        static let rflags = 144
        static let segments = 256
        static let cr0 = 352
        static let cr3 = 360
        static let cr4 = 368
        static let cr8 = 376
        static let efer = 384

        /// The only layout there is.
        static let versionKnown: UInt16 = 1
    }

    /// `struct hv_message` with an intercept in it; offsets from its start.
    enum Message {
        static let byteCount = 256
        static let kind = 0
        static let payloadByteCount = 4
        static let payload = 16

        // The head of most payloads (`struct hv_x64_intercept_message_header`)
        static let instructionLength = payload + 4
        static let access = payload + 5
        static let rip = payload + 24

        // `struct hv_x64_memory_intercept_message`
        static let guestPhysical = payload + 56

        // `struct hv_x64_io_port_intercept_message`
        static let port = payload + 40
        static let portInfo = payload + 42
        static let portRAX = payload + 48

        // `struct hv_x64_exception_intercept_message`
        static let vector = payload + 40
        static let exceptionParameter = payload + 48

        // `struct hv_x64_unsupported_feature_message`, which has no head
        static let feature = payload + 4
        static let featureParameter = payload + 8
    }
}

/// A hypercall that the kernel passes on.
///
/// - Source: Microsoft Hypervisor Top Level Functional Specification, "Hypercall Reference".
enum HypercallCode: UInt16, CaseIterable {
    case setPartitionProperty = 0x45
    case installIntercept = 0x4D
    case getRegisters = 0x50
    case setRegisters = 0x51

    var name: String {
        switch self {
        case .setPartitionProperty: "set partition property"
        case .installIntercept: "install intercept"
        case .getRegisters: "get registers"
        case .setRegisters: "set registers"
        }
    }
}

/// A property of a partition.
enum PartitionProperty: UInt32, CaseIterable {
    /// What the guest sees of Hyper-V; to be set before the partition is initialised.
    case syntheticFeatures = 0x0001_0001
}

/// What can be intercepted, of what the driver uses.
enum Intercept {
    static let exception: UInt32 = 3
    /// The access mask that turns an intercept of an exception on; zero turns it off.
    static let on: UInt32 = 4
    static let off: UInt32 = 0
}

/// What a message is about.
enum MessageKind: UInt32, CaseIterable {
    case unmappedMemory = 0x8000_0000
    case memoryAccessDenied = 0x8000_0001
    case invalidRegister = 0x8000_0020
    case unrecoverableException = 0x8000_0021
    case unsupportedFeature = 0x8000_0022
    case port = 0x8001_0000
    case exception = 0x8001_0003
    case halt = 0x8001_0007
}

extension [UInt8] {
    /// The number at `offset`, or nil when it is not all there.
    func number<Number: FixedWidthInteger & UnsignedInteger>(
        at offset: Int, as: Number.Type = Number.self
    ) -> Number? {
        let byteCount = Number.bitWidth / 8
        guard offset >= 0, offset <= count - byteCount else { return nil }
        return self[offset..<offset + byteCount].reversed().reduce(0) { $0 << 8 | Number($1) }
    }

    /// Replaces the bytes at `offset` by a number; they must be there.
    mutating func put(_ number: some FixedWidthInteger, at offset: Int) {
        for index in 0..<number.bitWidth / 8 {
            self[offset + index] = UInt8(truncatingIfNeeded: number >> (8 * index))
        }
    }
}
