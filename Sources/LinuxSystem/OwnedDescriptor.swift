// LinuxSystem: the system calls of this project, one small function each.
//
// Owned descriptors, sockets, poll, spawning, pidfds, sealed images, memory and signals. It decides
// nothing: who may call what stands in `Jail`, and when in the roles. Start with `OwnedDescriptor`
// and `SystemCallError`.

import CLinux
import Glibc

/// A file descriptor with one owner; closed when the owner goes away.
package struct OwnedDescriptor: ~Copyable, Sendable {
    /// The number, for a call that only uses it.
    package let rawValue: Int32

    /// Takes over `rawValue`, which nobody else may close from now on.
    package init(_ rawValue: Int32) { self.rawValue = rawValue }

    deinit { _ = Glibc.close(rawValue) }

    /// Closes the descriptor here and now.
    package consuming func close() {}

    /// Gives the number away without closing it.
    package consuming func release() -> Int32 {
        let number = rawValue
        discard self
        return number
    }

    /// The same open file at this number, which must be free; close-on-exec.
    package consuming func moved(to number: Int32) throws(SystemCallError) -> OwnedDescriptor {
        guard rawValue != number else { return self }
        return OwnedDescriptor(try checked(clinux_duplicate(rawValue, number), "dup3"))
    }

    /// Takes over the result of a call of `CLinux`, which is a descriptor or -errno.
    static func take(_ result: Int32, from call: StaticString) throws(SystemCallError)
        -> OwnedDescriptor
    {
        OwnedDescriptor(try checked(result, call))
    }
}

/// A system call that failed, with its errno.
package struct SystemCallError: Error, Hashable, CustomStringConvertible {
    package let call: String
    package let code: Int32

    package init(_ call: String, code: Int32) {
        self.call = call
        self.code = code
    }

    /// The call and what the system says, for example "open: No such file or directory".
    package var description: String { "\(call): \(errorText(code))" }

    /// Whether the system had not enough of something at that moment: the call may succeed later.
    ///
    /// A full file system is not among them: `ENOSPC` is also what a limit on namespaces says, for good.
    package var isShortage: Bool { [EMFILE, ENFILE, EAGAIN, ENOMEM].contains(code) }
}

/// What the system says of an errno.
package func errorText(_ code: Int32) -> String {
    var buffer = [CChar](repeating: 0, count: 128)
    guard unsafe strerror_r(code, &buffer, buffer.count) == 0 else { return "error \(code)" }
    let text = buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
    return String(decoding: text, as: UTF8.self)
}

/// `result` when it is not negative; the error it stands for otherwise.
@discardableResult
package func checked(_ result: Int32, _ call: StaticString) throws(SystemCallError) -> Int32 {
    guard result >= 0 else { throw SystemCallError("\(call)", code: -result) }
    return result
}
