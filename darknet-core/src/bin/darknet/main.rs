//! The `darknet` command line: one file per subcommand.
#![forbid(unsafe_code)]

/// Says a line on standard error. Where nobody reads that any more, a telescope goes on.
macro_rules! say {
    ($($text:tt)*) => {{
        let line = format!("{}\n", format_args!($($text)*));
        let _ = std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes());
    }};
}

#[cfg(target_os = "linux")]
mod configuring;
#[cfg(target_os = "linux")]
mod detach;
#[cfg(target_os = "linux")]
mod doctor;
mod options;
mod progress;
#[cfg(target_os = "linux")]
mod reload;
mod replay;
#[cfg(target_os = "linux")]
mod run;
#[cfg(target_os = "linux")]
mod screen;
#[cfg(target_os = "linux")]
mod status;
mod table;

use std::{env, error::Error as _, process::ExitCode};

use clap::{
    CommandFactory as _, Parser,
    error::{ContextKind, ContextValue, ErrorKind},
};

/// A network telescope: says what every packet to dark address space is, and counts it.
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
enum Command {
    #[cfg(target_os = "linux")]
    Run(run::Arguments),
    Replay(replay::Arguments),
    #[cfg(target_os = "linux")]
    Doctor(doctor::Arguments),
    #[cfg(target_os = "linux")]
    Status(status::Arguments),
    #[cfg(target_os = "linux")]
    Reload(reload::Arguments),
    #[cfg(target_os = "linux")]
    Detach(detach::Arguments),
}

/// Wrong usage; failures are 1.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let command = match Command::try_parse() {
        Ok(command) => command,
        Err(error) => return usage(&error),
    };
    let outcome = match command {
        #[cfg(target_os = "linux")]
        Command::Run(arguments) => run::run(arguments),
        Command::Replay(arguments) => replay::run(arguments),
        #[cfg(target_os = "linux")]
        Command::Doctor(arguments) => doctor::run(&arguments),
        #[cfg(target_os = "linux")]
        Command::Status(arguments) => status::run(arguments),
        #[cfg(target_os = "linux")]
        Command::Reload(arguments) => reload::run(&arguments),
        #[cfg(target_os = "linux")]
        Command::Detach(arguments) => detach::run(&arguments),
    };
    outcome.unwrap_or_else(|error| {
        say!("error: {error}");
        ExitCode::from(match error {
            darknet_core::Error::Prefix { .. }
            | darknet_core::Error::HostBits { .. }
            | darknet_core::Error::Contradiction { .. }
            | darknet_core::Error::ExcludesNothing { .. }
            | darknet_core::Error::TooMany { .. }
            | darknet_core::Error::Setting { .. } => USAGE,
            #[cfg(target_os = "linux")]
            darknet_core::Error::NoDark | darknet_core::Error::DefaultRoute { .. } => USAGE,
            _ => 1,
        })
    })
}

/// Says on one line what is wrong with the arguments; help that was asked for goes out whole.
fn usage(error: &clap::Error) -> ExitCode {
    if matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
    ) {
        // Nothing is left to do where nobody reads it.
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        let _ = error.print();
        return ExitCode::from(USAGE);
    }
    let text = error.to_string();
    let lines = text
        .lines()
        .map(str::trim)
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"));
    // That a file may begin with a dash is no help.
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with("tip: to pass"));
    let joined = lines.fold(String::new(), |text, line| {
        let between = match &*text {
            "" => "",
            text if text.ends_with(':') || line.starts_with('[') => " ",
            _ => "; ",
        };
        text + between + line
    });
    let is_ours = |source: &(dyn std::error::Error + 'static)| source.is::<darknet_core::Error>();
    let way_out = if error.source().is_some_and(is_ours) {
        // It names it.
        String::new()
    } else {
        let meant = meant(error).unwrap_or_else(|| {
            "darknet help lists the commands, darknet help COMMAND its options".into()
        });
        format!("; {meant}")
    };
    say!("{joined}{way_out}");
    ExitCode::from(USAGE)
}

/// What the argument is for whose value is wrong, and so how to write it.
fn meant(error: &clap::Error) -> Option<String> {
    error.get(ContextKind::InvalidValue)?;
    let ContextValue::String(name) = error.get(ContextKind::InvalidArg)? else {
        return None;
    };
    let mut commands = Command::command();
    commands.build();
    let command = commands.find_subcommand(env::args_os().nth(1)?)?;
    let mut arguments = command.get_arguments();
    let argument = arguments.find(|argument| argument.to_string() == *name)?;
    Some(format!("{name}: {}", argument.get_help()?))
}
