use std::{
    env,
    process::{Command, ExitCode, Stdio},
    time::Instant,
};

use xtask::cargo::{cargo, root};

use crate::bpf_toolchain::Toolchain;

/// Check everything: format, lints, tests, documentation, benches that compile, the committed
/// kernel programs, fuzzing.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Fail where something cannot be run here, instead of saying so.
    #[arg(long)]
    everything: bool,

    /// Seconds that each fuzz target runs.
    #[arg(long, value_name = "N", default_value_t = 10)]
    fuzz_seconds: u32,
}

/// The fuzz targets.
const TARGETS: [&str; 2] = ["replay", "walk"];

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, String> {
    let mut steps = vec![
        ("format", with(&["fmt", "--all", "--check"])),
        (
            "format of fuzz targets",
            with(&["fmt", "--check", "--manifest-path", "fuzz/Cargo.toml"]),
        ),
        (
            "lints",
            with(&[
                "clippy",
                "--workspace",
                "--all-targets",
                "--all-features",
                "--",
                "-Dwarnings",
            ]),
        ),
        (
            "lints without features",
            with(&[
                "clippy",
                "--package",
                "darknet-core",
                "--no-default-features",
                "--",
                "-Dwarnings",
            ]),
        ),
        ("tests", with(&["test", "--workspace", "--all-features"])),
        (
            "benches, each once",
            with(&["test", "--package", "darknet-benches", "--benches"]),
        ),
        ("documentation", {
            let mut doc = with(&["doc", "--workspace", "--no-deps", "--all-features"]);
            doc.env("RUSTDOCFLAGS", "-Dwarnings");
            doc
        }),
    ];
    let mut left_out = Vec::new();
    if arguments.everything || Toolchain::find().is_ok() {
        let mut verify = Command::new(env::current_exe().map_err(|error| error.to_string())?);
        verify.arg("verify-ebpf");
        verify.args(arguments.everything.then_some("--install"));
        steps.push(("kernel programs against their source", verify));
    } else {
        left_out.push("kernel programs against their source: cargo xtask verify-ebpf --install");
    }
    let mut valgrind = Command::new("valgrind");
    valgrind.arg("--version");
    if cfg!(target_os = "linux") && (arguments.everything || works(valgrind)) {
        let mut stages = Command::new(env::current_exe().map_err(|error| error.to_string())?);
        stages.args(["bench", "stages", "--instructions"]);
        steps.push(("instructions of the packet plane", stages));
    } else {
        left_out.push("instructions of the packet plane: needs valgrind");
    }
    if env::var_os("DARKNET_PRIVILEGED").is_none() {
        left_out.push("privileged tests: as root, with DARKNET_PRIVILEGED=1");
    }
    if env::var_os("DARKNET_TESTDATA").is_none() {
        left_out.push("real captures: DARKNET_TESTDATA names no folder of them");
    }
    if works(with(&["+nightly", "fuzz", "--version"])) {
        for target in TARGETS {
            let mut fuzz = with(&["+nightly", "fuzz", "run", target]);
            // What is found goes beside the named seeds, not among them.
            let found = root().join("target/fuzz-corpus").join(target);
            std::fs::create_dir_all(&found).map_err(|error| error.to_string())?;
            fuzz.arg(found).arg(root().join("fuzz/corpus").join(target));
            fuzz.arg("--target-dir")
                .arg(root().join("target/fuzz"))
                .arg("--");
            fuzz.arg(format!("-max_total_time={}", arguments.fuzz_seconds));
            fuzz.args([
                "-rss_limit_mb=1024",
                "-timeout=10",
                "-print_final_stats=0",
                "-verbosity=0",
            ]);
            steps.push(("fuzzing", fuzz));
        }
    } else {
        left_out.push("fuzzing: needs rustup toolchain install nightly, cargo install cargo-fuzz");
    }
    let begun = Instant::now();
    for (name, step) in &mut steps {
        eprintln!("\n== {name}: {step:?}");
        let begun = Instant::now();
        let status = step.status().map_err(|error| format!("{name}: {error}"))?;
        if !status.success() {
            return Err(format!("{name} failed"));
        }
        eprintln!("== {name}: passed in {:.0?}", begun.elapsed());
    }
    eprintln!("\n{} steps passed in {:.0?}", steps.len(), begun.elapsed());
    for what in &left_out {
        eprintln!("NOT RUN: {what}");
    }
    if arguments.everything && !left_out.is_empty() {
        return Err("--everything was asked for".into());
    }
    Ok(ExitCode::SUCCESS)
}

fn with(arguments: &[&str]) -> Command {
    let mut command = cargo();
    command.args(arguments);
    command
}

fn works(mut command: Command) -> bool {
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}
