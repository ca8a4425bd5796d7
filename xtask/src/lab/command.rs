use std::{collections::BTreeMap, io, process::Command};

use super::error::Error;

/// Runs `ip` with these arguments.
pub(super) fn ip(arguments: &[&str]) -> Result<String, Error> {
    run("ip", "iproute2", arguments)
}

/// Runs `ethtool` with these arguments, in the namespace of the thread that calls.
pub(super) fn ethtool(arguments: &[&str]) -> Result<String, Error> {
    run("ethtool", "ethtool", arguments)
}

/// The driver's own statistics of an interface in the namespace of the thread that calls.
pub(super) fn statistics(interface: &str) -> Result<BTreeMap<String, u64>, Error> {
    let text = ethtool(&["-S", interface])?;
    Ok(parse_statistics(&text))
}

fn parse_statistics(text: &str) -> BTreeMap<String, u64> {
    let lines = text.lines().filter_map(|line| line.rsplit_once(':'));
    lines
        .filter_map(|(name, value)| Some((name.trim().to_owned(), value.trim().parse().ok()?)))
        .collect()
}

fn run(program: &'static str, package: &'static str, arguments: &[&str]) -> Result<String, Error> {
    let mut command = Command::new(program);
    // Messages that do not depend on who runs it.
    command.args(arguments).env("LC_ALL", "C");
    let output = command.output().map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => Error::Missing {
            program,
            package,
            source,
        },
        _ => Error::System {
            action: program.to_owned(),
            source,
        },
    })?;
    if !output.status.success() {
        let message = String::from_utf8_lossy(&output.stderr);
        let message = message.lines().find(|line| !line.trim().is_empty());
        return Err(Error::Command {
            command: format!("{program} {}", arguments.join(" ")),
            message: message.map_or_else(|| output.status.to_string(), str::to_owned),
        });
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_are_lines_of_name_and_number() {
        let text = "NIC statistics:\n     rx_queue_0_drops: 7\n     tx[0]: x: 12\n     odd: no\n";
        let statistics = parse_statistics(text);
        assert_eq!(statistics["rx_queue_0_drops"], 7);
        assert_eq!(statistics["tx[0]: x"], 12);
        assert_eq!(statistics.len(), 2);
    }

    #[test]
    fn a_missing_program_names_its_package() {
        let error = run("darknet-no-such-program", "a-package", &[]).unwrap_err();
        assert!(
            error.to_string().ends_with("apt-get install a-package"),
            "{error}"
        );
    }

    #[test]
    fn a_failure_is_one_line_with_the_command() {
        let error = run("ls", "coreutils", &["/no/such/file"]).unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with("ls /no/such/file: "), "{text}");
        assert_eq!(text.lines().count(), 1, "{text}");
    }
}
