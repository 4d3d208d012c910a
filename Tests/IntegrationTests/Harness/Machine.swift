import CLinux
import Foundation
import Testing

/// Where this build's programs and guests are, and what the machine offers.
enum Machine {
    /// The folder of the package, found from where this source file was compiled.
    static let packageRoot: String = {
        var root = URL(fileURLWithPath: #filePath)
        for _ in 0..<4 { root.deleteLastPathComponent() }
        return root.path
    }()

    /// Next to the test bundle, unless `HYPERLIGHT_PROGRAMS` names another folder.
    static let programFolder: String = {
        if let named = ProcessInfo.processInfo.environment["HYPERLIGHT_PROGRAMS"] { return named }
        let bundle = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath()
        let folder = bundle.deletingLastPathComponent().path
        let supervisor = folder + "/hyperlight-supervisor"
        let isThere = FileManager.default.isExecutableFile(atPath: supervisor)
        return isThere ? folder : packageRoot + "/.build/debug"
    }()

    /// Whether tests run too that take longer than a few seconds each: `tools/test --soak`.
    static let runsLongTests =
        ProcessInfo.processInfo.environment["HYPERLIGHT_LONG_TESTS"] != nil

    /// Whether a program may have mounts of its own, as root mostly may.
    static let hasOwnMounts: Bool = {
        let words = ["--mount", "mount", "--make-rprivate", "/"]
        guard let program = try? RunningProgram("unshare", words) else { return false }
        defer { program.end() }
        return (try? program.waitForEnd(.seconds(5))) == .exit(0)
    }()

    static let hasLandlock = clinux_landlock_abi() > 0

    /// Whether the programs under test have a sanitizer in them: `tools/test --sanitize`.
    static let isSanitized = ProcessInfo.processInfo.environment["HYPERLIGHT_SANITIZED"] != nil

    /// How many times longer the same work may take; a sanitizer checks each access to memory.
    static let slowness = isSanitized ? 5.0 : 1

    /// How many times more memory the same work may take: a sanitizer puts zones around each piece,
    /// notes down who used it, and keeps it for a while when it was freed.
    static let appetite = isSanitized ? 4 : 1

    private static let guestFolder =
        ProcessInfo.processInfo.environment["HYPERLIGHT_GUESTS"] ?? packageRoot + "/.build/guests"

    /// The stand-in for the Microsoft hypervisor, which workers load; nil when there is none.
    static let mshvShim: String? = ProcessInfo.processInfo.environment["HYPERLIGHT_MSHV_SHIM"]

    static func program(_ name: String) -> String { programFolder + "/" + name }

    static func guest(_ name: String) -> String { guestFolder + "/" + name }

    /// The wasm runtime guest that set-up fetches, or nil before set-up.
    static let wasmRuntime: String? = {
        let candidates = [guestFolder + "/../../.deps/guests", packageRoot + "/.deps/guests"]
        return candidates.map { $0 + "/wasm-runtime" }
            .first { FileManager.default.isReadableFile(atPath: $0) }
    }()
}

/// The drivers that tests with a debugger run on.
enum Driver: String, CaseIterable, Sendable, CustomTestStringConvertible {
    case kvm
    case mshv
    case emulator

    var testDescription: String { rawValue }

    /// Those this machine has; the emulator is always there.
    static let present = allCases.filter(\.isPresent)

    /// Enough for what concerns the stub alone: the stand-in for MSHV takes part in long runs only.
    static let sample = present.filter {
        $0 != .mshv || Machine.mshvShim == nil || Machine.runsLongTests
    }

    /// How many times longer steps may take: the stand-in for MSHV makes many requests for each.
    var slowness: Double { self == .mshv && Machine.mshvShim != nil ? 4 : 1 }

    /// Whether a worker may have the one thread that the kernel makes for a machine of KVM.
    ///
    /// The stand-in for MSHV is one.
    var hasKernelThread: Bool { self == .kvm || self == .mshv && Machine.mshvShim != nil }

    var isPresent: Bool {
        switch self {
        case .kvm: access("/dev/kvm", R_OK | W_OK) == 0
        // By the real device, or by the stand-in, which needs KVM.
        case .mshv:
            access("/dev/mshv", R_OK | W_OK) == 0 || Machine.mshvShim != nil && Driver.kvm.isPresent
        case .emulator: true
        }
    }
}

/// Something the harness waited for and did not see, with what it saw instead.
struct HarnessError: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}

/// A point in time after which waiting makes no sense any more.
struct Deadline {
    private let end: ContinuousClock.Instant

    static func after(_ duration: Duration) -> Deadline {
        Deadline(end: ContinuousClock.now + duration)
    }

    var isOver: Bool { ContinuousClock.now >= end }
    var date: Date { Date(timeIntervalSinceNow: max(0, seconds)) }
    var milliseconds: Int32 { Int32(clamping: Int(max(0, seconds) * 1000) + 1) }

    private var seconds: Double { (end - ContinuousClock.now) / .seconds(1) }

    /// Asks `condition` again and again, at least every millisecond, until it holds.
    static func wait(
        _ duration: Duration, for what: String, until condition: () throws -> Bool
    ) throws {
        let deadline = after(duration)
        while try !condition() {
            guard !deadline.isOver else { throw HarnessError("waited \(duration) for \(what)") }
            poll(nil, 0, 1)
        }
    }
}

/// Whether a process of this id exists (a zombie does not count).
func processLives(_ processID: Int32) -> Bool {
    guard let text = try? String(contentsOfFile: "/proc/\(processID)/stat", encoding: .utf8),
        let end = text.lastIndex(of: ")")
    else { return false }
    let state = text[end...].dropFirst(2).first
    return state != "Z" && state != "X"
}

/// How long a process has run on a processor.
func processorSeconds(_ processID: Int32) -> Double {
    let text = try? String(contentsOfFile: "/proc/\(processID)/schedstat", encoding: .utf8)
    return (text?.split(separator: " ").first.flatMap { Double($0) } ?? 0) / 1e9
}

/// Seconds since 1970, as the supervisor's log has them.
func wallClockSeconds() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_REALTIME, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
}

extension [Double] {
    var median: Double { isEmpty ? .infinity : sorted()[count / 2] }

    /// The smallest value that so many of a hundred are not above.
    func percentile(_ part: Int) -> Double {
        isEmpty ? .infinity : sorted()[Swift.max(0, (count * part + 99) / 100 - 1)]
    }

    /// The values, rounded to hundredths, for a line of output.
    var text: String { map { String(format: "%.2f", $0) }.joined(separator: " ") }
}
