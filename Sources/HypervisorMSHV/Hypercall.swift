import CLinux
import Glibc
import Hypervisor
import LinuxSystem

/// One hypercall of those that the kernel passes on, as a value.
struct Hypercall: Hashable {
    let code: HypercallCode
    /// How many elements a repeated call is about, else zero.
    let repetitions: Int
    let input: [UInt8]
    let outputByteCount: Int

    private typealias Input = MSHVLayout.HypercallInput

    static func set(_ property: PartitionProperty, _ value: UInt64) -> Hypercall {
        var input = [UInt8](repeating: 0, count: Input.propertyByteCount)
        input.put(property.rawValue, at: Input.property)
        input.put(value, at: Input.propertyValue)
        return Hypercall(
            code: .setPartitionProperty, repetitions: 0, input: input, outputByteCount: 0)
    }

    static func interceptException(_ vector: UInt8, isOn: Bool) -> Hypercall {
        var input = [UInt8](repeating: 0, count: Input.interceptByteCount)
        input.put(isOn ? Intercept.on : Intercept.off, at: Input.interceptAccess)
        input.put(Intercept.exception, at: Input.interceptKind)
        input.put(UInt64(vector), at: Input.interceptParameter)
        return Hypercall(code: .installIntercept, repetitions: 0, input: input, outputByteCount: 0)
    }

    /// Of virtual processor 0, the only one.
    static func read(_ registers: [MSHVRegister]) -> Hypercall {
        var input = [UInt8](
            repeating: 0, count: Input.registersHead + registers.count * Input.registerName)
        for (index, register) in registers.enumerated() {
            input.put(register.rawValue, at: Input.registersHead + index * Input.registerName)
        }
        return Hypercall(
            code: .getRegisters, repetitions: registers.count, input: input,
            outputByteCount: registers.count * Input.registerValue)
    }

    /// Of virtual processor 0, the only one.
    static func write(_ values: [(MSHVRegister, RegisterValue)]) -> Hypercall {
        var input = [UInt8](
            repeating: 0, count: Input.registersHead + values.count * Input.registerEntry)
        for (index, (register, value)) in values.enumerated() {
            let place = Input.registersHead + index * Input.registerEntry
            input.put(register.rawValue, at: place)
            input.put(value.low, at: place + Input.registerEntryValue)
            input.put(value.high, at: place + Input.registerEntryValue + 8)
        }
        return Hypercall(
            code: .setRegisters, repetitions: values.count, input: input, outputByteCount: 0)
    }

    /// The values that a call of `read` gave.
    static func values(in output: [UInt8]) -> [RegisterValue] {
        stride(from: 0, to: output.count, by: Input.registerValue).map {
            RegisterValue(output.number(at: $0) ?? 0, high: output.number(at: $0 + 8) ?? 0)
        }
    }
}

/// How a hypercall ended.
///
/// - Source: Microsoft Hypervisor Top Level Functional Specification, "Hypercall Status Codes".
struct HypercallStatus: Hashable, CustomStringConvertible {
    let rawValue: UInt16

    static let success = HypercallStatus(rawValue: 0)

    var description: String {
        let number = "0x" + String(rawValue, radix: 16)
        return Self.texts[rawValue].map { "status \(number) (\($0))" } ?? "status \(number)"
    }

    private static let texts: [UInt16: String] = [
        0x02: "unknown hypercall", 0x03: "bad input", 0x04: "bad alignment", 0x05: "bad parameter",
        0x06: "access denied", 0x07: "wrong state of the partition", 0x08: "operation denied",
        0x09: "unknown property", 0x0A: "value out of range", 0x0B: "not enough memory",
        0x0D: "no such partition", 0x0E: "no such virtual processor",
        0x15: "wrong state of the virtual processor", 0x1D: "not enough resources",
        0x20: "the CPU lacks it", 0x50: "bad register value", 0x71: "failed", 0x78: "timed out",
        0x79: "still pending",
    ]
}

extension OwnedDescriptor {
    /// Makes the hypercall and gives its output.
    ///
    /// Where the hypervisor needs memory for it, older kernels give it some and say EAGAIN: then the
    /// call is made again, a bounded number of times.
    /// - Source: Linux `drivers/hv/mshv_root_main.c`, `mshv_ioctl_passthru_hvcall`.
    borrowing func hypercall(_ call: Hypercall) throws(HypervisorError) -> [UInt8] {
        var output = [UInt8](repeating: 0, count: call.outputByteCount)
        var lastErrno = EAGAIN
        for _ in 0..<hypercallAttemptsMax {
            let (result, argument) = attempt(call, &output)
            if result == -EAGAIN || result == -EINTR {
                lastErrno = -result
                continue
            }
            let status = HypercallStatus(
                rawValue: argument.number(at: MSHVLayout.RootHypercall.status) ?? 0)
            guard result >= 0, status == .success else {
                let text = status == .success ? "" : ": \(status)"
                throw .call("hypercall \(call.code.name)\(text)", errno: max(0, -result))
            }
            let done = argument.number(
                at: MSHVLayout.RootHypercall.repetitions, as: UInt16.self)
            guard done.map(Int.init) == call.repetitions else {
                throw .call(
                    "hypercall \(call.code.name): \(done ?? 0) of \(call.repetitions) done",
                    errno: 0)
            }
            return output
        }
        throw .call("hypercall \(call.code.name)", errno: lastErrno)
    }

    private borrowing func attempt(
        _ call: Hypercall, _ output: inout [UInt8]
    ) -> (result: Int32, argument: [UInt8]) {
        typealias Layout = MSHVLayout.RootHypercall
        var argument = [UInt8](repeating: 0, count: Layout.byteCount)
        argument.put(call.code.rawValue, at: Layout.code)
        argument.put(UInt16(call.repetitions), at: Layout.repetitions)
        argument.put(UInt16(call.input.count), at: Layout.inputByteCount)
        argument.put(UInt16(call.outputByteCount), at: Layout.outputByteCount)
        // SAFETY: both arrays stay in place during the call and have the lengths that are passed.
        let result = unsafe call.input.withUnsafeBytes { input in
            unsafe output.withUnsafeMutableBytes { output in
                let source = UInt64(UInt(bitPattern: input.baseAddress))
                argument.put(source, at: Layout.input)
                if call.outputByteCount > 0 {
                    let place = UInt64(UInt(bitPattern: output.baseAddress))
                    argument.put(place, at: Layout.output)
                }
                return callMSHV(.rootHypercall, &argument)
            }
        }
        return (result, argument)
    }
}

/// The kernel gives one page at a time; no call here needs many.
private let hypercallAttemptsMax = 256
