import GuestABI
import GuestModel
import Hypervisor

/// What is mapped where, from the first address to the last.
struct RegionsReport {
    let guest: Guest

    /// A guest can map as many as it likes; nobody reads more.
    private static let regionsMax = 200
    /// Table entries that one region may cost, and how many regions and holes are asked for.
    private static let entriesMax = 1 << 14
    private static let questionsMax = 2 * regionsMax + 2

    func append(to report: inout Report) {
        var count = 0
        var next: UInt64 = 0
        var walk = RegionWalk(
            system: guest.state.system, memory: guest.memory, areas: guest.plan.areas)
        for _ in 0..<Self.questionsMax {
            let address = GuestVirtualAddress(next)
            guard
                let region = PagingMode(guest.state.system) == .off
                    ? guest.region(around: address)
                    : walk.region(around: address, entriesMax: Self.entriesMax)
            else { break }
            if region.permissions != nil {
                count += 1
                append(region, to: &report)
            }
            if region.last.rawValue == .max {
                if count == 0 { report.line("nothing is mapped") }
                return
            }
            guard count < Self.regionsMax else { break }
            next = region.last.rawValue + 1
        }
        report.line("the list ends here: there is more from \(next.hex) on")
    }

    private func append(_ region: MappedRegion, to report: inout Report) {
        let size = (region.last.rawValue - region.start.rawValue) &+ 1
        report.line(
            "\(region.start.rawValue.digits)-\(region.last.rawValue.digits) "
                + "\(region.permissions?.text ?? "---") \(size.byteCountText.padded(to: 12))"
                + " \(region.name)")
    }
}

extension MemoryPermissions {
    /// As in "rw-".
    fileprivate var text: String {
        [(Self.read, "r"), (.write, "w"), (.execute, "x")]
            .map { contains($0.0) ? $0.1 : "-" }.joined()
    }
}
