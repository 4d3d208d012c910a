/// Columns aligned to the widest cell, two spaces apart, without lines or trailing spaces.
struct TextTable {
    private var rows: [[String]]

    /// The header goes in capitals.
    init(header: [String]) { rows = [header] }

    /// An empty cell is shown as `-`.
    mutating func append(_ cells: [String]) {
        rows.append(cells.map { $0.isEmpty ? "-" : Self.printable($0) })
    }

    var text: String {
        var widths: [Int] = []
        for row in rows {
            for (column, cell) in row.enumerated() {
                if column == widths.count { widths.append(0) }
                widths[column] = max(widths[column], cell.count)
            }
        }
        return rows.map { row in
            var line = ""
            for (column, cell) in row.enumerated() {
                line += cell
                guard column + 1 < row.count else { continue }
                line += String(repeating: " ", count: widths[column] - cell.count + 2)
            }
            return line + "\n"
        }.joined()
    }

    /// A terminal must not be driven by what a sandbox is called or says.
    static func printable(_ text: String) -> String {
        String(String.UnicodeScalarView(text.unicodeScalars.map { isPlain($0) ? $0 : "?" }))
    }

    /// Neither a control character nor one that turns around or hides what stands beside it.
    private static func isPlain(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.properties.generalCategory {
        case .control, .format, .lineSeparator, .paragraphSeparator: false
        default: true
        }
    }
}
