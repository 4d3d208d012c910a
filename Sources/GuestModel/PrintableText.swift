extension String {
    /// This text in printable ASCII, the rest in hexadecimal, and not longer than `max` characters.
    ///
    /// For whatever a guest had a hand in: shown as it is, it could steer the reader's terminal.
    package func printable(max: Int) -> String {
        var text = ""
        var count = 0
        for scalar in unicodeScalars {
            let isPlain = (0x20...0x7E).contains(scalar.value)
            let piece = isPlain ? String(scalar) : "\\u{\(String(scalar.value, radix: 16))}"
            guard count + piece.utf8.count <= max else { return text.prefix(max - 2) + ".." }
            text += piece
            count += piece.utf8.count
        }
        return text
    }
}

extension GuestCrash {
    /// What happened in one printable line; the guest's own words are in it.
    package var printable: String { description.printable(max: 1000) }
}
