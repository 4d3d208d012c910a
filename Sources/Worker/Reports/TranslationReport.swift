import GuestABI
import GuestModel
import Hypervisor

/// The walk of the page tables for one address, entry by entry.
struct TranslationReport {
    let address: GuestVirtualAddress
    let guest: Guest

    func append(to report: inout Report) {
        let system = guest.state.system
        report.line("address \(address.rawValue.hex)")
        switch PagingMode(system) {
        case .off: report.line("paging is off: it is a physical address")
        case .unsupported: return report.line("a paging mode that is not looked into")
        case .fourLevels:
            guard PageWalk.isCanonical(address) else {
                return report.line("not canonical: bits 47 to 63 differ")
            }
            report.line("cr3     \(system.cr3.hex)")
        }
        for step in PageWalk.steps(to: address, system: system, memory: guest.memory) {
            append(step, to: &report)
        }
        guard
            let found = PageWalk.translate(address, system: system, memory: guest.memory)
        else { return }
        append(found, to: &report)
    }

    private func append(_ step: PageWalkStep, to report: inout Report) {
        let name = ["PT", "PD", "PDPT", "PML4"][step.level - 1].padded(to: 4)
        let place = "\(name) at \(step.place.rawValue.hex): "
        guard let entry = step.entry else { return report.line(place + "no memory: it ends here") }
        guard entry & 1 != 0 else {
            return report.line(place + "\(entry.hex) not present: it ends here")
        }
        report.line(place + "\(entry.hex) \(Self.flags(entry))")
    }

    /// - Source: Intel SDM volume 3, "4-Level Paging"; Hyperlight guest ABI 0.17, page tables.
    private static func flags(_ entry: UInt64) -> String {
        let names: [(UInt64, String)] = [
            (0, "present"), (1, "writable"), (2, "user"), (3, "write-through"), (4, "uncached"),
            (5, "accessed"), (6, "dirty"), (7, "large"), (8, "global"), (63, "no-execute"),
        ]
        let mask = names.reduce(0) { $0 | UInt64(1) << $1.0 }
        let text = bitNames(entry & mask, names)
        return entry & 0xE00 == 0x200 ? text + " copy-on-write" : text
    }

    private func append(_ found: Translation, to report: inout Report) {
        var text = "physical \(found.physicalAddress.rawValue.hex)"
        text += " in a page of \(UInt64(found.pageByteCount).byteCountText)"
        let area = guest.plan.areas.first { $0.contains(address) }
        if let area { text += ", \(area.name)" }
        report.line(text)
        if guest.memory.readUInt8(at: found.physicalAddress) == nil {
            report.line("no memory is there")
        }
    }
}
