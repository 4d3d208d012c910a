/// RFC 3339 texts to and from seconds since 1970, without a time zone database.
///
/// - Source: RFC 3339 "Internet Date/Time Format"; proleptic Gregorian calendar, UTC, no leap
///   seconds.
package enum Timestamp {
    private static let secondsPerDay = 86400
    /// From 0000-03-01, the start of the counting below, to 1970-01-01.
    private static let daysToEpoch = 719_468
    private static let daysPerEra = 146_097

    /// `2026-08-21T10:15:00Z` for years 1970...9999; times outside are moved to the nearest one.
    package static func text(secondsSinceEpoch seconds: Int64) -> String {
        let clamped = Int(min(max(seconds, 0), 253_402_300_799))
        let (day, second) = clamped.quotientAndRemainder(dividingBy: secondsPerDay)
        let date = civilDate(daysSinceEpoch: day)
        let clock = [second / 3600, second / 60 % 60, second % 60].map { padded($0, 2) }
        return padded(date.year, 4) + "-" + padded(date.month, 2) + "-" + padded(date.day, 2) + "T"
            + clock.joined(separator: ":") + "Z"
    }

    /// The instant of such a text; fractions of a second are dropped, other zones are refused.
    package static func secondsSinceEpoch(_ text: String) -> Int64? {
        let bytes = Array(text.utf8)
        guard bytes.count >= 20, bytes.count <= 40, bytes[10] == UInt8(ascii: "T"),
            bytes.last == UInt8(ascii: "Z"), bytes[4] == UInt8(ascii: "-"),
            bytes[7] == UInt8(ascii: "-"), bytes[13] == UInt8(ascii: ":"),
            bytes[16] == UInt8(ascii: ":"),
            let year = number(bytes[0..<4]), let month = number(bytes[5..<7]),
            let day = number(bytes[8..<10]), let hour = number(bytes[11..<13]),
            let minute = number(bytes[14..<16]), let second = number(bytes[17..<19]),
            (1...12).contains(month), (1...31).contains(day), hour < 24, minute < 60, second < 61
        else { return nil }
        let days = daysSinceEpoch(year: year, month: month, day: day)
        return Int64(days * secondsPerDay + hour * 3600 + minute * 60 + second)
    }

    // Years are counted from March, so the leap day is the last one of a year.
    private static func daysSinceEpoch(year: Int, month: Int, day: Int) -> Int {
        let marchYear = month <= 2 ? year - 1 : year
        let monthFromMarch = (month + 9) % 12
        let leapDays = marchYear / 4 - marchYear / 100 + marchYear / 400
        return marchYear * 365 + leapDays + (153 * monthFromMarch + 2) / 5 + day - 1 - daysToEpoch
    }

    private static func civilDate(daysSinceEpoch days: Int) -> (year: Int, month: Int, day: Int) {
        let count = days + daysToEpoch
        let dayOfEra = count % daysPerEra
        let yearOfEra =
            (dayOfEra - dayOfEra / 1460 + dayOfEra / 36524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let monthFromMarch = (5 * dayOfYear + 2) / 153
        let month = (monthFromMarch + 2) % 12 + 1
        let year = yearOfEra + count / daysPerEra * 400 + (month <= 2 ? 1 : 0)
        return (year, month, dayOfYear - (153 * monthFromMarch + 2) / 5 + 1)
    }

    private static func number(_ digits: ArraySlice<UInt8>) -> Int? {
        var value = 0
        for digit in digits {
            guard (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(digit) else { return nil }
            value = value * 10 + Int(digit - UInt8(ascii: "0"))
        }
        return value
    }

    private static func padded(_ value: Int, _ width: Int) -> String {
        let digits = String(value)
        return String(repeating: "0", count: max(0, width - digits.count)) + digits
    }
}
