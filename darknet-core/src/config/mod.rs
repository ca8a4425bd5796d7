//! The configuration file of a telescope that watches an interface.

mod explain;
mod frames;
mod given;

#[cfg(test)]
mod tests;

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    time::Duration,
};

use ipnet::IpNet;
use jiff::tz::TimeZone;
use serde::Deserialize;

use crate::{
    Dark, Error, Filter, Sample, Telescope,
    aggregate::Seed,
    live::{Packets, Watch},
    window::Length,
};

pub use frames::FrameConfig;
pub(crate) use given::Prefix;

/// What a telescope watches, and how: a TOML file, or set by hand.
///
/// Each field is a key of the file of the same name, and may be left out of it. An empty file is
/// the default. `darknet-core/examples/telescope.toml` has every key.
///
/// # Examples
///
/// ```no_run
/// use darknet_core::{Config, live::Control};
///
/// let mut config = Config::read("telescope.toml")?;
/// config.interface = Some("eth1".into());
/// let control = Control::new();
/// config.telescope()?.watch(&config.watch()?, &control, |event| println!("{event:?}"))?;
/// # Ok::<(), darknet_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Config {
    /// The interface to watch. Default: none, so that it is named elsewhere.
    pub interface: Option<String>,
    /// The dark prefixes. Default: none.
    #[serde(deserialize_with = "given::prefixes")]
    pub dark: Vec<IpNet>,
    /// What is not dark after all; the longest match wins. Default: nothing.
    #[serde(deserialize_with = "given::prefixes")]
    pub exclude: Vec<IpNet>,
    /// Whether every destination is dark, addresses of this host included; only without dark
    /// prefixes. Default: false.
    pub any: bool,
    /// The length of a window, in a file as text: `"60s"`, `"5m"`, `"1h 30m"`. Default: 60 s.
    #[serde(deserialize_with = "given::window")]
    pub window: Duration,
    /// What closed windows are rolled up to, in a file `["hours", "days"]`: the watch itself does
    /// not, see [`Rollup`](crate::window::Rollup). Default: nothing.
    #[serde(deserialize_with = "given::rollup")]
    pub rollup: Vec<Length>,
    /// The time zone of these hours and days, in a file by its name. Default: UTC.
    #[serde(deserialize_with = "given::zone")]
    pub zone: TimeZone,
    /// The number of a [fixed](Seed::fixed) seed: a secret, as who knows it may choose where in
    /// tables sources land. Default: a secret that is drawn anew for each telescope.
    #[serde(deserialize_with = "given::seed")]
    pub seed: Option<u64>,
    /// What is delivered of each counted packet, in a file `"frames"`, `"headers"`, `"none"`, or
    /// `"auto"` for the best that there is. Default: auto.
    #[serde(deserialize_with = "given::packets")]
    pub packets: Packets,
    /// Threads that take header records, where these are delivered; frames have one for each
    /// queue. Default: one for each two processors.
    pub workers: Option<usize>,
    /// MiB that the tables of sources may take, for each open window. Default: 1024.
    pub memory: usize,
    /// Whether payloads are sampled, where frames are delivered; they may hold personal data.
    /// Default: true.
    pub payloads: bool,
    /// MiB that the kernel's tables may take. Default: it depends on the host.
    pub kernel_memory: Option<usize>,
    /// Whether packets are also counted by class, port and source network together. Default:
    /// false.
    pub networks_by_port: bool,
    /// A folder in a bpffs where the kernel program's tables are pinned. Default: none, nothing
    /// is pinned.
    pub pins: Option<PathBuf>,
    /// Sources whose packets are not counted. Default: none.
    #[serde(deserialize_with = "given::table")]
    pub filter: Filter,
    /// Which counted packets are delivered. Default: all.
    #[serde(deserialize_with = "given::table")]
    pub sample: Sample,
    /// How frames are taken, where these are delivered.
    #[serde(deserialize_with = "given::table")]
    pub frames: FrameConfig,
}

/// A file of 100,000 dark prefixes and as many filtered sources, of IPv6, has some 9 MB.
const FILE_AT_MOST: u64 = 16 << 20;

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// A file that cannot be read, and what [`telescope`](Self::telescope) refuses. What the file
    /// says wrong comes with its line: text that is no TOML, or was cut off; an unknown key; a
    /// value of another type; a bad prefix.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let unreadable = |source| Error::ConfigRead {
            path: path.to_owned(),
            source,
        };
        let mut bytes = Vec::new();
        let file = File::open(path).map_err(unreadable)?;
        let read = file.take(FILE_AT_MOST + 1).read_to_end(&mut bytes);
        read.map_err(unreadable)?;
        if bytes.len() as u64 > FILE_AT_MOST {
            let what = "it has more than 16 MiB";
            return Err(unreadable(io::Error::other(what)));
        }
        Self::parse(&bytes).map_err(|wrong| Error::Config {
            path: path.to_owned(),
            line: wrong.line,
            what: wrong.what,
        })
    }

    fn parse(bytes: &[u8]) -> Result<Self, explain::Wrong> {
        let text = std::str::from_utf8(bytes).map_err(|error| explain::encoding(bytes, error))?;
        let config: Self = toml::from_str(text).map_err(|error| explain::toml(text, &error))?;
        match config.telescope() {
            Ok(_) => Ok(config),
            Err(error) => Err(explain::value(text, config.key_of(&error), &error)),
        }
    }

    /// The key that an error of [`telescope`](Self::telescope) is about.
    fn key_of(&self, error: &Error) -> String {
        match error {
            Error::Setting { name, .. } => (*name).to_owned(),
            Error::HostBits { prefix }
            | Error::Contradiction { prefix }
            | Error::ExcludesNothing { prefix } => {
                let index = self.exclude.iter().position(|exclude| exclude == prefix);
                format!("exclude[{}]", index.unwrap_or(0))
            }
            _ => "dark".to_owned(),
        }
    }

    /// What is dark.
    ///
    /// # Errors
    ///
    /// As [`Dark::new`].
    pub fn dark(&self) -> Result<Dark, Error> {
        Dark::new(&self.dark, &self.exclude)
    }

    /// The telescope that is meant.
    ///
    /// # Errors
    ///
    /// As [`Dark::new`], [`Telescope::with_window`] and [`Telescope::with_memory`]; dark prefixes
    /// where any destination is dark; windows longer than what they are rolled up to; no memory for
    /// the kernel; a folder without a name; rings and chunks that [`xsk::Options`](crate::xsk::Options) refuses.
    pub fn telescope(&self) -> Result<Telescope, Error> {
        self.check()?;
        let telescope = Telescope::new()
            .with_payloads(self.payloads)
            .with_dark(self.dark()?)
            .with_window(self.window)?
            .with_memory(self.memory.saturating_mul(MIB))?;
        Ok(match self.seed {
            Some(number) => telescope.with_seed(Seed::fixed(number)),
            None => telescope,
        })
    }

    /// What [`Telescope::watch`] is to do, until it is stopped.
    ///
    /// # Errors
    ///
    /// No interface is named.
    pub fn watch(&self) -> Result<Watch, Error> {
        let interface = self.interface.clone().ok_or(Error::NoInterface)?;
        Ok(Watch {
            packets: self.packets,
            sockets: self.frames.options(),
            workers: self.workers,
            any: self.any,
            filter: self.filter.clone(),
            sample: self.sample,
            kernel_memory: self.kernel_memory.map(|memory| memory.saturating_mul(MIB)),
            networks_by_port: self.networks_by_port,
            pins: self.pins.clone(),
            ..Watch::new(interface)
        })
    }

    /// Whether a telescope that runs with this configuration can go on with `new`: `dark`,
    /// `exclude`, `filter` and `sample` may change while it runs.
    ///
    /// # Errors
    ///
    /// The other keys that have changed.
    pub fn check_reload(&self, new: &Self) -> Result<(), Error> {
        let Self {
            interface,
            dark: _,
            exclude: _,
            any,
            window,
            rollup,
            zone,
            seed,
            packets,
            workers,
            memory,
            payloads,
            kernel_memory,
            networks_by_port,
            pins,
            filter: _,
            sample: _,
            frames,
        } = self;
        let changes = [
            ("interface", *interface != new.interface),
            ("any", *any != new.any),
            ("window", *window != new.window),
            ("rollup", *rollup != new.rollup),
            ("zone", *zone != new.zone),
            ("seed", *seed != new.seed),
            ("packets", *packets != new.packets),
            ("workers", *workers != new.workers),
            ("memory", *memory != new.memory),
            ("payloads", *payloads != new.payloads),
            ("kernel_memory", *kernel_memory != new.kernel_memory),
            (
                "networks_by_port",
                *networks_by_port != new.networks_by_port,
            ),
            ("pins", *pins != new.pins),
            ("frames", *frames != new.frames),
        ];
        let changed = changes.iter().filter(|(_, has_changed)| *has_changed);
        let keys: Vec<&str> = changed.map(|(key, _)| *key).collect();
        if keys.is_empty() {
            return Ok(());
        }
        Err(Error::NeedsRestart {
            keys: keys.join(", "),
        })
    }

    /// Refuses what no other type does.
    fn check(&self) -> Result<(), Error> {
        let refuse = |name, value: &str, rule| {
            let value = value.to_owned();
            Err(Error::Setting { name, value, rule })
        };
        if self.any && !self.dark.is_empty() {
            return refuse("any", "true", "false where dark prefixes are named");
        }
        for length in &self.rollup {
            length.check(self.window)?;
        }
        if self.workers == Some(0) {
            return refuse("workers", "0", "at least 1");
        }
        if self.kernel_memory == Some(0) {
            return refuse("kernel_memory", "0 MiB", "at least 1 MiB");
        }
        if self.pins.as_deref() == Some(Path::new("")) {
            let rule = "a folder in a bpffs, as /sys/fs/bpf/telescope";
            return refuse("pins", "\"\"", rule);
        }
        self.frames.check()
    }
}

const MIB: usize = 1 << 20;

impl Default for Config {
    fn default() -> Self {
        Self {
            interface: None,
            dark: Vec::new(),
            exclude: Vec::new(),
            any: false,
            window: Duration::from_secs(60),
            rollup: Vec::new(),
            zone: TimeZone::UTC,
            seed: None,
            packets: Packets::Auto,
            workers: None,
            memory: 1024,
            payloads: true,
            kernel_memory: None,
            networks_by_port: false,
            pins: None,
            filter: Filter::default(),
            sample: Sample::default(),
            frames: FrameConfig::default(),
        }
    }
}
