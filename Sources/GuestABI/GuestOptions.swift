package import GuestModel

/// What the configuration says about one guest's memory, in bytes.
package struct GuestMemorySizes: Hashable, Sendable {
    /// The guest's heap; part of the image, so at most 16 GiB together with the code.
    package var heap: UInt64
    /// In whole pages; holds buffers, page tables, stacks and every page the guest has written.
    package var scratch: UInt64
    /// The buffer for messages to the guest, at least 8 KiB.
    package var input: UInt64
    /// The buffer for messages from the guest, at least 8 KiB.
    package var output: UInt64

    package init(heap: UInt64, scratch: UInt64, input: UInt64, output: UInt64) {
        self.heap = heap
        self.scratch = scratch
        self.input = input
        self.output = output
    }

    /// What a Hyperlight 0.17 host takes when nothing is said; too small for real runtimes.
    package static let hyperlightDefaults = GuestMemorySizes(
        heap: 0x20000, scratch: 0x48000, input: 0x4000, output: 0x4000)
}

/// Everything that decides how a guest image is loaded, apart from the image.
package struct GuestOptions: Hashable, Sendable {
    package var abi: GuestABIName
    package var sizes: GuestMemorySizes
    /// Hyperlight only: the versions in the guest's note that are taken.
    package var acceptedVersions: [String]
    /// Hyperlight only: whether an image without a version note is taken.
    package var acceptsUnversionedGuest: Bool
    /// Hyperlight only: 0 off, 1 error, 2 warn, 3 info, 4 debug, 5 trace.
    package var logLevel: UInt64

    package init(
        abi: GuestABIName,
        sizes: GuestMemorySizes = .hyperlightDefaults,
        acceptedVersions: [String] = ["0.17.0"],
        acceptsUnversionedGuest: Bool = false,
        logLevel: UInt64 = 2
    ) {
        self.abi = abi
        self.sizes = sizes
        self.acceptedVersions = acceptedVersions
        self.acceptsUnversionedGuest = acceptsUnversionedGuest
        self.logLevel = logLevel
    }
}
