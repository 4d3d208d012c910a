import CLinux
import CSeccomp
import Glibc
package import LinuxSystem

/// Loads a filter that tells the supervisor of a forbidden call, and sends it the listener.
///
/// Two programs: the first asks the listener about every call that is not on the list, but lets the
/// listener out; the second takes that way out again. Killing wins over asking.
/// - Source: Linux `Documentation/userspace-api/seccomp_filter.rst`, "Userspace Notification".
func loadReportingFilter(allowing calls: [CallRule]) throws(SystemCallError) {
    let wayOut = [
        CallRule("sendmsg", .int(0, ChildDescriptor.violations)), CallRule("seccomp"),
    ]
    let asking = try SeccompFilter.make(allowing: calls + wayOut, others: .notify)
    let closing = try SeccompFilter.make(
        answering: [CallRule("sendmsg"), CallRule("seccomp")], with: .kill)
    try asking.load()
    let channel = OwnedDescriptor(ChildDescriptor.violations)
    // Both are closed here: a process that could hear of its own calls could allow them.
    let listener = try asking.listener()
    try sendDescriptor(listener, over: channel)
    listener.close()
    channel.close()
    try closing.load()
}

/// The supervisor's end of a filter that reports.
///
/// While nobody answers, the caller waits; when the listener goes away, its call fails with ENOSYS.
package struct SeccompListener: ~Copyable {
    private let descriptor: OwnedDescriptor

    /// Takes over what a child sent over its violations socket.
    package init(_ descriptor: consuming OwnedDescriptor) { self.descriptor = descriptor }

    /// Readable when a call waits.
    package var rawValue: Int32 { descriptor.rawValue }

    /// The call that waits, or nil when the caller is gone.
    ///
    /// It waits on; end the process.
    package func next() -> ForbiddenCall? {
        var request: UnsafeMutablePointer<seccomp_notif>?
        guard unsafe seccomp_notify_alloc(&request, nil) == 0, let request = unsafe request else {
            return nil
        }
        // SAFETY: allocated right above, freed once.
        defer { unsafe seccomp_notify_free(request, nil) }
        guard unsafe seccomp_notify_receive(descriptor.rawValue, request) == 0 else { return nil }
        return unsafe ForbiddenCall(number: request.pointee.data.nr)
    }
}

/// A system call that a process made and may not make.
package struct ForbiddenCall: Hashable, Sendable, CustomStringConvertible {
    package let number: Int32

    package init(number: Int32) { self.number = number }

    /// As in the manual; nil for a number that no call has.
    package var name: String? {
        guard let text = unsafe seccomp_syscall_resolve_num_arch(seccomp_arch_native(), number)
        else { return nil }
        // SAFETY: the function gives a new string, freed once.
        defer { unsafe free(text) }
        return unsafe String(cString: text)
    }

    /// "system call 41 (socket)".
    package var description: String {
        name.map { "system call \(number) (\($0))" } ?? "system call \(number)"
    }
}
