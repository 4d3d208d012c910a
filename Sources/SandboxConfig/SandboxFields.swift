import GuestModel

/// The settings that both `defaults` and a sandbox may hold; nil where the file is silent.
struct SandboxFields {
    var isEnabled: Bool?
    var abi: GuestABIName?
    var drivers: DriverChoice?
    var mode: SandboxMode?
    var memory = MemoryFields()
    var debug = DebugFields()
    var labels: [String: String]?
    var acceptsUnversionedGuest: Bool?
    var isolation = IsolationFields()
    var limits = LimitSettings()
    var restart = RestartFields()

    /// Own values first; objects are merged key by key, `labels` are taken whole.
    func filled(from defaults: SandboxFields) -> SandboxFields {
        SandboxFields(
            isEnabled: isEnabled ?? defaults.isEnabled, abi: abi ?? defaults.abi,
            drivers: drivers ?? defaults.drivers, mode: mode ?? defaults.mode,
            memory: memory.filled(from: defaults.memory),
            debug: debug.filled(from: defaults.debug), labels: labels ?? defaults.labels,
            acceptsUnversionedGuest: acceptsUnversionedGuest ?? defaults.acceptsUnversionedGuest,
            isolation: isolation.filled(from: defaults.isolation),
            limits: LimitSettings(
                memory: limits.memory ?? defaults.limits.memory,
                processorPercent: limits.processorPercent ?? defaults.limits.processorPercent),
            restart: restart.filled(from: defaults.restart))
    }
}

struct MemoryFields {
    var heap: UInt64?
    var scratch: UInt64?
    var inputData: UInt64?
    var outputData: UInt64?

    func filled(from defaults: MemoryFields) -> MemoryFields {
        MemoryFields(
            heap: heap ?? defaults.heap, scratch: scratch ?? defaults.scratch,
            inputData: inputData ?? defaults.inputData,
            outputData: outputData ?? defaults.outputData)
    }
}

struct DebugFields {
    var isEnabled: Bool?
    var port: Located<UInt16>?
    var address: Located<String>?
    var allowsRemote: Bool?
    var startup: DebugStartup?
    var waitTimeout: Duration?
    var onDisconnect: DebugDisconnectAction?
    var onKill: DebugKillAction?
    var onCrash: DebugCrashAction?
    var access: DebugAccess?

    func filled(from defaults: DebugFields) -> DebugFields {
        DebugFields(
            isEnabled: isEnabled ?? defaults.isEnabled, port: port ?? defaults.port,
            address: address ?? defaults.address,
            allowsRemote: allowsRemote ?? defaults.allowsRemote,
            startup: startup ?? defaults.startup,
            waitTimeout: waitTimeout ?? defaults.waitTimeout,
            onDisconnect: onDisconnect ?? defaults.onDisconnect,
            onKill: onKill ?? defaults.onKill, onCrash: onCrash ?? defaults.onCrash,
            access: access ?? defaults.access)
    }

    /// With defaults; a guest with a port waits for its client unless told otherwise.
    var settings: DebugSettings {
        let isOn = isEnabled ?? true
        let waits = isOn && port != nil
        return DebugSettings(
            isEnabled: isOn, port: port?.value, address: address?.value ?? "127.0.0.1",
            startup: isOn ? startup ?? (waits ? .hold : .run) : .run,
            waitTimeout: waitTimeout ?? .zero, onDisconnect: onDisconnect ?? .resume,
            onKill: onKill ?? .detach, onCrash: onCrash ?? .hold, access: access ?? .readWrite,
            portConflictWith: nil)
    }
}

extension ConfigReader {
    static let labelCountMax = 16
    static let labelByteCountMax = 63
    /// All guest memory of one sandbox together must stay below this.
    static let memoryByteCountLimit: UInt64 = 16 << 30
    static let bufferByteCountMin: UInt64 = 8 << 10

    mutating func readFields(_ view: ObjectView) -> SandboxFields {
        var fields = SandboxFields()
        fields.isEnabled = bool(view, "enabled")
        let abi: Located<GuestABIName>? = choice(view, "abi")
        fields.abi = abi?.value
        fields.drivers = drivers(view)
        let mode: Located<SandboxMode>? = choice(view, "mode")
        fields.mode = mode?.value
        if let memory = object(view, "memory", ConfigKeys.memory) {
            fields.memory = readMemory(memory)
        }
        if let debug = object(view, "debug", ConfigKeys.debug) {
            fields.debug = readDebug(debug)
        }
        fields.labels = labels(view)
        fields.acceptsUnversionedGuest = bool(view, "allowUnversionedGuest")
        if let isolation = object(view, "isolation", ConfigKeys.isolation) {
            fields.isolation = readIsolation(isolation)
        }
        if let limits = object(view, "limits", ConfigKeys.limits) {
            fields.limits = readLimits(limits)
        }
        if let restart = object(view, "restart", ConfigKeys.restart) {
            fields.restart = readRestart(restart)
        }
        return fields
    }

    private mutating func readMemory(_ view: ObjectView) -> MemoryFields {
        let most = Self.memoryByteCountLimit - 1
        let buffer = Self.bufferByteCountMin...most
        return MemoryFields(
            heap: size(view, "heap", allowed: 0...most),
            scratch: size(view, "scratch", allowed: 0...most),
            inputData: size(view, "inputData", allowed: buffer),
            outputData: size(view, "outputData", allowed: buffer))
    }

    private mutating func readDebug(_ view: ObjectView) -> DebugFields {
        var fields = DebugFields()
        fields.isEnabled = bool(view, "enabled")
        fields.port = port(view)
        fields.address = address(view)
        fields.allowsRemote = bool(view, "allowRemote")
        let startup: Located<DebugStartup>? = choice(view, "startup")
        fields.startup = startup?.value
        fields.waitTimeout = duration(view, "waitTimeout")
        let onDisconnect: Located<DebugDisconnectAction>? = choice(view, "onDisconnect")
        fields.onDisconnect = onDisconnect?.value
        let onKill: Located<DebugKillAction>? = choice(view, "onKill")
        fields.onKill = onKill?.value
        let onCrash: Located<DebugCrashAction>? = choice(view, "onCrash")
        fields.onCrash = onCrash?.value
        let access: Located<DebugAccess>? = choice(view, "access")
        fields.access = access?.value
        return fields
    }

    /// Each part is below 2^34, so the sum cannot overflow.
    mutating func memorySettings(_ fields: MemoryFields, _ view: ObjectView) -> MemorySettings {
        var settings = MemorySettings()
        settings.heap = fields.heap ?? settings.heap
        settings.scratch = fields.scratch ?? settings.scratch
        settings.inputData = fields.inputData ?? settings.inputData
        settings.outputData = fields.outputData ?? settings.outputData
        let sum =
            settings.heap + settings.scratch + settings.inputData + settings.outputData
        if sum >= Self.memoryByteCountLimit {
            let own = view.members["memory"]
            problems.error(
                .outOfRange, at: own?.position ?? view.position,
                view.path.appending(key: "memory"),
                "\(sum) bytes together (must stay below 16GiB)")
        }
        return settings
    }

    private mutating func port(_ view: ObjectView) -> Located<UInt16>? {
        guard let number = integer(view, "port", allowed: 1...65535, called: "a port") else {
            return nil
        }
        return number.map { UInt16(truncatingIfNeeded: $0) }
    }

    private mutating func address(_ view: ObjectView) -> Located<String>? {
        guard let text = string(view, "address") else { return nil }
        guard NumericAddress.isValid(text.value) else {
            problems.error(
                .invalidValue, at: text.position, text.path,
                "\"\(text.value.printable)\" is not a numeric IPv4 or IPv6 address")
            return nil
        }
        return text
    }

    private mutating func labels(_ view: ObjectView) -> [String: String]? {
        guard let tree = view.members["labels"] else { return nil }
        let place = view.path.appending(key: "labels")
        guard case .object(let members) = tree.content else {
            wrongType(tree, at: place, expected: "an object")
            return nil
        }
        if members.count > Self.labelCountMax {
            problems.error(
                .outOfRange, at: tree.position, place,
                "\(members.count) labels (at most \(Self.labelCountMax))")
        }
        var labels: [String: String] = [:]
        for member in members {
            let memberPath = place.appending(key: member.key)
            guard case .string(let value) = member.value.content else {
                wrongType(member.value, at: memberPath, expected: "a string")
                continue
            }
            if max(member.key.utf8.count, value.utf8.count) > Self.labelByteCountMax {
                problems.error(
                    .outOfRange, at: member.position, memberPath,
                    "a label's key and value may have at most \(Self.labelByteCountMax) bytes each")
            }
            labels[member.key] = value
        }
        return labels
    }

    private mutating func drivers(_ view: ObjectView) -> DriverChoice? {
        guard let tree = view.members["hypervisor"] else { return nil }
        let place = view.path.appending(key: "hypervisor")
        switch tree.content {
        case .string("auto"):
            return .automatic
        case .string:
            return driver(tree, at: place, allowed: ["auto"]).map { .listed([$0]) }
        case .array(let elements):
            return driverList(elements, tree, at: place)
        case .object, .number, .bool, .null:
            wrongType(tree, at: place, expected: "a driver or a list of drivers")
            return nil
        }
    }

    private mutating func driverList(
        _ elements: [ConfigTree], _ tree: ConfigTree, at place: ConfigPath
    ) -> DriverChoice? {
        if elements.isEmpty {
            problems.error(.invalidValue, at: tree.position, place, "the list of drivers is empty")
        }
        var drivers: [DriverName] = []
        for (index, element) in elements.enumerated() {
            let elementPath = place.appending(index: index)
            guard let driver = driver(element, at: elementPath, allowed: []) else { continue }
            if drivers.contains(driver) {
                problems.error(
                    .invalidValue, at: element.position, elementPath,
                    "\"\(driver.rawValue)\" stands twice in the list")
            }
            drivers.append(driver)
        }
        return drivers.isEmpty ? nil : .listed(drivers)
    }

    private mutating func driver(
        _ tree: ConfigTree, at place: ConfigPath, allowed others: [String]
    ) -> DriverName? {
        guard case .string(let text) = tree.content else {
            wrongType(tree, at: place, expected: "a string")
            return nil
        }
        if let driver = DriverName(rawValue: text) { return driver }
        notAllowed(
            text, Located(value: text, position: tree.position, path: place),
            allowed: others + DriverName.allCases.map(\.rawValue))
        return nil
    }
}
