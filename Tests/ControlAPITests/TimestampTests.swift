import ControlAPI
import Testing

struct TimestampTests {
    @Test(
        arguments: [
            (0, "1970-01-01T00:00:00Z"), (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_251_199, "2024-02-29T23:59:59Z"), (1_709_251_200, "2024-03-01T00:00:00Z"),
            (1_787_307_300, "2026-08-21T10:15:00Z"), (4_107_542_400, "2100-03-01T00:00:00Z"),
            (253_402_300_799, "9999-12-31T23:59:59Z"),
        ] as [(Int64, String)])
    func `an instant and its text are the same both ways`(_ seconds: Int64, _ text: String) {
        #expect(Timestamp.text(secondsSinceEpoch: seconds) == text)
        #expect(Timestamp.secondsSinceEpoch(text) == seconds)
    }

    @Test func `each of a thousand days comes back`() {
        for day in Int64(0)..<1000 {
            let seconds = day * 86400 * 37 + day
            #expect(
                Timestamp.secondsSinceEpoch(Timestamp.text(secondsSinceEpoch: seconds)) == seconds)
        }
    }

    @Test func `fractions are dropped`() {
        #expect(Timestamp.secondsSinceEpoch("1970-01-01T00:00:01.999999Z") == 1)
    }

    @Test func `times out of range are moved to the nearest one`() {
        #expect(Timestamp.text(secondsSinceEpoch: -1) == "1970-01-01T00:00:00Z")
        #expect(Timestamp.text(secondsSinceEpoch: .max) == "9999-12-31T23:59:59Z")
    }

    @Test(arguments: [
        "", "Z", "1970-01-01", "1970-13-01T00:00:00Z", "1970-01-01T24:00:00Z",
        "1970-01-01T00:00:00+01:00", "197x-01-01T00:00:00Z", "1970-01-01 00:00:00Z",
    ])
    func `what is no time in UTC is refused`(_ text: String) {
        #expect(Timestamp.secondsSinceEpoch(text) == nil)
    }
}
