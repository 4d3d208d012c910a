import Foundation
import Glibc

/// Two machines in one: a network for a supervisor and one for its client, joined by a cable.
final class NetworkNamespaces {
    let serverAddress = "10.213.77.1"
    private let clientAddress = "10.213.77.2"
    private let server: String
    private let client: String

    /// Whether this process may make networks, and has the program for it.
    static let areUsable: Bool = {
        guard geteuid() == 0, let probe = try? NetworkNamespaces() else { return false }
        withExtendedLifetime(probe) {}
        return true
    }()

    init() throws {
        let suffix = "\(getpid())-\(UInt16.random(in: 0...0xFFFF))"
        server = "hlt-s-\(suffix)"
        client = "hlt-c-\(suffix)"
        do {
            try Self.ip("netns add \(server)")
            try Self.ip("netns add \(client)")
            try Self.ip("link add cable netns \(server) type veth peer name cable netns \(client)")
            for (name, address) in [(server, serverAddress), (client, clientAddress)] {
                try Self.ip("-n \(name) addr add \(address)/24 dev cable")
                try Self.ip("-n \(name) link set lo up")
                try Self.ip("-n \(name) link set cable up")
            }
        } catch {
            remove()
            throw error
        }
    }

    deinit { remove() }

    private func remove() {
        for name in [server, client] { try? Self.ip("netns del \(name)") }
    }

    /// The words in front of a command line that put a program into one of the networks.
    var inServer: [String] { ["ip", "netns", "exec", server] }
    var inClient: [String] { ["ip", "netns", "exec", client] }

    /// The client's machine is gone: no byte comes from it any more, and no end of a connection.
    func cutClientOff() throws { try Self.ip("-n \(client) link set cable down") }

    private static func ip(_ words: String) throws {
        let program = try RunningProgram("ip", words.split(separator: " ").map(String.init))
        let ending = try program.waitForEnd(.seconds(10))
        guard ending == .exit(0) else {
            throw HarnessError("ip \(words): \(program.output.text)")
        }
    }
}
