import CLinux
import Glibc

/// Makes this process independent of how it was started.
///
/// Descriptors 0, 1 and 2 exist afterwards, so that no socket gets such a number and receives log
/// lines; a broken pipe is an error and no death; children can be waited for also when the starter
/// ignored SIGCHLD; and the soft limit of open files is as high as `openFiles`, if it may.
/// Call it first, before another thread exists.
package func setUpProcess(openFiles: UInt64) throws(SystemCallError) {
    var null = try openNull()
    while null.rawValue <= 2 {
        // It is what was missing: it stays open as long as the process.
        _ = null.release()
        null = try openNull()
    }
    _ = signal(SIGPIPE, SIG_IGN)
    _ = signal(SIGCHLD, SIG_DFL)
    var limit = rlimit()
    guard unsafe getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0,
        limit.rlim_cur < openFiles
    else { return }
    limit.rlim_cur = min(rlim_t(openFiles), limit.rlim_max)
    // A lower limit is met when a sandbox cannot be started, and told then.
    _ = unsafe setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
}

/// This process's id.
package func ownProcessID() -> Int32 { getpid() }

/// Whether this process acts as the superuser.
package func isRoot() -> Bool { geteuid() == 0 }

/// The name of a user in the system's database, or nil when nobody has this id.
package func userName(of identity: UInt32) -> String? {
    var entry = unsafe passwd()
    var found: UnsafeMutablePointer<passwd>?
    var texts = [CChar](repeating: 0, count: 16_384)
    let code = unsafe getpwuid_r(identity, &entry, &texts, texts.count, &found)
    guard code == 0, unsafe found != nil, let name = unsafe entry.pw_name else { return nil }
    return unsafe String(cString: name)
}

/// Whether at least `count` more descriptors can be opened; true also when that cannot be known.
package func hasFreeDescriptors(_ count: Int) -> Bool {
    var limit = rlimit()
    guard unsafe getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else {
        return true
    }
    return folderContent("/proc/self/fd").count + count <= Int(clamping: limit.rlim_cur)
}
