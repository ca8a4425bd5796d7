use std::{io, path::PathBuf};

use ipnet::IpNet;

use crate::ledger::Mismatch;

/// What can go wrong. Each message names the thing and the way out, on one line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be opened or read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },

    /// A directory was given where a capture belongs.
    #[error("{}: is a directory; name the captures in it, for example {}/*.pcap", path.display(), path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
    },

    /// A file begins with no magic number of a capture.
    #[error("{}: not a capture: {found}; pcap, pcapng and gzip of either are read", path.display())]
    NotCapture {
        /// The file.
        path: PathBuf,
        /// What it seems to be.
        found: String,
    },

    /// A capture none of whose interfaces has a link type that is read.
    #[error(
        "{}: no readable interface: {found}; Ethernet, raw IP, loopback and Linux cooked captures are read",
        path.display()
    )]
    NoReadableInterface {
        /// The file.
        path: PathBuf,
        /// The link types that it has.
        found: String,
    },

    /// No file to replay.
    #[error("no capture to replay: name one or more files, or - for standard input")]
    NoFiles,

    /// A prefix that is not one.
    #[error("{text:?} is not a prefix; write an address and a length, as 203.0.113.0/24")]
    Prefix {
        /// What was given.
        text: String,
    },

    /// A prefix with bits set beyond its length.
    #[error("{prefix} has host bits set; write {}", prefix.trunc())]
    HostBits {
        /// What was given.
        prefix: IpNet,
    },

    /// A prefix that is both dark and excluded.
    #[error("{prefix} is both dark and excluded; drop one of the two")]
    Contradiction {
        /// The prefix.
        prefix: IpNet,
    },

    /// An excluded prefix that lies in no dark one, so that it excludes nothing.
    #[error(
        "{prefix} is excluded but lies in no dark prefix; drop it, or add the prefix that holds it"
    )]
    ExcludesNothing {
        /// The excluded prefix.
        prefix: IpNet,
    },

    /// More of something than there may be.
    #[error("{found} {what} are too many, at most {most} are taken; merge them, or name fewer")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// How many there may be.
        most: usize,
    },

    /// A setting outside its range.
    #[error("{name} is {value}; it must be {rule}")]
    Setting {
        /// The setting.
        name: &'static str,
        /// The value given.
        value: String,
        /// The rule that it broke.
        rule: &'static str,
    },

    /// An aggregate that panicked over a source. The windows were handed over, each with what is
    /// missing in its `faults` and its ledger.
    #[error("{panic}; the figures of such windows are incomplete, and say so in faults")]
    Panicked {
        /// The first panic: on which thread, and what it said.
        panic: String,
    },

    /// A configuration that could not be read.
    #[cfg(all(feature = "live", target_os = "linux"))]
    #[error("{}: {source}; the configuration must be a file that can be read", path.display())]
    ConfigRead {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },

    /// A configuration that says something wrong.
    #[cfg(all(feature = "live", target_os = "linux"))]
    #[error("{}:{line}: {what}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong, and what to write instead.
        what: String,
    },

    /// A configuration that a running telescope cannot change to.
    #[cfg(all(feature = "live", target_os = "linux"))]
    #[error(
        "changed while the telescope runs: {keys}; that takes a restart, only dark, exclude, filter and sample don't"
    )]
    NeedsRestart {
        /// The keys that have changed, with commas.
        keys: String,
    },

    /// No interface to watch.
    #[cfg(all(feature = "live", target_os = "linux"))]
    #[error(
        "no interface to watch: name one with --interface IF, or in the configuration as interface = \"eth1\""
    )]
    NoInterface,

    /// No dark prefix to watch.
    #[cfg(all(feature = "live", target_os = "linux"))]
    #[error(
        "no dark prefix: name one with --dark PREFIX, or say --any to count and drop everything"
    )]
    NoDark,

    /// A dark prefix that is everything.
    #[cfg(all(feature = "live", target_os = "linux"))]
    #[error(
        "{prefix} is every address; name the prefixes that are dark, or say --any to count and drop everything"
    )]
    DefaultRoute {
        /// The prefix.
        prefix: IpNet,
    },

    /// A dark prefix that holds an address of this host.
    #[cfg(all(feature = "live", target_os = "linux"))]
    #[error(
        "{address} of {interface} is this host's own and would be dark; leave it out with --exclude {address}"
    )]
    OwnAddress {
        /// The address.
        address: std::net::IpAddr,
        /// The interface that has it.
        interface: String,
    },

    /// The addresses of this host cannot be known.
    #[cfg(all(feature = "live", target_os = "linux"))]
    #[error("the addresses of this host could not be read: {0}; nothing was attached")]
    Host(io::Error),

    /// An address where nobody can listen.
    #[cfg(feature = "metrics")]
    #[error(
        "listening on {address} for who asks for metrics: {source}; name another with --metrics"
    )]
    Listen {
        /// The address.
        address: std::net::SocketAddr,
        /// What the system said.
        source: io::Error,
    },

    /// A thread could not be started.
    #[error("a worker thread could not be started: {0}; try fewer workers")]
    Thread(io::Error),

    /// A capability that is missing.
    #[cfg(all(feature = "live", target_os = "linux"))]
    #[error("{doing} needs {missing}; run as root, or grant it to the program with setcap")]
    Privilege {
        /// What was to be done.
        doing: &'static str,
        /// The capabilities that are missing, by name.
        missing: String,
    },

    /// The kernel refused the program.
    #[cfg(all(feature = "live", target_os = "linux"))]
    #[error(
        "kernel {release} refuses Darknet's program: {source}; Linux {}.{} or newer is needed",
        crate::kernel::OLDEST.0,
        crate::kernel::OLDEST.1
    )]
    Refused {
        /// The kernel, as it calls itself.
        release: String,
        /// What the system said.
        source: io::Error,
        /// What its verifier said: many lines, for a bug report.
        log: String,
    },

    /// The embedded program is not what this library expects.
    #[cfg(all(feature = "live", target_os = "linux"))]
    #[error(
        "the embedded kernel program is broken: {what}; rebuild it with cargo xtask build-ebpf"
    )]
    KernelObject {
        /// What is wrong with it.
        what: String,
    },

    /// Less memory than the kernel's tables need.
    #[cfg(all(feature = "live", target_os = "linux"))]
    #[error(
        "{given} MiB are too little for the kernel's tables: on this host, with {processors} processors, they need {least} MiB"
    )]
    KernelMemory {
        /// What was given, in MiB.
        given: usize,
        /// What it takes at least.
        least: usize,
        /// Processors that there can be.
        processors: u32,
    },

    /// An interface that there isn't.
    #[cfg(all(feature = "live", target_os = "linux"))]
    #[error("{name}: no such interface in this network namespace; ip link lists them")]
    UnknownInterface {
        /// What was given.
        name: String,
    },

    /// An interface that has disappeared.
    #[cfg(all(feature = "live", target_os = "linux"))]
    #[error("{name}: the interface has disappeared; what was counted until then stands")]
    InterfaceGone {
        /// The interface.
        name: String,
    },

    /// An interface that runs another XDP program.
    #[cfg(all(feature = "live", target_os = "linux"))]
    #[error(
        "{name}: runs another XDP program, {program} (id {id}); {}",
        way_out(name, program)
    )]
    InterfaceTaken {
        /// The interface.
        name: String,
        /// The other program's name.
        program: String,
        /// Its number.
        id: u32,
    },

    /// Somebody has detached the program.
    #[cfg(all(feature = "live", target_os = "linux"))]
    #[error("{name}: somebody has detached Darknet's program; what was counted until then stands")]
    Detached {
        /// The interface.
        name: String,
    },

    /// An interface that takes the program in no mode.
    #[cfg(all(feature = "live", target_os = "linux"))]
    #[error("{name}: takes no XDP program, in driver mode or generic mode: {source}")]
    Attach {
        /// The interface.
        name: String,
        /// What the system said first.
        source: io::Error,
    },

    /// An interface whose packets are longer than a frame of an AF_XDP socket.
    #[cfg(all(feature = "live", target_os = "linux"))]
    #[error(
        "{name}: packets of its MTU, {mtu}, do not fit into frames of {chunk} bytes, nor can they come in several; set the MTU to {most} at most, take frames of 4096 bytes, or a kernel (6.6) and a driver with multi-buffer XDP"
    )]
    FrameSize {
        /// The interface.
        name: String,
        /// Its MTU.
        mtu: u32,
        /// Bytes of a frame.
        chunk: u32,
        /// The longest MTU that fits.
        most: u32,
    },

    /// A folder for pins that is on another file system.
    #[cfg(all(feature = "live", target_os = "linux"))]
    #[error(
        "{}: not on a BPF file system, and only there kernel tables can be pinned; name a folder on one, or make one with mount -t bpf bpf /sys/fs/bpf",
        path.display()
    )]
    NotBpffs {
        /// The folder.
        path: PathBuf,
    },

    /// A name that a BPF file system does not take.
    #[cfg(all(feature = "live", target_os = "linux"))]
    #[error("{}: a name on a BPF file system has no dot; name another folder", path.display())]
    PinName {
        /// The folder.
        path: PathBuf,
    },

    /// A folder of pins that a process has locked.
    #[cfg(all(feature = "live", target_os = "linux"))]
    #[error("{}: another telescope runs with these pins: stop it first, or name another folder", path.display())]
    PinsInUse {
        /// The folder.
        path: PathBuf,
    },

    /// Something in a folder of pins that Darknet never puts there.
    #[cfg(all(feature = "live", target_os = "linux"))]
    #[error("{}: holds {name}, which is not of a telescope; name a folder of its own", path.display())]
    ForeignPin {
        /// The folder.
        path: PathBuf,
        /// What is there.
        name: String,
    },

    /// A telescope that was asked to reload, and has no file to read.
    #[cfg(all(feature = "live", target_os = "linux"))]
    #[error("there is no configuration file to reload; start the telescope with --config FILE")]
    NoConfig,

    /// A pinned telescope that watches another interface.
    #[cfg(all(feature = "live", target_os = "linux"))]
    #[error(
        "{name}: the pinned telescope is not on it; name its interface, or end it with darknet detach"
    )]
    PinnedElsewhere {
        /// The interface that was asked for.
        name: String,
    },

    /// A pinned telescope that this version can't take over.
    #[cfg(all(feature = "live", target_os = "linux"))]
    #[error(
        "{}: the telescope pinned there is of another version ({what}); end it with darknet detach --pins {}, or run the version that made it",
        path.display(), path.display()
    )]
    OtherVersion {
        /// The folder.
        path: PathBuf,
        /// What is different.
        what: String,
    },

    /// The system refused something.
    #[cfg(all(feature = "live", target_os = "linux"))]
    #[error("{doing}: {source}")]
    System {
        /// What was to be done.
        doing: String,
        /// What the system said.
        source: io::Error,
    },

    /// A window whose ledger does not add up: a bug in Darknet.
    #[error("the ledger does not add up: {0}; this is a bug in Darknet, please report it")]
    Ledger(#[from] Mismatch),
}

/// How to be rid of an XDP program.
#[cfg(all(feature = "live", target_os = "linux"))]
fn way_out(interface: &str, program: &str) -> String {
    match program.starts_with("darknet") {
        true => "stop that telescope, or where it was left pinned, start with the same --pins or end it with \
                 darknet detach --pins"
            .into(),
        false => format!("stop its owner, or ip link set {interface} xdp off"),
    }
}
