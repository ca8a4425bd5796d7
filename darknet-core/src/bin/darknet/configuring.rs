use std::{num::NonZeroU32, path::PathBuf};

use darknet_core::{
    Config, Error, Filter, FilterAction, SampleOf, live, parse_prefix, xsk::ZeroCopy,
};

use crate::options::Counting;

/// What is watched, and how: a file, and what the command line lays over it.
#[derive(clap::Args)]
pub(crate) struct Configuring {
    /// Read the configuration from this file (TOML); options given beside it win.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// The interface to watch.
    #[arg(long, value_name = "IF", required_unless_present = "config")]
    interface: Option<String>,

    /// Whether each counted packet is delivered, so that hosts and sources are known [default:
    /// auto].
    #[arg(long, value_name = "HOW")]
    packets: Option<How>,

    /// Whether the driver writes frames into our memory itself; the other settings of frames are
    /// keys of the file [default: prefer].
    #[arg(long, value_name = "HOW")]
    zero_copy: Option<Direct>,

    /// Take frames on huge pages, where enough are reserved.
    #[arg(
        long,
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    huge_pages: Option<bool>,

    /// Count and drop every IP packet, addresses of this host included.
    #[arg(long, conflicts_with = "dark")]
    any: bool,

    /// Neither count nor deliver packets to dark prefixes from these sources; repeat for more.
    #[arg(long, value_name = "PREFIX", value_parser = parse_prefix, value_delimiter = ',')]
    filter: Vec<ipnet::IpNet>,

    /// What becomes of filtered packets [default: drop].
    #[arg(long, value_name = "ACTION")]
    filter_action: Option<Action>,

    /// Deliver one in so many counted packets; 1 is all [default: 1].
    #[arg(long, value_name = "N")]
    sample: Option<NonZeroU32>,

    /// One in so many of what [default: packets].
    #[arg(long, value_name = "WHAT")]
    sample_of: Option<Of>,

    /// MiB that the kernel's tables may take; by default it depends on the host.
    #[arg(long, value_name = "MIB")]
    kernel_memory: Option<usize>,

    /// Also count by class, port and source network together.
    #[arg(
        long,
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    networks_by_port: Option<bool>,

    /// Pin the kernel program's tables in this folder of a bpffs.
    #[arg(long, value_name = "DIR")]
    pins: Option<PathBuf>,

    #[command(flatten)]
    counting: Counting,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum How {
    /// The whole frame, through AF_XDP.
    Frames,
    /// A record of its headers.
    Headers,
    /// Nothing: hosts and sources are not known.
    None,
    /// Frames where the driver delivers them without a copy, headers elsewhere.
    Auto,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Direct {
    /// Where it can, else they are copied.
    Prefer,
    /// They are copied.
    Never,
    /// Where it can't, nothing starts.
    Require,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Action {
    /// They are dropped.
    Drop,
    /// They go on to the host.
    Pass,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Of {
    /// Packets, whatever they are.
    Packets,
    /// Source networks: of one network all packets or none.
    Networks,
}

impl Configuring {
    /// As [`config`](Self::config), where there is a file to read again.
    pub(crate) fn config_of_file(&self) -> Result<Config, Error> {
        match self.config {
            Some(_) => self.config(),
            None => Err(Error::NoConfig),
        }
    }

    /// The file with the options laid over it, key by key: a list that is given replaces that of
    /// the file.
    pub(crate) fn config(&self) -> Result<Config, Error> {
        let Self {
            config: file,
            interface,
            packets,
            zero_copy,
            huge_pages,
            any,
            filter,
            filter_action,
            sample,
            sample_of,
            kernel_memory,
            networks_by_port,
            pins,
            counting,
        } = self;
        let mut config = match file {
            Some(file) => Config::read(file)?,
            None => Config::default(),
        };
        counting.lay_over(&mut config)?;
        if *any {
            config.any = true;
            config.dark.clear();
        }
        if let Some(interface) = interface {
            config.interface = Some(interface.clone());
        }
        if let Some(packets) = packets {
            config.packets = match packets {
                How::Auto => live::Packets::Auto,
                How::Frames => live::Packets::Frames,
                How::Headers => live::Packets::Headers,
                How::None => live::Packets::None,
            };
        }
        if let Some(zero_copy) = zero_copy {
            config.frames.zero_copy = match zero_copy {
                Direct::Prefer => ZeroCopy::Prefer,
                Direct::Never => ZeroCopy::Never,
                Direct::Require => ZeroCopy::Require,
            };
        }
        if let Some(huge_pages) = huge_pages {
            config.frames.huge_pages = *huge_pages;
        }
        let sources = match filter.as_slice() {
            [] => config.filter.sources(),
            given => given,
        };
        let action = match filter_action {
            Some(Action::Drop) => FilterAction::Drop,
            Some(Action::Pass) => FilterAction::Pass,
            None => config.filter.action(),
        };
        config.filter = Filter::new(sources, action)?;
        if let Some(one_in) = sample {
            config.sample.one_in = *one_in;
        }
        match sample_of {
            Some(Of::Packets) => config.sample.of = SampleOf::Packets,
            Some(Of::Networks) => config.sample.of = SampleOf::Networks,
            None => {}
        }
        if let Some(memory) = kernel_memory {
            config.kernel_memory = Some(*memory);
        }
        if let Some(networks_by_port) = networks_by_port {
            config.networks_by_port = *networks_by_port;
        }
        if let Some(pins) = pins {
            config.pins = Some(pins.clone());
        }
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use darknet_core::{Sample, window::Length};
    use jiff::tz::TimeZone;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        configuring: Configuring,
    }

    fn config(arguments: &[&str]) -> Config {
        let line = [&["darknet"], arguments].concat();
        let line = Line::try_parse_from(line).unwrap_or_else(|error| panic!("{error}"));
        line.configuring.config().expect("it is right")
    }

    #[test]
    fn without_a_file_it_is_the_default() {
        let mut expected = Config::default();
        expected.interface = Some("eth1".into());
        assert_eq!(config(&["--interface", "eth1"]), expected);
    }

    #[test]
    fn each_option_wins_over_the_file_and_the_others_stay() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/telescope.toml");
        let read = Config::read(file).expect("it is right");
        assert_eq!(config(&["--config", file]), read);
        let net = |text: &str| -> ipnet::IpNet { text.parse().expect(text) };
        let filter = |source: &str, action| Filter::new(&[net(source)], action).expect("a filter");
        let sample = |one_in, of| Sample::new(one_in, of).expect("a sample");
        type Change<'a> = &'a dyn Fn(&mut Config);
        let cases: &[(&[&str], Change<'_>)] = &[
            (&["--interface", "eth2"], &|config| {
                config.interface = Some("eth2".into());
            }),
            (&["--dark", "203.0.112.0/23,10.0.0.0/8"], &|config| {
                config.dark = vec![net("203.0.112.0/23"), net("10.0.0.0/8")];
            }),
            (&["--exclude", "203.0.113.7"], &|config| {
                config.exclude = vec![net("203.0.113.7/32")];
            }),
            (&["--any"], &|config| {
                config.any = true;
                config.dark = Vec::new();
            }),
            (&["--window", "5m"], &|config| {
                config.window = std::time::Duration::from_secs(300);
            }),
            (&["--rollup", "days"], &|config| {
                config.rollup = vec![Length::Day];
            }),
            (&["--zone", "UTC"], &|config| config.zone = TimeZone::UTC),
            (&["--seed", "0x1f3a"], &|config| config.seed = Some(0x1f3a)),
            (&["--packets", "none"], &|config| {
                config.packets = live::Packets::None;
            }),
            (&["--zero-copy", "require"], &|config| {
                config.frames.zero_copy = ZeroCopy::Require;
            }),
            (&["--huge-pages"], &|config| {
                config.frames.huge_pages = true;
            }),
            (&["--memory", "8"], &|config| config.memory = 8),
            (&["--payloads=false"], &|config| config.payloads = false),
            (&["--kernel-memory", "128"], &|config| {
                config.kernel_memory = Some(128);
            }),
            (&["--networks-by-port"], &|config| {
                config.networks_by_port = true;
            }),
            (&["--pins", "/sys/fs/bpf/other"], &|config| {
                config.pins = Some("/sys/fs/bpf/other".into());
            }),
            (&["--filter", "1.0.0.0/8"], &|config| {
                config.filter = filter("1.0.0.0/8", FilterAction::Drop);
            }),
            (&["--filter-action", "pass"], &|config| {
                config.filter = filter("198.51.100.0/24", FilterAction::Pass);
            }),
            (&["--sample", "100"], &|config| {
                config.sample = sample(100, SampleOf::Packets);
            }),
            (&["--sample-of", "networks"], &|config| {
                config.sample = sample(1, SampleOf::Networks);
            }),
        ];
        for (arguments, change) in cases {
            let mut expected = read.clone();
            change(&mut expected);
            let config = config(&[&["--config", file], *arguments].concat());
            assert_eq!(config, expected, "{arguments:?}");
            assert_ne!(config, read, "{arguments:?}");
        }
    }

    #[test]
    fn what_a_file_switches_on_is_switched_off() {
        let name = format!("darknet-configuring-{}.toml", std::process::id());
        let file = std::env::temp_dir().join(name);
        let text = "any = true\nnetworks_by_port = true\npackets = 'none'\n";
        std::fs::write(&file, text).expect("a file");
        let file_name = file.to_str().expect("UTF-8");
        let off = config(&[
            "--config",
            file_name,
            "--dark",
            "10.0.0.0/8",
            "--networks-by-port=false",
            "--packets",
            "auto",
        ]);
        std::fs::remove_file(&file).expect("it was there");
        let mut expected = Config::default();
        expected.dark = vec!["10.0.0.0/8".parse().expect("a net")];
        assert_eq!(off, expected);
    }
}
