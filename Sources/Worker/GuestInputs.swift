/// Everything from outside that can make two runs of one guest differ.
///
/// A guest's only inputs are its image, call messages, answers of host functions, the time-stamp
/// counter and the points where it is interrupted. They come through here, so that one place can
/// record them and play them back.
struct GuestInputs {
    /// Random bits that a Hyperlight guest gets at its entry point.
    let seed: UInt64
}
