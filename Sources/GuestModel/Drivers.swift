/// The hypervisors a worker can drive.
package enum DriverName: String, Hashable, Sendable, CaseIterable {
    case kvm
    case mshv
    case emulator
}

/// What a driver was seen to be able to do, by running a few instructions in a throw-away VM.
package struct DriverCapabilities: OptionSet, Hashable, Sendable {
    package let rawValue: UInt32
    package init(rawValue: UInt32) { self.rawValue = rawValue }

    /// SSE moves and arithmetic execute in ring 0.
    package static let sse = DriverCapabilities(rawValue: 1 << 0)
    /// `int3` is reported as a debug exit (and not as an emulation failure).
    package static let breakpointInstruction = DriverCapabilities(rawValue: 1 << 1)
    package static let singleStep = DriverCapabilities(rawValue: 1 << 2)
    package static let hardwareBreakpoints = DriverCapabilities(rawValue: 1 << 3)
    /// Data breakpoints in the debug registers fire.
    package static let watchpoints = DriverCapabilities(rawValue: 1 << 4)
    /// AVX executes and its registers can be shown; in what is told of a guest: it has AVX on.
    package static let avx = DriverCapabilities(rawValue: 1 << 5)

    package static let complete: DriverCapabilities = [
        .sse, .breakpointInstruction, .singleStep, .hardwareBreakpoints,
    ]

    /// A limited driver runs integer-only guests; `auto` skips it.
    package var isLimited: Bool { !isSuperset(of: .complete) }

    /// What is missing to a full driver, in words, for messages; AVX is no part of one.
    package var missingText: [String] {
        var missing: [String] = []
        if !contains(.sse) { missing.append("SSE in ring 0") }
        if !contains(.breakpointInstruction) { missing.append("int3 as a debug exit") }
        if !contains(.singleStep) { missing.append("single step") }
        if !contains(.hardwareBreakpoints) { missing.append("hardware breakpoints") }
        if !contains(.watchpoints) { missing.append("data watchpoints") }
        return missing
    }
}

extension DriverCapabilities {
    /// The set in words: "limited, lacks SSE in ring 0", "complete", "complete but for watchpoints".
    package var text: String {
        let missing = missingText.joined(separator: ", ")
        if isLimited { return "limited, lacks \(missing)" }
        return missing.isEmpty ? "complete" : "complete but for \(missing)"
    }
}

/// Which rules a guest image follows.
package enum GuestABIName: String, Hashable, Sendable, CaseIterable {
    /// Hyperlight 0.17.
    case hyperlight
    /// Any freestanding x86-64 ELF.
    case bare
}
