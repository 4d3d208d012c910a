// Stub: the gdb server of one sandbox, as a process.
//
// It owns descriptors and time, and nothing else: what to say to whom is decided by
// `DebugSession`. One thread, one poll loop; no file, no new socket but accepted clients, no guest
// memory. Start with `StubProgram.run`, then `StubLoop`.

import GDBRemote
package import GuestModel
import Jail
import LinuxSystem
import SessionCore
import WireProtocol

/// The stub from its first instruction to its exit code.
package enum StubProgram {
    /// What the supervisor learns from a stub's end; numbers of sysexits.h.
    package enum ExitCode: Int32, Sendable {
        case success = 0
        case usage = 64
        /// The supervisor said something unexpected.
        case internalError = 70
        /// A descriptor or an order that should have been there was not.
        case system = 71
        case notConfined = 77
    }

    /// How long the supervisor may take for its first order.
    private static let orderMilliseconds: Int32 = 10_000

    /// Serves clients until the supervisor, or the end of the worker, says that it is enough.
    ///
    /// The descriptors are those of `ChildDescriptor`; the arguments are the program's name, the
    /// sandbox's, and a `JailPlan`.
    package static func run(arguments: [String]) -> ExitCode {
        guard arguments.count == 3, let jail = JailPlan(argument: arguments[2]) else {
            writeToStandardError(
                "usage: hyperlight-gdbstub SANDBOX JAIL (started by the supervisor)\n")
            return .usage
        }
        guard let descriptors = StubDescriptors.inherited() else {
            writeToStandardError("hyperlight-gdbstub: a descriptor is missing\n")
            return .system
        }
        do throws(ConfinementError) {
            return serve(descriptors, try confine(.stub, jail))
        } catch {
            writeToStandardError("hyperlight-gdbstub: not confined: \(error)\n")
            return .notConfined
        }
    }

    /// The same behind confinement, for tests too.
    package static func serve(
        _ descriptors: consuming StubDescriptors, _ confinement: ConfinementReport
    ) -> ExitCode {
        let hello = StubNotice.hello(Hello(buildID: buildID, confinement: confinement))
        guard case .bytes = send(descriptors.control, hello.encoded()),
            waitForInput(descriptors.control, milliseconds: orderMilliseconds)
        else { return .system }
        var frame = [UInt8](repeating: 0, count: WireLimits.frameBytesMax + 1)
        guard case .bytes(let count) = receive(descriptors.control, into: &frame) else {
            return .system
        }
        do throws(WireError) {
            switch try StubOrder(frame: frame, count: count) {
            case .stop: return .success
            case .ping, .dropClient: return .internalError
            case .start(let settings):
                var descriptors = descriptors
                let session = DebugSession(
                    identity: TargetIdentity(process: UInt64(settings.processID)),
                    symbolFile: symbolFile(descriptors.symbols.take(), settings))
                var loop = StubLoop(descriptors, session: session)
                return loop.run()
            }
        } catch {
            return .internalError
        }
    }

    /// Nil unless there is both a file and a name to show it by.
    private static func symbolFile(
        _ file: consuming SealedFile?, _ settings: StubSettings
    ) -> (any SymbolFile)? {
        guard !settings.symbolFileName.isEmpty, let file else { return nil }
        return SymbolFileReader(file, name: settings.symbolFileName)
    }
}
