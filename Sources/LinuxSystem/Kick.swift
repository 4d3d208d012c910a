import CLinux

/// The signal that brings the worker's only thread back from the guest.
package enum KickSignal {
    /// Installs the handler for SIGIO and SIGALRM: it stores 1 to `flag` and nothing else.
    package static func install(flag: UnsafeMutablePointer<UInt8>) throws(SystemCallError) {
        try checked(unsafe clinux_install_kick(flag, nil, nil), "sigaction")
    }

    /// Installs the handler for SIGIO and SIGALRM: it calls `function`, which must be
    /// async-signal-safe.
    package static func install(
        function: @convention(c) (UnsafeMutableRawPointer?) -> Void,
        argument: UnsafeMutableRawPointer?
    ) throws(SystemCallError) {
        try checked(unsafe clinux_install_kick(nil, function, argument), "sigaction")
    }

    /// Lets input on the descriptor raise the signal from now on, or no longer.
    ///
    /// Input that is there already raises nothing: look for it after turning this on.
    package static func setEnabled(_ isEnabled: Bool, on descriptor: borrowing OwnedDescriptor)
        throws(SystemCallError)
    {
        try checked(clinux_set_async(descriptor.rawValue, isEnabled ? 1 : 0), "F_SETFL")
    }

    /// Makes this process the one that gets the descriptor's signal; once for each descriptor.
    package static func claim(_ descriptor: borrowing OwnedDescriptor) throws(SystemCallError) {
        try checked(clinux_own_signal(descriptor.rawValue), "F_SETOWN")
    }
}

extension KickSignal {
    /// Raises the signal once after this long.
    package static func raise(afterMicroseconds microseconds: UInt64) {
        // Fails only for times that the system cannot count.
        _ = clinux_alarm(microseconds)
    }
}
