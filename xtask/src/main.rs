//! The project's own commands: one file per subcommand.
#![forbid(unsafe_code)]

mod bench;
mod bpf_toolchain;
mod build_ebpf;
mod run;
#[cfg(target_os = "linux")]
mod show;
mod test;
mod verify_ebpf;
#[cfg(target_os = "linux")]
mod vm;

use std::process::ExitCode;

use clap::Parser;

/// The project's own commands.
#[derive(Parser)]
#[command(name = "cargo xtask")]
enum Command {
    Run(run::Arguments),
    Test(test::Arguments),
    #[command(subcommand)]
    Bench(bench::Arguments),
    BuildEbpf(build_ebpf::Arguments),
    VerifyEbpf(verify_ebpf::Arguments),
    Scenario(xtask::scenario_command::Arguments),
    #[cfg(target_os = "linux")]
    Vm(vm::Arguments),
    #[cfg(target_os = "linux")]
    #[command(hide = true)]
    VmGuest(vm::guest::Arguments),
}

fn main() -> ExitCode {
    let outcome = match Command::parse() {
        Command::Run(arguments) => run::run(arguments),
        Command::Test(arguments) => test::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::BuildEbpf(arguments) => build_ebpf::run(&arguments),
        Command::VerifyEbpf(arguments) => verify_ebpf::run(&arguments),
        Command::Scenario(arguments) => xtask::scenario_command::run(arguments)
            .map(|()| ExitCode::SUCCESS)
            .map_err(|error| error.to_string()),
        #[cfg(target_os = "linux")]
        Command::Vm(arguments) => vm::run(&arguments),
        #[cfg(target_os = "linux")]
        Command::VmGuest(arguments) => vm::guest::run(&arguments),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {error}");
        ExitCode::FAILURE
    })
}
