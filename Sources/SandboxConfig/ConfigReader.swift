import GuestModel

/// Turns the tree of a file into settings, noting every mistake on the way.
///
/// A function returns nil for a value that is absent or wrong; what is wrong has been noted then,
/// and the reading goes on with the next value.
struct ConfigReader {
    static let formatVersion: UInt64 = 1
    static let sandboxCountMax = 1024

    /// Absolute; relative paths are taken from here.
    let folder: String
    var problems: ProblemList

    /// The configuration as far as it is right; use it only when no error was noted.
    mutating func readConfiguration(_ tree: ConfigTree) -> SupervisorConfiguration? {
        guard let root = object(tree, at: ConfigPath(), ConfigKeys.root) else { return nil }
        _ = string(root, "$schema")
        checkVersion(root)
        let socket = readControlSocket(root)
        let log = readLog(root)
        let firstUserID = readFirstUserID(root)
        var defaults = SandboxFields()
        if let view = object(root, "defaults", ConfigKeys.defaults) {
            defaults = readFields(view)
        }
        let sandboxes = readSandboxes(root, defaults: defaults)
        return SupervisorConfiguration(
            controlSocket: socket, log: log,
            firstUserID: firstUserID ?? SupervisorConfiguration.standardFirstUserID,
            sandboxes: sandboxes)
    }

    private mutating func checkVersion(_ root: ObjectView) {
        guard root.members["version"] != nil else { return missing("version", in: root) }
        guard let version = integer(root, "version", allowed: 0...UInt64.max) else { return }
        guard version.value != Self.formatVersion else { return }
        problems.error(
            .outOfRange, at: version.position, version.path,
            "version \(version.value) of the format is not supported (allowed 1)")
    }

    private mutating func readControlSocket(_ root: ObjectView) -> String? {
        guard let control = object(root, "control", ConfigKeys.control),
            let socket = path(control, "socket")
        else { return nil }
        // `sun_path` has 108 bytes with the closing zero; see unix(7).
        guard socket.value.utf8.count <= 107 else {
            problems.error(
                .outOfRange, at: socket.position, socket.path,
                "a socket path may have at most 107 bytes, this one has "
                    + "\(socket.value.utf8.count): \(socket.value.printable)")
            return nil
        }
        return socket.value
    }

    private mutating func readLog(_ root: ObjectView) -> LogSettings {
        var settings = LogSettings()
        guard let log = object(root, "log", ConfigKeys.log) else { return settings }
        if let format: Located<LogFormat> = choice(log, "format", later: ["journald"]) {
            settings.format = format.value
        }
        if let level: Located<LogLevel> = choice(log, "level") { settings.level = level.value }
        return settings
    }

    private mutating func readSandboxes(
        _ root: ObjectView, defaults: SandboxFields
    ) -> [SandboxSettings] {
        guard let tree = root.members["sandboxes"] else {
            missing("sandboxes", in: root)
            return []
        }
        let listPath = root.path.appending(key: "sandboxes")
        guard case .array(let elements) = tree.content else {
            wrongType(tree, at: listPath, expected: "an array")
            return []
        }
        guard elements.count <= Self.sandboxCountMax else {
            problems.error(
                .outOfRange, at: tree.position, listPath,
                "\(elements.count) sandboxes (at most \(Self.sandboxCountMax))")
            return []
        }
        var register = SandboxRegister()
        for (index, element) in elements.enumerated() {
            let place = listPath.appending(index: index)
            guard let view = object(element, at: place, ConfigKeys.sandbox) else { continue }
            readSandbox(view, index: index, defaults: defaults, &register)
        }
        return register.sandboxes
    }

    private mutating func readSandbox(
        _ view: ObjectView, index: Int, defaults: SandboxFields, _ register: inout SandboxRegister
    ) {
        let name = readName(view, index: index, &register)
        if view.members["guest"] == nil { missing("guest", in: view) }
        let guest = path(view, "guest")
        let symbols = path(view, "symbols")
        let fields = readFields(view).filled(from: defaults)
        let memory = memorySettings(fields.memory, view)
        checkRemote(fields.debug, view)
        guard let name, let guest else { return }
        var debug = fields.debug.settings
        noteConflict(&debug, fields, name: name, index: index, view, &register)
        register.sandboxes.append(
            SandboxSettings(
                name: name, isEnabled: fields.isEnabled ?? true, guestPath: guest.value,
                symbolsPath: symbols?.value ?? guest.value, abi: fields.abi ?? .hyperlight,
                drivers: fields.drivers ?? .automatic, mode: fields.mode ?? .serve,
                memory: memory, debug: debug, labels: fields.labels ?? [:],
                acceptsUnversionedGuest: fields.acceptsUnversionedGuest ?? false,
                isolation: fields.isolation.settings, limits: fields.limits,
                restart: restartSettings(fields.restart, view),
                sourcePosition: view.position))
    }
}

// MARK: - What concerns several sandboxes

/// What the earlier sandboxes of the file have taken.
struct SandboxRegister {
    struct Owner {
        let index: Int
        let name: SandboxName
    }

    struct Endpoint: Hashable {
        let address: String
        let port: UInt16
    }

    var sandboxes: [SandboxSettings] = []
    var names: [SandboxName: Int] = [:]
    var endpoints: [Endpoint: Owner] = [:]
}

extension ConfigReader {
    private mutating func readName(
        _ view: ObjectView, index: Int, _ register: inout SandboxRegister
    ) -> SandboxName? {
        guard view.members["name"] != nil else {
            missing("name", in: view)
            return nil
        }
        guard let text = string(view, "name") else { return nil }
        guard let name = SandboxName(text.value) else {
            problems.error(
                .invalidValue, at: text.position, text.path,
                "\"\(text.value.printable)\" is not a sandbox name (1 to 63 of a-z, 0-9 and -, "
                    + "no - at either end)")
            return nil
        }
        if let first = register.names[name] {
            problems.error(
                .duplicateName, at: text.position, text.path,
                "\"\(name)\" is already the name of sandboxes[\(first)]")
            return nil
        }
        register.names[name] = index
        return name
    }

    /// The second sandbox with one endpoint runs on, without TCP debugging.
    private mutating func noteConflict(
        _ debug: inout DebugSettings, _ fields: SandboxFields, name: SandboxName, index: Int,
        _ view: ObjectView, _ register: inout SandboxRegister
    ) {
        // A sandbox that does not start binds nothing.
        guard debug.isEnabled, fields.isEnabled ?? true, let port = debug.port else { return }
        let endpoint = SandboxRegister.Endpoint(address: debug.address, port: port)
        guard let owner = register.endpoints[endpoint] else {
            register.endpoints[endpoint] = SandboxRegister.Owner(index: index, name: name)
            return
        }
        debug.portConflictWith = owner.name
        // Nobody reaches the port, so the default must not hold the guest for ever.
        debug.startup = fields.debug.startup ?? .run
        problems.warning(
            .portConflict, at: fields.debug.port?.position ?? view.position,
            view.path.appending(key: "debug").appending(key: "port"),
            "\(port) is already used by sandboxes[\(owner.index)] \"\(owner.name)\"; "
                + "\"\(name)\" runs without TCP debugging")
    }

    /// RSP has no authentication: leaving loopback must be said twice.
    private mutating func checkRemote(_ debug: DebugFields, _ view: ObjectView) {
        guard debug.isEnabled ?? true, let address = debug.address,
            !NumericAddress.isLoopback(address.value)
        else { return }
        guard debug.allowsRemote ?? false else {
            problems.error(
                .remoteDebugging, at: address.position, address.path,
                "\(address.value) is not a loopback address",
                hint: "a debugger reads and writes all guest memory without a password; "
                    + "say \"allowRemote\": true to accept that")
            return
        }
        problems.warning(
            .remoteDebugging, at: address.position, address.path,
            "\(address.value) lets other machines debug this sandbox without a password")
    }
}
