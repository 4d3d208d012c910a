// `hello` in Embedded Swift: no runtime library, no heap, ports through a C header.

import GuestPorts

/// Calls that printed something, so that there is a variable to look at.
nonisolated(unsafe) var linesPrinted: UInt32 = 0

// The plain names make `break printLine` work in a debugger that cannot demangle Swift.
@_silgen_name("printLine")
@inline(never)
func printLine(_ text: StaticString) {
    text.withUTF8Buffer { bytes in
        for byte in bytes {
            print_scalar(UInt32(byte))
        }
    }
    print_scalar(10)
    linesPrinted &+= 1
}

@_silgen_name("guest_main")
func guestMain() {
    printLine("Hello from a micro-VM, in Swift.")
    printLine("Embedded Swift needs no operating system.")
    printLine("Goodbye.")
}
