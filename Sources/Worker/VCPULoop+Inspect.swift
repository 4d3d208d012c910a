import GuestModel
import LinuxSystem
import WireProtocol

// What a user asks in words (`monitor` in gdb); the texts are made in `Reports`.
extension VCPULoop {
    func inspect(_ inspection: Inspection) {
        guard isStopped else { return send(.refused(.running)) }
        var report = Report()
        switch inspection {
        case .status: status.append(to: &report)
        case .exits: exits.append(to: &report)
        case .registers: SystemRegistersReport(state: shownState).append(to: &report)
        case .translate(let address):
            TranslationReport(address: address, guest: guest).append(to: &report)
        case .regions: RegionsReport(guest: guest).append(to: &report)
        case .hostCalls: ports.calls.append(to: &report)
        case .dump: appendDump(to: &report)
        }
        send(.report(report.text))
    }

    private var status: StatusReport {
        StatusReport(
            activity: activity, driver: driver, guest: guest, settings: settings,
            age: monotonicNanoseconds() &- startTime, exits: exits,
            hostCallCount: ports.calls.count)
    }

    private func appendDump(to report: inout Report) {
        let dump = DumpReport(state: shownState) { [self] in shownMemory(at: $0, byteCount: $1) }
        status.append(to: &report)
        report.section("registers")
        dump.appendRegisters(to: &report)
        report.section("system registers")
        SystemRegistersReport(state: shownState).append(to: &report)
        report.section("stack")
        dump.appendStack(to: &report)
        report.section("code")
        dump.appendCode(to: &report)
        report.section("exits")
        exits.append(to: &report)
    }

    /// What a client reads at `address`: as much as is mapped, with the bytes under breakpoints.
    func shownMemory(at address: GuestVirtualAddress, byteCount: Int) -> [UInt8] {
        var bytes: [UInt8] = []
        guard let range = GuestVirtualRange(start: address, byteCount: byteCount) else {
            return bytes
        }
        bytes.reserveCapacity(byteCount)
        let count = guest.read(range, appendingTo: &bytes)
        breakpoints.hide(in: &bytes, from: guest.pieces(at: address, byteCount: count))
        return bytes
    }
}
