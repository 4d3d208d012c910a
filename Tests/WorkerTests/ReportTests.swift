import GuestABI
import GuestModel
import Hypervisor
import Testing

@testable import Worker

/// The texts for people, made of values.
struct ReportTests {
    @Test(arguments: [
        ("plain", "plain"), ("tab\t", "tab\\u{9}"), ("\u{1B}[1m", "\\u{1b}[1m"),
        ("\u{E9}", "\\u{e9}"), (String(repeating: "a", count: 10), "aaaaaaaaaa"),
        (String(repeating: "a", count: 11), "aaaaaaaa.."), ("aaaaaaaaa\u{1F600}", "aaaaaaaa.."),
    ])
    func `text of the guest is made printable and cut`(text: String, expected: String) {
        #expect(text.printable(max: 10) == expected)
    }

    @Test func `a line is never longer than a hundred characters`() {
        var report = Report()
        report.line(String(repeating: "\n", count: 1000))
        report.line("next")
        let lines = report.text.split(separator: "\n")
        #expect(lines.count == 2)
        #expect(lines[0].utf8.count <= 100)
    }

    @Test func `the last few are kept in order`() {
        var list = RecentList<Int>(capacity: 3)
        #expect(list.newest == nil)
        for number in 1...5 { list.append(number) }
        #expect(list.elements == [3, 4, 5])
        list.changeNewest { $0 = 9 }
        #expect(list.newest == 9)
        #expect(list.elements == [3, 4, 9])
    }

    private func text(_ exits: ExitHistory) -> [Substring] {
        var report = Report()
        exits.append(to: &report)
        return report.text.split(separator: "\n")
    }

    @Test func `exits of a kind are counted, the last one is told`() {
        var exits = ExitHistory()
        #expect(text(exits) == ["the guest has not run yet"])
        for value: UInt32 in 1...3 {
            exits.note(.portWrite(port: 103, size: 4, value: value), .continue)
        }
        exits.note(.portWrite(port: 99, size: 4, value: 0), .continue)
        for address: UInt64 in 1...2 {
            exits.note(.debug(.step), .step)
            exits.note(rip: GuestVirtualAddress(address))
        }
        exits.note(.failed("\u{1B}"), .continue)
        #expect(
            text(exits) == [
                "OUT port 103, value 0x3, size 4  x3", "OUT port 99, value 0x0, size 4",
                "step  rip 0x2  x2", "failed: \\u{1b}",
            ])
        #expect(exits.exitCount == 7)
        #expect(exits.stepCount == 2)
    }

    @Test func `only the last 32 kinds of exits are kept`() {
        var exits = ExitHistory()
        for port: UInt16 in 0..<100 {
            exits.note(.portWrite(port: port, size: 4, value: 0), .continue)
        }
        #expect(text(exits).count == 32)
        #expect(text(exits).first == "OUT port 68, value 0x0, size 4")
        #expect(exits.exitCount == 100)
    }

    @Test(arguments: [
        (UInt64(0), "0 bytes"), (17, "17 bytes"), (4096, "4 KiB"), (0x10_0000, "1 MiB"),
        (1 << 30, "1 GiB"), (0x1001, "4097 bytes"), (.max, "18446744073709551615 bytes"),
    ])
    func `sizes have the unit that fits`(value: UInt64, text: String) {
        #expect(value.byteCountText == text)
    }

    @Test(arguments: [
        (UInt64(12_345), "12 us"), (12_345_678, "12 ms"), (12_345_678_901, "12.3 s"),
    ])
    func `times have the unit that fits`(value: UInt64, text: String) {
        #expect(value.durationText == text)
    }

    @Test func `bits have their names, and what has none is a number`() {
        let names: [(bit: UInt64, name: String)] = [(1, "B"), (0, "A")]
        #expect(bitNames(0, names) == "none")
        #expect(bitNames(3, names) == "B A")
        #expect(bitNames(0x13, names) == "B A and 0x10")
    }

    private func dump(_ memory: [UInt64: [UInt8]]) -> DumpReport {
        var state = VCPUState()
        (state.general.rip, state.general.rsp) = (0x1000, 0x2FF0)
        return DumpReport(state: state) { address, count in
            Array((memory[address.rawValue] ?? []).prefix(count))
        }
    }

    @Test func `code and stack are shown as far as they are mapped`() {
        var report = Report()
        dump([0x1000: Array(0..<18), 0x2FF0: [1, 0, 0, 0, 0, 0, 0, 0x80, 2]]).appendCode(
            to: &report)
        #expect(
            report.text == """
                0000000000001000: 00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f
                0000000000001010: 10 11

                """)
        report = Report()
        dump([0x2FF0: [1, 0, 0, 0, 0, 0, 0, 0x80, 2]]).appendStack(to: &report)
        #expect(report.text == "0000000000002ff0: 8000000000000001\n")
        report = Report()
        dump([:]).appendStack(to: &report)
        dump([:]).appendCode(to: &report)
        #expect(
            report.text == """
                nothing is mapped at rsp 0x2ff0
                nothing is mapped at rip 0x1000

                """)
    }
}
