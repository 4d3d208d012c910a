import GuestModel

/// Registers that a client wants back later (`QSaveRegisterState`).
struct SavedRegisters: Hashable, Sendable {
    /// Clients keep one for each of their nested function calls.
    static let countMax = 16

    let number: UInt64
    let state: VCPUState
    let extended: ExtendedState?
}
