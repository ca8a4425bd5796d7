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
    let mut build = cargo();
    build
        .args(["build", "--quiet", "--package", "darknet-core"])
        .args(["--bin", "darknet", "--features", "cli"])
        .arg("--message-format=json-render-diagnostics")
        .args(release.then_some("--release"))
        .stdout(Stdio::piped());
    let mut child = build.spawn().map_err(|error| format!("cargo: {error}"))?;
    let mut messages = String::new();
    if let Some(out) = &mut child.stdout {
        out.read_to_string(&mut messages)
            .map_err(|error| format!("cargo: {error}"))?;
    }
    let status = child.wait().map_err(|error| format!("cargo: {error}"))?;
    if !status.success() {
        return Err("darknet could not be built".into());
    }
    let executable = messages.lines().find_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        Some(PathBuf::from(message["executable"].as_str()?))
    });
    executable.ok_or_else(|| "cargo does not say where it built darknet".into())
}
