use std::{fs, path::PathBuf};

use super::*;
use crate::{
    FilterAction, SampleOf,
    xsk::{self, Fragments, ZeroCopy},
};

/// A file that is taken away in the end.
struct Written(PathBuf);

impl Written {
    fn new(name: &str, bytes: &[u8]) -> Self {
        let name = format!("darknet-config-{}-{name}.toml", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::write(&path, bytes).expect("a file");
        Self(path)
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn parse(text: &str) -> Config {
    Config::parse(text.as_bytes()).unwrap_or_else(|wrong| panic!("{}: {}", wrong.line, wrong.what))
}

fn nets(texts: &[&str]) -> Vec<IpNet> {
    texts.iter().map(|text| text.parse().expect(text)).collect()
}

#[test]
fn every_key_of_the_example_is_read() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/telescope.toml");
    let expected = Config {
        interface: Some("eth1".into()),
        dark: nets(&["203.0.113.0/24", "2001:db8:da2c::/48"]),
        exclude: nets(&["203.0.113.1/32"]),
        rollup: Length::ALL.to_vec(),
        zone: TimeZone::get("Asia/Tokyo").expect("a zone"),
        workers: Some(2),
        kernel_memory: Some(64),
        pins: Some("/sys/fs/bpf/telescope".into()),
        filter: Filter::new(&nets(&["198.51.100.0/24"]), FilterAction::Drop).expect("a filter"),
        frames: FrameConfig {
            frames: Some(8192),
            ..FrameConfig::default()
        },
        ..Config::default()
    };
    assert_eq!(Config::read(path).expect("it is right"), expected);
}

#[test]
fn what_is_read_is_what_is_meant() {
    let config = parse(
        "interface = 'dark0'\nany = true\nexclude = ['10.0.0.1']\nwindow = '1h 30m'\n\
         rollup = ['days']\nzone = 'Asia/Tokyo'\nseed = '0xffffffffffffffff'\n\
         packets = 'none'\nworkers = 3\nmemory = 4\npayloads = false\nkernel_memory = 32\nnetworks_by_port = true\npins = '/p'\n\
         filter.sources = ['2001:db8::/32', '10.0.0.0/8']\nfilter.action = 'pass'\n\
         [sample]\none_in = 4294967295\nof = 'networks'\n\
         [frames]\nring = 64\nframes = 128\nchunk = 2048\nhuge_pages = true\n\
         zero_copy = 'require'\nfragments = 'refuse'\nbusy_poll = true\n",
    );
    let filter = Filter::new(&nets(&["10.0.0.0/8", "2001:db8::/32"]), FilterAction::Pass);
    let expected = Config {
        interface: Some("dark0".into()),
        dark: Vec::new(),
        exclude: nets(&["10.0.0.1/32"]),
        any: true,
        window: Duration::from_secs(5400),
        rollup: vec![Length::Day],
        zone: TimeZone::get("Asia/Tokyo").expect("a zone"),
        seed: Some(u64::MAX),
        packets: Packets::None,
        workers: Some(3),
        memory: 4,
        payloads: false,
        kernel_memory: Some(32),
        networks_by_port: true,
        pins: Some("/p".into()),
        filter: filter.expect("a filter"),
        sample: Sample::new(u32::MAX, SampleOf::Networks).expect("a sample"),
        frames: FrameConfig {
            ring: 64,
            frames: Some(128),
            chunk: Some(2048),
            huge_pages: true,
            zero_copy: ZeroCopy::Require,
            fragments: Fragments::Refuse,
            busy_poll: true,
        },
    };
    assert_eq!(config, expected);
    let watch = config.watch().expect("an interface");
    assert_eq!((watch.interface.as_str(), watch.any), ("dark0", true));
    assert_eq!(watch.packets, Packets::None);
    assert_eq!(watch.kernel_memory, Some(32 << 20));
    assert_eq!((watch.filter, watch.sample), (config.filter, config.sample));
    assert!(watch.networks_by_port && watch.pins == config.pins);
    assert_eq!(watch.workers, Some(3));
    let sockets = watch.sockets;
    assert_eq!(
        (sockets.ring, sockets.frames, sockets.chunk),
        (64, 128, Some(2048))
    );
    assert!(sockets.huge_pages && sockets.busy_poll.is_some());
    assert_eq!(
        (sockets.zero_copy, sockets.fragments),
        (ZeroCopy::Require, Fragments::Refuse)
    );
}

#[test]
fn an_empty_file_is_the_default_of_the_library() {
    for text in ["", "\n\n", "# nothing\n", "[filter]\n[sample]\n[frames]\n"] {
        assert_eq!(parse(text), Config::default(), "{text:?}");
    }
    assert_eq!(parse("zone = 'utc'"), Config::default());
    assert_eq!(parse("seed = 7").seed, parse("seed = '0x7'").seed);
    let Telescope { window, memory, .. } = Config::default().telescope().expect("it is right");
    let library = Telescope::new();
    assert_eq!((window, memory), (library.window, library.memory));
    let sockets = parse("interface = 'eth1'\nframes.ring = 512").watch();
    let sockets = sockets.expect("an interface").sockets;
    assert_eq!((sockets.ring, sockets.frames), (512, 512));
    let frames = parse("").frames.options();
    let library = xsk::Options::default();
    assert_eq!((frames.ring, frames.frames), (library.ring, library.frames));
    let refused = Config::default().watch().expect_err("no interface");
    assert!(refused.to_string().contains("--interface"), "{refused}");
}

#[test]
fn every_wrong_file_is_one_line_with_the_line_and_the_way_out() {
    let many = |key: &str, count: u32| -> String {
        let nets = (0..count).map(|net| format!("'{}/32'", std::net::Ipv4Addr::from_bits(net)));
        format!("\n{key} = [{}]", nets.collect::<Vec<_>>().join(",\n"))
    };
    let (many_dark, many_sources) = (many("dark", 100_001), many("filter.sources", 100_001));
    let cases: &[(&str, usize, &[&str])] = &[
        // Cut off.
        (
            "any = true\ndark = [\"10.0.0.0/8\", \"11.0",
            2,
            &["cut off", "rename"],
        ),
        ("dark = [\n\"10.0.0.0/8\",\n", 2, &["cut off", "`]`"]),
        ("any = true\nwindow = ", 2, &["cut off"]),
        ("any = true\nwind", 2, &["cut off", "`=`"]),
        ("any = true\n[fil", 2, &["cut off", "`]`"]),
        // No TOML.
        (
            "\n\ninterface eth1\nany = true\n",
            3,
            &["not TOML", "key = value"],
        ),
        ("interface = eth1\nany = true\n", 1, &["not TOML", "quotes"]),
        (
            "any = true\nany = true\nmemory = 4\n",
            2,
            &["duplicate key", "drop one"],
        ),
        ("any = true\r\n\0\r\n# more\r\n", 2, &["not TOML"]),
        // Keys and types.
        (
            "any = true\ndrak = []\n",
            2,
            &["unknown key `drak`", "`dark`"],
        ),
        ("[filter]\n\nsource = []\n", 3, &["`source`", "`sources`"]),
        ("[smaple]\none_in = 1\n", 1, &["`smaple`", "`sample`"]),
        ("interface = 1", 1, &["interface: ", "interface = \"eth1\""]),
        ("any = 'yes'", 1, &["any: ", "true or false"]),
        ("\nwindow = 60", 2, &["window: ", "window = \"60s\""]),
        ("\nwindow = 'soon'", 2, &["window: ", "window = \"60s\""]),
        ("\nwindow = '0s'", 2, &["more than 0 and at most 366 days"]),
        ("\nwindow = '-5s'", 2, &["window: ", "window = \"60s\""]),
        ("\nwindow = '9000h'", 2, &["at most 366 days"]),
        ("rollup = 'days'", 1, &["rollup: ", "[\"hours\", \"days\"]"]),
        (
            "rollup = ['hours',\n'weeks']",
            2,
            &["rollup[1]: ", "`weeks`", "[\"hours\", \"days\"]"],
        ),
        (
            "rollup = ['hours', 'days']\nwindow = '61m'",
            2,
            &["window is 3660s", "an hour at most"],
        ),
        (
            "rollup = ['days']\nwindow = '25h'",
            2,
            &["window is 90000s", "24 hours at most"],
        ),
        (
            "\nzone = 'Asia/Tokio'",
            2,
            &["zone is \"Asia/Tokio\"", "zone = \"Asia/Tokyo\""],
        ),
        ("\nzone = ''", 2, &["zone is \"\"", "Asia/Tokyo"]),
        ("zone = 9", 1, &["zone: ", "zone = \"Asia/Tokyo\""]),
        ("seed = -1", 1, &["seed: it is negative", "seed = 7"]),
        ("seed = 1.5", 1, &["seed: ", "a number or text"]),
        ("\nseed = '0x'", 2, &["seed: ", "a number of 64 bits"]),
        ("seed = '+7'", 1, &["seed: ", "a number of 64 bits"]),
        (
            "seed = '0x1ffffffffffffffff'",
            1,
            &["seed: ", "a number of 64 bits"],
        ),
        (
            "packets = 'all'",
            1,
            &["packets: ", "\"headers\" or \"none\""],
        ),
        ("memory = '1 GiB'", 1, &["memory: ", "memory = 1024"]),
        ("memory = -1", 1, &["memory: ", "memory = 1024"]),
        (
            "any = false\nmemory = 3",
            2,
            &["memory is", "at least 4 MiB"],
        ),
        ("\n\nkernel_memory = 0", 3, &["at least 1 MiB"]),
        ("kernel_memory = 1.5", 1, &["kernel_memory = 64"]),
        ("networks_by_port = 1", 1, &["true or false"]),
        ("pins = true", 1, &["pins = \"/sys/fs/bpf/telescope\""]),
        ("pins = ''", 1, &["/sys/fs/bpf/telescope"]),
        (
            "\nfilter = '10.0.0.0/8'",
            2,
            &["filter: ", "[filter] with sources"],
        ),
        (
            "[filter]\naction = 'reject'",
            2,
            &["filter.action: ", "\"drop\" or \"pass\""],
        ),
        ("sample = [10]", 1, &["sample: ", "[sample] with one_in"]),
        (
            "any = true\nfilter = [['10.0.0.0/8']]",
            2,
            &["filter: ", "[filter] with sources"],
        ),
        ("sample = 10", 1, &["sample: ", "[sample] with one_in"]),
        (
            "[sample]\n\none_in = 0",
            3,
            &["sample.one_in: ", "4294967295"],
        ),
        (
            "[sample]\none_in = 4294967296",
            2,
            &["sample.one_in: ", "4294967295"],
        ),
        (
            "[sample]\nof = 'bytes'",
            2,
            &["sample.of: ", "\"packets\" or \"networks\""],
        ),
        ("workers = 0", 1, &["workers is 0", "at least 1"]),
        ("workers = 'all'", 1, &["workers: ", "workers = 2"]),
        ("frames = 4096", 1, &["frames: ", "[frames] with ring"]),
        ("[frames]\nrings = 1", 2, &["`rings`", "`ring`"]),
        (
            "[frames]\n\nring = 1000",
            3,
            &["frames.ring is 1000", "a power of two"],
        ),
        ("[frames]\nring = -2", 2, &["frames.ring: ", "ring = 2048"]),
        (
            "[frames]\nring = 8192\nframes = 4096",
            3,
            &["frames.frames is 4096", "at least ring"],
        ),
        (
            "any = true\n[frames]\nframes = 'many'",
            3,
            &["frames.frames: ", "frames = 4096"],
        ),
        (
            "frames.chunk = 1024",
            1,
            &["frames.chunk is 1024", "2048 or 4096"],
        ),
        (
            "[frames]\nchunk = 4097.5",
            2,
            &["frames.chunk: ", "2048 or 4096"],
        ),
        ("[frames]\nhuge_pages = 64", 2, &["true or false"]),
        (
            "[frames]\nzero_copy = true",
            2,
            &["frames.zero_copy: ", "\"prefer\", \"never\""],
        ),
        (
            "[frames]\nzero_copy = 'always'",
            2,
            &["frames.zero_copy: ", "\"require\""],
        ),
        (
            "[frames]\nfragments = 'drop'",
            2,
            &["frames.fragments: ", "\"assemble\""],
        ),
        ("[frames]\nbusy_poll = 20", 2, &["true or false"]),
        // Prefixes.
        (
            "dark = '10.0.0.0/8'",
            1,
            &["dark: ", "dark = [\"203.0.113.0/24\"]"],
        ),
        (
            "dark = [\n'10.0.0.0/8', '11.0.0.0/8',\n'12.0.0.0/8',\n'dark',\n]",
            4,
            &["dark[3]: ", "\"dark\" is not a prefix", "203.0.113.0/24"],
        ),
        (
            "dark = ['10.0.0.0/8',\n\n42]",
            3,
            &["dark[1]: ", "203.0.113.0/24"],
        ),
        (
            "dark = [\n'10.0.0.0/33']",
            2,
            &["dark[0]: ", "is not a prefix"],
        ),
        (
            "dark = ['::/0',\n'10.0.0.1/8']",
            2,
            &["dark[1]: ", "write 10.0.0.0/8"],
        ),
        (
            "exclude = [\n'10.0.0.1/8']",
            2,
            &["exclude[0]: ", "write 10.0.0.0/8"],
        ),
        (
            "[filter]\nsources = [\n'10.0.0.1/8']",
            3,
            &["filter.sources[0]: ", "write 10.0.0.0/8"],
        ),
        (
            "exclude = ['10.1.0.0/16',\n'11.0.0.0/8']\ndark = ['10.0.0.0/8']",
            2,
            &[
                "11.0.0.0/8 is excluded but lies in no dark prefix",
                "drop it",
            ],
        ),
        (
            "dark = ['10.0.0.0/8']\nexclude = [\n'10.0.0.0/8']",
            3,
            &["10.0.0.0/8 is both dark and excluded", "drop one"],
        ),
        (
            "dark = ['10.0.0.0/8']\nany = true",
            2,
            &["any is true", "false where dark"],
        ),
        (
            &many_dark,
            2,
            &["100001 dark prefixes and exclusions", "at most 100000"],
        ),
        (
            &many_sources,
            2,
            &["100001 filtered sources", "at most 100000"],
        ),
    ];
    for (index, (text, line, hints)) in cases.iter().enumerate() {
        let start: String = text.chars().take(80).collect();
        let file = Written::new(&index.to_string(), text.as_bytes());
        let said = Config::read(&file.0).expect_err(&start).to_string();
        let place = format!("{}:{line}: ", file.0.display());
        assert!(said.starts_with(&place), "{start:?}: {said}");
        for hint in *hints {
            assert!(said.contains(hint), "{start:?}: {said} has no {hint}");
        }
        assert_eq!(said.lines().count(), 1, "{start:?}: {said}");
    }
}

#[test]
fn what_is_no_text_and_what_cannot_be_read_is_said() {
    let latin = Written::new("latin", b"# 1\ninterface = \"\xe9th\"\n");
    let said = Config::read(&latin.0).expect_err("no UTF-8").to_string();
    assert_eq!(
        said,
        format!(
            "{}:2: not UTF-8; save the file as UTF-8 text",
            latin.0.display()
        )
    );
    let large = Written::new("large", &vec![b'\n'; (16 << 20) + 1]);
    let gone = std::env::temp_dir().join("darknet-config-that-is-not-there.toml");
    for (path, hint) in [
        (large.0.clone(), "more than 16 MiB"),
        (gone, "No such file"),
        (std::env::temp_dir(), "s a directory"),
    ] {
        let said = Config::read(&path).expect_err(hint).to_string();
        let name = path.display().to_string();
        assert!(said.starts_with(&name) && said.contains(hint), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}

#[test]
fn a_file_cut_anywhere_is_read_or_refused_on_one_line() {
    let text = include_str!("../../examples/telescope.toml");
    let lines = text.lines().count();
    let mut refused = 0;
    for end in 0..text.len() {
        if let Err(wrong) = Config::parse(&text.as_bytes()[..end]) {
            assert!(!wrong.what.contains('\n'), "{}", wrong.what);
            assert!((1..=lines).contains(&wrong.line), "{end}: {}", wrong.line);
            refused += 1;
        }
    }
    assert!(refused > 200, "{refused}");
}

#[test]
fn only_what_may_change_while_it_runs_changes() {
    let running = parse("interface = 'eth1'\ndark = ['10.0.0.0/8']");
    let said = |new: &str| {
        let new = parse(new);
        let outcome = running.check_reload(&new);
        outcome.err().map(|error| error.to_string())
    };
    let may = "interface = 'eth1'\ndark = ['11.0.0.0/8']\nexclude = ['11.0.0.1']\n\
               memory = 1024\nfilter.sources = ['1.0.0.0/8']\nsample.one_in = 2\n";
    assert_eq!(said(may), None);
    for (key, value) in [
        ("interface", "'eth2'"),
        ("any", "true"),
        ("window", "'61s'"),
        ("rollup", "['hours']"),
        ("zone", "'Asia/Tokyo'"),
        ("seed", "7"),
        ("packets", "'none'"),
        ("workers", "2"),
        ("frames.ring", "64"),
        ("frames.zero_copy", "'never'"),
        ("memory", "1025"),
        ("payloads", "false"),
        ("kernel_memory", "64"),
        ("networks_by_port", "true"),
        ("pins", "'/sys/fs/bpf/telescope'"),
    ] {
        let mut new = format!("{key} = {value}\n");
        if key != "interface" {
            new += "interface = 'eth1'\n";
        }
        let said = said(&new).expect(key);
        let key = key.split('.').next().expect("a word");
        let expected = format!("changed while the telescope runs: {key}; that takes a restart");
        assert!(said.starts_with(&expected), "{said}");
    }
    let two = said("interface = 'eth1'\nmemory = 4\nwindow = '1s'").expect("two");
    assert!(two.contains(": window, memory;"), "{two}");
}
