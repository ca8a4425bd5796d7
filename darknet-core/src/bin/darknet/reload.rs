use std::{
    process::ExitCode,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use darknet_core::{
    Config, Error,
    live::{Change, Control},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::Signals,
};

use crate::{configuring::Configuring, status};

/// Let a running telescope read its configuration file again: dark prefixes, exclusions, filter
/// and sample may have changed.
///
/// Nothing is lost, and each packet is counted by the old rules or the new ones. If the file is
/// wrong, the old configuration stays, and this says why. SIGHUP does the same.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Only the telescope on this interface.
    interface: Option<String>,
}

/// How long a telescope may take to answer: it loads a program, and closes a window.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Error> {
    let running = status::running(arguments.interface.as_deref());
    let [running] = running.as_slice() else {
        match (&arguments.interface, running.len()) {
            (Some(interface), 0) => say!("error: no telescope runs on {interface}"),
            (None, 0) => say!("error: no telescope runs here"),
            _ => {
                let on = running.iter().map(|running| running.interface.as_str());
                let on: Vec<_> = on.collect();
                say!(
                    "error: several telescopes run; name one of {}",
                    on.join(", ")
                );
            }
        }
        return Ok(ExitCode::FAILURE);
    };
    let before = running.reloads();
    kill(Pid::from_raw(running.process), Signal::SIGHUP).map_err(|error| Error::System {
        doing: format!("signalling process {}", running.process),
        source: error.into(),
    })?;
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        thread::sleep(Duration::from_millis(20));
        match running.reloads() {
            after if after.number == before.number => {}
            after => match after.refused {
                None => {
                    say!("reloaded the telescope on {}", running.interface);
                    return Ok(ExitCode::SUCCESS);
                }
                Some(why) => {
                    say!("error: {why}; the old configuration stays");
                    return Ok(ExitCode::FAILURE);
                }
            },
        }
    }
    say!(
        "error: the telescope on {} does not answer",
        running.interface
    );
    Ok(ExitCode::FAILURE)
}

/// Listens for signals from now on: SIGINT and SIGTERM stop the watch, SIGHUP reads the
/// configuration again.
pub(crate) fn listen(
    configuring: Configuring,
    config: Config,
    control: Control,
    status: Arc<status::Page>,
) -> Result<(), Error> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).map_err(Error::Thread)?;
    let named = thread::Builder::new().name("signals".into());
    let listening = named.spawn(move || {
        let mut config = config;
        for signal in signals.forever() {
            if signal != SIGHUP {
                control.stop();
                continue;
            }
            match changed(&configuring, &config) {
                Ok((new, change)) => {
                    config = new;
                    control.change(change);
                }
                Err(error) => status.reloaded(Err(error)),
            }
        }
    });
    listening.map(drop).map_err(Error::Thread)
}

/// What a configuration file says now.
fn changed(configuring: &Configuring, running: &Config) -> Result<(Config, Change), Error> {
    let new = configuring.config_of_file()?;
    running.check_reload(&new)?;
    let change = Change {
        dark: new.dark()?,
        filter: new.filter.clone(),
        sample: new.sample,
    };
    Ok((new, change))
}
