import GuestModel

/// What can be told about a triple fault: which exception began it, no CPU says.
struct TripleFaultText {
    let text: String

    init(_ guest: Guest) {
        let state = guest.state
        var text = "triple fault at rip \(state.general.rip.hex), rsp \(state.general.rsp.hex)"
        // The last of the three is mostly the one about the stack or the table.
        if state.system.cr2 != 0 { text += ", last page fault at \(state.system.cr2.hex)" }
        if state.system.idt.limit == 0 {
            text += "; the guest has no interrupt table, so any exception ends it"
        }
        self.text = text
    }
}
