//! Each fixture is a system; the text beside it is what the doctor says of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
};

use serde::Deserialize;

use super::{Report, Severity, patient::count, report, system::System};
use crate::kernel::{OLDEST, device::Device};

/// A system out of a file. Those of cards were written by hand after what drivers and the kernel
/// document, and not run on hardware.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Fixture {
    interface: String,
    interfaces: Vec<String>,
    device: Option<Device>,
    files: BTreeMap<String, String>,
    folders: BTreeMap<String, Vec<String>>,
    links: BTreeMap<String, String>,
    programs: BTreeMap<String, String>,
}

/// A host on which all is well; a fixture says what is different.
impl Default for Fixture {
    fn default() -> Self {
        Self {
            interface: "eth1".into(),
            interfaces: ["lo", "eth0", "eth1"].map(String::from).into(),
            device: None,
            files: [
                ("/proc/sys/kernel/osrelease", "6.12.90-amd64"),
                ("/proc/thread-self/status", "CapEff:\t000001ffffffffff"),
                ("/proc/sys/net/core/bpf_jit_enable", "1"),
                ("/proc/self/mounts", "bpf /sys/fs/bpf bpf rw,nosuid 0 0"),
                ("/sys/devices/system/cpu/online", "0-7"),
                (
                    "/proc/meminfo",
                    "HugePages_Total: 1024\nHugePages_Free: 1024\nHugepagesize: 2048 kB",
                ),
            ]
            .map(|(path, text)| (path.into(), text.into()))
            .into(),
            folders: BTreeMap::new(),
            links: BTreeMap::new(),
            programs: BTreeMap::new(),
        }
    }
}

impl Fixture {
    fn read(text: &str) -> Self {
        let mut fixture: Self = toml::from_str(text).expect("a fixture");
        for (path, text) in Self::default().files {
            fixture.files.entry(path).or_insert(text);
        }
        fixture
    }

    fn report(&self) -> Report {
        report(&self.interface, self)
    }

    /// What the report says of one thing.
    fn severity(&self, what: &str) -> Option<Severity> {
        let findings = self.report().findings;
        let finding = findings.iter().find(|finding| finding.what == what);
        finding.map(|finding| finding.severity)
    }
}

impl System for Fixture {
    fn read(&self, path: &str) -> Option<String> {
        self.files.get(path).cloned()
    }

    fn list(&self, path: &str) -> Vec<String> {
        self.folders.get(path).cloned().unwrap_or_default()
    }

    fn target(&self, path: &str) -> Option<String> {
        self.links.get(path).cloned()
    }

    fn device(&self, name: &str) -> io::Result<Option<Device>> {
        let device = self.device.clone();
        Ok(device.filter(|device| device.name == name))
    }

    fn interfaces(&self) -> Vec<String> {
        self.interfaces.clone()
    }

    fn program(&self, number: u32) -> Option<String> {
        self.programs.get(&number.to_string()).cloned()
    }
}

macro_rules! fixtures {
    ($($name:literal),* $(,)?) => {
        [$((
            $name,
            include_str!(concat!("fixtures/", $name, ".toml")),
            include_str!(concat!("fixtures/", $name, ".txt")),
        )),*]
    };
}

const FIXTURES: [(&str, &str, &str); 12] = fixtures![
    "bridge",
    "ena",
    "ice",
    "igb",
    "ixgbe",
    "lo",
    "missing",
    "poor",
    "tap",
    "tun",
    "veth",
    "virtio_net",
];

fn fixture(name: &str) -> Fixture {
    let found = FIXTURES.iter().find(|(found, ..)| *found == name);
    Fixture::read(found.expect("there is one").1)
}

#[test]
fn the_doctor_says_of_each_system_what_is_written_beside_it() {
    for (name, system, expected) in FIXTURES {
        let report = Fixture::read(system).report();
        let expected = expected.replace("{OLDEST}", &format!("{}.{}", OLDEST.0, OLDEST.1));
        assert_eq!(report.to_string(), expected, "{name}");
        let stops = [Severity::Stops].map(|severity| {
            let mut findings = report.findings.iter();
            findings.any(|finding| finding.severity == severity)
        });
        assert_eq!(stops, [!report.fit], "{name}");
    }
}

#[test]
fn lines_are_short_and_commands_stay_whole() {
    for (name, system, _) in FIXTURES {
        let report = Fixture::read(system).report();
        for line in report.to_string().lines() {
            let is_command = line.trim_start().starts_with("-> ");
            assert!(is_command || line.chars().count() <= 96, "{name}: {line}");
        }
        for finding in report.findings {
            assert!(finding.what.len() <= 14, "{name}: {}", finding.what);
        }
    }
}

#[test]
fn what_is_in_the_way_comes_first_and_makes_the_report_unfit() {
    let mut host = fixture("ice");
    assert!(host.report().fit);
    host.device.as_mut().expect("a device").program = Some(77);
    host.programs.insert("77".into(), "xdp_filter".into());
    let report = host.report();
    assert!(!report.fit);
    let first = &report.findings[0];
    assert_eq!(
        (first.what, first.is.as_str()),
        ("XDP program", "eth1 has one already: xdp_filter, number 77")
    );
    // Ours is told apart.
    host.programs.insert("77".into(), "darknet_frags".into());
    let advice = host.report().findings[0].advice.join("; ");
    assert!(advice.contains("darknet detach"), "{advice}");
}

#[test]
fn the_oldest_kernel_will_do_and_no_older_one() {
    let (major, minor) = OLDEST;
    let before = match minor {
        0 => format!("{}.99.0", major - 1),
        _ => format!("{major}.{}.7-amd64", minor - 1),
    };
    for (release, expected) in [
        (before.as_str(), Severity::Stops),
        (&format!("{major}.{minor}.0"), Severity::Well),
        (&format!("{major}.{minor}"), Severity::Well),
        (&format!("{}.0.0-rc1", major + 1), Severity::Well),
        ("strange", Severity::Note),
    ] {
        let mut host = fixture("ice");
        let file = "/proc/sys/kernel/osrelease".to_owned();
        host.files.insert(file, release.into());
        assert_eq!(host.severity("kernel"), Some(expected), "{release}");
    }
}

#[test]
fn a_kernel_that_cant_be_asked_is_answered_from_what_is_known_of_drivers() {
    let mut host = fixture("ixgbe");
    host.device.as_mut().expect("a device").xdp = None;
    let finding = |host: &Fixture, what| {
        let findings = host.report().findings;
        let finding = findings.into_iter().find(|finding| finding.what == what);
        finding.expect(what).is
    };
    assert!(finding(&host, "mode").starts_with("driver mode, most likely"));
    assert!(finding(&host, "zero-copy").starts_with("the driver has it"));
    let driver = "/sys/class/net/eth1/device/driver".to_owned();
    host.links.insert(driver, "e1000e".into());
    assert!(finding(&host, "mode").starts_with("will be found"));
    assert!(finding(&host, "zero-copy").starts_with("not known"));
}

#[test]
fn lists_of_processors_are_counted() {
    for (list, expected) in [
        ("0", 1),
        ("0-3", 4),
        ("0-3,8,10-11", 7),
        ("", 0),
        ("3-1", 0),
        ("x", 0),
    ] {
        assert_eq!(count(list), expected, "{list}");
    }
}

#[test]
fn interfaces_of_a_name_that_is_near_are_offered() {
    let advice = |name: &str, there: &[&str]| {
        let host = Fixture {
            interface: name.into(),
            interfaces: there.iter().map(|&name| name.to_owned()).collect(),
            ..Fixture::default()
        };
        let findings = host.report().findings;
        findings[0].advice.join("; ")
    };
    assert_eq!(advice("eth2", &["lo", "eth1"]), "eth1? There are: lo, eth1");
    assert_eq!(
        advice("ens3", &["lo", "ens3f0"]),
        "ens3f0? There are: lo, ens3f0"
    );
    assert_eq!(advice("x", &["lo", "enp1s0"]), "there are: lo, enp1s0");
    assert!(advice("x", &[]).contains("nothing here"));
    let many: BTreeSet<String> = (10..60).map(|number| format!("port{number}")).collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    assert!(advice("nope", &many).ends_with("port21, …"));
}
