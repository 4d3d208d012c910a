import LinuxSystem

/// The image of a guest that a client may start anew.
///
/// It stays mapped because nothing else of it is left: the file cannot be opened again, and a confined
/// process may map no file. The pages are those of the sealed copy that the supervisor made, so they
/// take memory once; a worker whose clients may not start the guest anew gives them back.
final class KeptImage {
    private let image: MappedImage

    init(_ image: consuming MappedImage) { self.image = image }

    /// Loads it into the guest that was made from it, as if nothing had ever run.
    func restart(_ guest: Guest, inputs: GuestInputs) throws(GuestStartError) {
        try Self.restart(guest, image, inputs)
    }

    private static func restart(
        _ guest: Guest, _ image: borrowing MappedImage, _ inputs: GuestInputs
    ) throws(GuestStartError) {
        try guest.restart(image: image.bytes, inputs: inputs)
    }
}
