/// Joins path texts; asks nothing of the file system.
enum FilePath {
    /// `path` itself when absolute, else the path seen from `folder`.
    ///
    /// Leading `.` and `..` are taken off against the folder, which has no links in it. Later ones
    /// stay: behind a link they would mean another place.
    static func absolute(_ path: String, in folder: String) -> String {
        guard !path.hasPrefix("/") else { return path }
        var base = folder.split(separator: "/")
        var rest = path.split(separator: "/")[...]
        while let first = rest.first {
            if first == ".." {
                base = base.dropLast()
            } else if first != "." {
                break
            }
            rest = rest.dropFirst()
        }
        return "/" + (base + rest).joined(separator: "/")
    }
}
