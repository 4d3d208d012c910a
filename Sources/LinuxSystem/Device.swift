import CLinux
import Glibc

/// An open device, for example `/dev/kvm`.
package func openDevice(_ path: String) throws(SystemCallError) -> OwnedDescriptor {
    try .take(unsafe clinux_open(path, O_RDWR), from: "open")
}

/// `/dev/null`, for a child's standard input.
package func openNull() throws(SystemCallError) -> OwnedDescriptor {
    try .take(unsafe clinux_open("/dev/null", O_RDWR), from: "open")
}

/// Writes text to standard error as one piece; what does not fit is lost, never waited for.
package func writeToStandardError(_ text: String) {
    var text = text
    text.withUTF8 { bytes in
        // A closed or full standard error must not end anybody.
        _ = unsafe write(2, bytes.baseAddress, bytes.count)
    }
}
