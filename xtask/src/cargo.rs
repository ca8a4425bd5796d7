use std::{
    io::Read,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// The root of the workspace.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask lies in the workspace")
}

/// A `cargo` command in the workspace.
pub fn cargo() -> Command {
    let mut command = Command::new("cargo");
    command.current_dir(root());
    // What an outer cargo sets for this program is not meant for the inner one.
    for name in ["CARGO", "RUSTC", "RUSTFLAGS", "RUSTDOCFLAGS"] {
        command.env_remove(name);
    }
    command
}

/// Builds the `darknet` binary, and says where it is.
///
/// # Errors
///
/// What went wrong, on one line; the compiler's own messages are on standard error.
pub fn darknet(release: bool) -> Result<PathBuf, String> {
    let build = [
        "build",
        "--package",
        "darknet-core",
        "--bin",
        "darknet",
        "--features",
        "cli",
    ];
    let release = release.then_some("--release");
    executable(&[&build[..], release.as_slice()].concat(), "darknet")
}

/// Builds what cargo's arguments say, and says where the executable of the target `name` is.
///
/// # Errors
///
/// What went wrong, on one line; the compiler's own messages are on standard error.
pub fn executable(arguments: &[&str], name: &str) -> Result<PathBuf, String> {
    let mut build = cargo();
    build
        .args(arguments)
        .args(["--quiet", "--message-format=json-render-diagnostics"])
        .stdout(Stdio::piped());
    let mut child = build.spawn().map_err(|error| format!("cargo: {error}"))?;
    let mut messages = String::new();
    if let Some(out) = &mut child.stdout {
        out.read_to_string(&mut messages)
            .map_err(|error| format!("cargo: {error}"))?;
    }
    let status = child.wait().map_err(|error| format!("cargo: {error}"))?;
    if !status.success() {
        return Err(format!("{name} could not be built"));
    }
    let executable = messages.lines().find_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        (message["target"]["name"] == name).then_some(())?;
        Some(PathBuf::from(message["executable"].as_str()?))
    });
    executable.ok_or_else(|| format!("cargo does not say where it built {name}"))
}
