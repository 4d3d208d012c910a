import CLinux

/// What this program was built from: the same text in all programs of one build.
package var buildID: String {
    // SAFETY: a string constant of the program.
    unsafe String(cString: clinux_build_id())
}

/// The version of the project.
package let projectVersion = "0.1.0"
