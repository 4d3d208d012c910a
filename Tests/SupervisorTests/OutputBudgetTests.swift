import Testing

@testable import Supervisor

struct OutputBudgetTests {
    private static let second: UInt64 = 1_000_000_000
    /// Bytes of text with which a record costs exactly 1 KiB.
    private static let textBytes = 1024 - OutputBudget.recordBytes

    /// How many records of 1 KiB go when 1000 are tried at this moment.
    private func admitted(_ budget: inout OutputBudget, at now: UInt64) -> Int {
        (0..<1000).reduce(0) { count, _ in
            count + (budget.admits(Self.textBytes, at: now) ? 1 : 0)
        }
    }

    @Test
    func `64 KiB go at once, then 64 KiB a second`() {
        var budget = OutputBudget()
        #expect(admitted(&budget, at: 5) == 64)
        #expect(admitted(&budget, at: 5) == 0)
        #expect(admitted(&budget, at: 5 + Self.second / 4) == 16)
        #expect(admitted(&budget, at: 5 + Self.second) == 48)
        #expect(admitted(&budget, at: 5 + 3600 * Self.second) == 64)
    }

    @Test
    func `a flood in small steps of time gets no more than its share`() {
        var budget = OutputBudget()
        var count = 0
        for microsecond in 0..<2_000_000 as Range<UInt64> where microsecond.isMultiple(of: 7) {
            if budget.admits(1, at: microsecond * 1000) { count += 1 }
        }
        // Three seconds' worth: the burst and two seconds.
        let share = 3 * OutputBudget.bytesPerSecond / (1 + OutputBudget.recordBytes)
        #expect((share - 2...share).contains(count))
    }

    @Test
    func `empty records cost something too`() {
        var budget = OutputBudget()
        let count = (0..<100_000).reduce(0) { sum, _ in sum + (budget.admits(0, at: 0) ? 1 : 0) }
        #expect(count == OutputBudget.burstBytes / OutputBudget.recordBytes)
    }

    @Test(arguments: [OutputBudget.burstBytes, Int.max])
    func `one record beyond the burst is dropped and takes nothing from others`(byteCount: Int) {
        var budget = OutputBudget()
        let isAdmitted = budget.admits(byteCount, at: 0)
        #expect(!isAdmitted)
        #expect(admitted(&budget, at: 0) == 64)
    }

    @Test
    func `what was dropped is told a second after it began, once, in bytes of text`() {
        var budget = OutputBudget()
        #expect(budget.nextReport == nil)
        #expect(admitted(&budget, at: 10) == 64)
        #expect(budget.nextReport == 10 + Self.second)
        let early = budget.takeReport(at: 9 + Self.second)
        #expect(early == nil)
        let report = budget.takeReport(at: 10 + Self.second)
        #expect(report == 936 * Self.textBytes)
        #expect(budget.nextReport == nil)
        let another = budget.takeReport(at: .max)
        #expect(another == nil)
        #expect(admitted(&budget, at: 11 + Self.second) == 64)
        #expect(budget.nextReport == 11 + 2 * Self.second)
    }

    @Test
    func `who keeps to the budget is never cut`() {
        var budget = OutputBudget()
        for number in 0..<10_000 as Range<UInt64> {
            let isAdmitted = budget.admits(Self.textBytes, at: number * Self.second / 64)
            #expect(isAdmitted)
        }
        #expect(budget.nextReport == nil)
    }
}
