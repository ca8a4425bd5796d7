use std::{fs, path::Path, process::ExitCode};

use darknet_core::{Error, kernel};

/// Say what this host and an interface give to a telescope, before anything is attached.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The interface.
    interface: String,
}

/// One thing that was looked at.
struct Finding {
    what: &'static str,
    is: String,
    /// What to do about it; `None` if it is well.
    advice: Option<String>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Error> {
    let Arguments { interface } = arguments;
    let mut findings = vec![privilege(), release(), carrier(interface)];
    // Of an interface that is not there nothing else is to be said.
    if flags(interface).is_some() {
        findings.extend([driver(interface), queues(interface), unit(interface)]);
    }
    let well = findings.iter().all(|finding| finding.advice.is_none());
    for Finding { what, is, advice } in findings {
        println!("{what:<10} {is}");
        if let Some(advice) = advice {
            println!("{:<10} -> {advice}", "");
        }
    }
    Ok(match well {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

fn privilege() -> Finding {
    let missing = kernel::missing_capabilities().unwrap_or_default();
    let (is, advice) = match missing.is_empty() {
        true => ("everything that is needed".into(), None),
        false => (
            format!("without {missing}"),
            Some("run as root, or grant them to the program with setcap".into()),
        ),
    };
    Finding {
        what: "privilege",
        is,
        advice,
    }
}

fn release() -> Finding {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release
        .split(['.', '-'])
        .map_while(|part| part.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    Finding {
        what: "kernel",
        is: release.trim().into(),
        advice: (version < (6, 12)).then(|| "6.12 is the oldest that takes the program".into()),
    }
}

/// What the system says of an interface, in one of its files.
fn read(interface: &str, file: &str) -> Option<String> {
    let path = Path::new("/sys/class/net").join(interface).join(file);
    Some(fs::read_to_string(path).ok()?.trim().to_owned())
}

/// What is set on an interface; `None` if there is no such interface.
fn flags(interface: &str) -> Option<u32> {
    let flags = read(interface, "flags")?;
    u32::from_str_radix(flags.strip_prefix("0x")?, 16).ok()
}

fn carrier(interface: &str) -> Finding {
    // `IFF_UP`, `include/uapi/linux/if.h`. Not `operstate`, which follows a second later and has
    // the same word for a missing cable.
    let is_up = flags(interface).map(|flags| flags & 1 == 1);
    let (is, advice) = match is_up {
        None => (
            format!("{interface:?} does not exist"),
            Some("ip link lists the interfaces that do".into()),
        ),
        Some(false) => (
            format!("{interface} is down"),
            Some(format!("ip link set {interface} up")),
        ),
        Some(true) if read(interface, "carrier").as_deref() == Some("0") => (
            format!("{interface} is up, and nobody is at the other end"),
            Some("look at the cable, or at the other interface of the pair".into()),
        ),
        Some(true) => (format!("{interface} is up"), None),
    };
    Finding {
        what: "interface",
        is,
        advice,
    }
}

fn driver(interface: &str) -> Finding {
    let link = Path::new("/sys/class/net")
        .join(interface)
        .join("device/driver");
    let driver = fs::read_link(link).ok();
    let name = driver
        .as_deref()
        .and_then(Path::file_name)
        .and_then(|name| name.to_str());
    Finding {
        what: "driver",
        is: name.unwrap_or("none: a virtual interface").into(),
        advice: None,
    }
}

fn queues(interface: &str) -> Finding {
    let folder = Path::new("/sys/class/net").join(interface).join("queues");
    let entries = fs::read_dir(folder).map(|entries| entries.flatten().collect::<Vec<_>>());
    let count = |kind: &str| {
        let entries = entries.as_deref().unwrap_or_default().iter();
        entries
            .filter(|entry| entry.file_name().to_string_lossy().starts_with(kind))
            .count()
    };
    Finding {
        what: "queues",
        is: format!("{} to receive, {} to send", count("rx-"), count("tx-")),
        advice: None,
    }
}

fn unit(interface: &str) -> Finding {
    let mtu = read(interface, "mtu").and_then(|mtu| mtu.parse::<u32>().ok());
    Finding {
        what: "MTU",
        is: mtu.map_or("not known".into(), |mtu| mtu.to_string()),
        // A driver without multi-buffer refuses a program when a frame does not fit a page.
        advice: mtu
            .filter(|&mtu| mtu > 3_498 && interface != "lo")
            .map(|_| {
                format!("some drivers refuse XDP above 3498: ip link set {interface} mtu 1500")
            }),
    }
}
