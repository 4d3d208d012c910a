/// The keys one kind of object may have.
struct KeyTable: Sendable {
    /// What this version reads.
    let known: [String]
    /// Keys of the full format that this version does not read.
    let later: [String]

    init(_ known: [String], later: [String] = []) {
        self.known = known
        self.later = later
    }

    func contains(_ key: String) -> Bool { known.contains(key) }

    /// The known key that was probably meant.
    func nearest(to key: String) -> String? { NearMiss.nearest(to: key, in: known) }
}

/// All keys of the format; the JSON schema beside the demo lists the same ones.
enum ConfigKeys {
    static let root = KeyTable(
        ["$schema", "version", "control", "log", "users", "defaults", "sandboxes"],
        later: ["metrics", "dumps", "shutdown"])
    static let control = KeyTable(["socket"], later: ["mode", "group"])
    static let log = KeyTable(["format", "level"])
    static let users = KeyTable(["base"])
    static let isolation = KeyTable(["profile", "require", "diagnose"])
    static let restart = KeyTable(["policy", "initialDelay", "maxDelay", "burst", "window"])
    static let limits = KeyTable(
        ["memory", "cpuPercent"], later: ["openFiles", "callTimeout", "logBytesPerSecond"])
    static let memory = KeyTable(["heap", "scratch", "inputData", "outputData"])
    static let debug = KeyTable(
        [
            "enabled", "port", "address", "allowRemote", "startup", "waitTimeout", "onDisconnect",
            "onKill", "onCrash", "access",
        ],
        later: ["relayOutput"])

    private static let shared = [
        "enabled", "abi", "hypervisor", "mode", "memory", "debug", "labels",
        "allowUnversionedGuest", "isolation", "limits", "restart",
    ]
    private static let sharedLater = [
        "crash", "hostFunctions", "logLevel",
    ]
    static let defaults = KeyTable(shared, later: sharedLater)
    static let sandbox = KeyTable(
        ["name", "guest", "symbols"] + shared,
        later: sharedLater + ["run", "initData", "snapshot"])
}

/// Finds the word somebody probably meant.
enum NearMiss {
    static let distanceMax = 2

    /// The candidate with the smallest edit distance, if that is at most `distanceMax` and less
    /// than the length of the word: one-letter words resemble everything.
    static func nearest(to word: String, in candidates: [String]) -> String? {
        guard word.count <= 64 else { return nil }
        var best: (word: String, distance: Int)?
        let length = word.count
        // The distance is at least the difference of the lengths, which costs nothing.
        for candidate in candidates where abs(candidate.count - length) <= distanceMax {
            let distance = distance(Array(word), Array(candidate))
            guard distance <= distanceMax, distance < length else { continue }
            if let known = best, known.distance <= distance { continue }
            best = (candidate, distance)
        }
        return best?.word
    }

    /// Fewest insertions, removals and replacements of one character (Levenshtein distance).
    static func distance(_ left: [Character], _ right: [Character]) -> Int {
        var row = Array(0...right.count)
        for (i, leftCharacter) in left.enumerated() {
            var diagonal = row[0]
            row[0] = i + 1
            for (j, rightCharacter) in right.enumerated() {
                let replaced = diagonal + (leftCharacter == rightCharacter ? 0 : 1)
                diagonal = row[j + 1]
                row[j + 1] = min(replaced, row[j] + 1, row[j + 1] + 1)
            }
        }
        return row[right.count]
    }
}
