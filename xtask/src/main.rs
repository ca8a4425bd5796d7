//! The project's own commands: one file per subcommand.
#![forbid(unsafe_code)]

mod bench;
mod run;
mod test;

use std::process::ExitCode;

use clap::Parser;

/// The project's own commands.
#[derive(Parser)]
#[command(name = "cargo xtask")]
enum Command {
    Run(run::Arguments),
    Test(test::Arguments),
    Bench(bench::Arguments),
    Scenario(xtask::scenario_command::Arguments),
}

fn main() -> ExitCode {
    let outcome = match Command::parse() {
        Command::Run(arguments) => run::run(arguments),
        Command::Test(arguments) => test::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Scenario(arguments) => xtask::scenario_command::run(arguments)
            .map(|()| ExitCode::SUCCESS)
            .map_err(|error| error.to_string()),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {error}");
        ExitCode::FAILURE
    })
}
