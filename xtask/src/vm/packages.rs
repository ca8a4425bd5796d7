use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

use super::{
    apt::{Apt, SUITES},
    output,
};

/// A kernel that can be booted.
pub(super) struct Kernel {
    /// As `uname -r` says it.
    pub(super) release: String,
    pub(super) vmlinuz: PathBuf,
    /// Its modules that the guest loads, in this order, not compressed.
    pub(super) modules: Vec<PathBuf>,
}

/// Packages of kernels for virtual machines: this, the release, and that.
const BEFORE: &str = "linux-image-";
const AFTER: &str = "-cloud-amd64";
/// Instead of [`BEFORE`], of the packages that hold what newer ones of that name only depend on.
const PARTS: [&str; 2] = ["linux-binary-", "linux-modules-"];

/// The name of the release that is Debian's newest.
pub(super) const NEWEST: &str = "newest";
/// Before the first one whose driver of virtual network cards is known to receive without a copy.
const LAST_WITHOUT: [u64; 2] = [6, 12];

/// The module of virtual links.
const LINKS: [&str; 1] = ["veth"];
/// Those of virtual network cards, each after what it needs.
const CARDS: [&str; 3] = ["failover", "net_failover", "virtio_net"];

impl Kernel {
    fn new(folder: &Path, name: &str) -> Self {
        let module = |module: &&str| folder.join(format!("{module}.ko"));
        Self {
            release: name[BEFORE.len()..].to_owned(),
            vmlinuz: folder.join("vmlinuz"),
            modules: modules(name).iter().map(module).collect(),
        }
    }

    /// Whether it is tried with network cards that receive without a copy.
    pub(super) fn has_cards(&self) -> bool {
        has_cards(&self.release)
    }
}

fn has_cards(name: &str) -> bool {
    numbers(name).get(..2) > Some(&LAST_WITHOUT[..])
}

/// The modules of a kernel that the guest loads, in this order.
fn modules(name: &str) -> Vec<&'static str> {
    let cards: &[&str] = if has_cards(name) { &CARDS } else { &[] };
    LINKS.iter().chain(cards).copied().collect()
}

/// The newest kernel of `release` in `folder`, or else in Debian's packages.
///
/// # Errors
///
/// What `apt-get` or `dpkg` said.
pub(super) fn kernel(folder: &Path, release: &str) -> Result<Kernel, String> {
    let kernels = folder.join("kernels");
    fs::create_dir_all(&kernels).map_err(at(&kernels))?;
    let here = fs::read_dir(&kernels).map_err(at(&kernels))?;
    let here = here.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let name = match newest(here, release) {
        Some(name) => name,
        None => download(folder, release)?,
    };
    Ok(Kernel::new(&kernels.join(&name), &name))
}

/// Downloads the newest kernel of `release`, and says its package's name.
fn download(folder: &Path, release: &str) -> Result<String, String> {
    eprintln!("downloading the kernel {release} of Debian's");
    let apt = Apt::new(folder)?;
    apt.run("apt-get", &["update"])?;
    let names = apt.run("apt-cache", &["pkgnames", "linux-"])?;
    let names = String::from_utf8_lossy(&names);
    let name = newest(names.lines().map(str::to_owned), release).ok_or_else(|| {
        format!(
            "no package {BEFORE}{release}.*{AFTER} in {}",
            SUITES.join(", ")
        )
    })?;
    let parts = PARTS.map(|part| name.replacen(BEFORE, part, 1));
    let parts = parts
        .iter()
        .filter(|part| names.lines().any(|name| name == *part));

    // Whatever an earlier try has left there.
    let work = folder.join("work");
    if work.exists() {
        fs::remove_dir_all(&work).map_err(at(&work))?;
    }
    let (unpacked, ready) = (work.join("unpacked"), work.join("ready"));
    for folder in [&unpacked, &ready] {
        fs::create_dir_all(folder).map_err(at(folder))?;
    }
    output(
        apt.command("apt-get")
            .current_dir(&work)
            .args(["download", &name])
            .args(parts),
    )?;
    for entry in fs::read_dir(&work).map_err(at(&work))? {
        let package = entry.map_err(at(&work))?.path();
        if package
            .extension()
            .is_some_and(|extension| extension == "deb")
        {
            output(Command::new("dpkg").arg("-x").args([&package, &unpacked]))?;
        }
    }

    let vmlinuz = find(&unpacked, &|file| file.starts_with("vmlinuz"))?;
    let vmlinuz = vmlinuz.ok_or_else(|| format!("{name} has no vmlinuz"))?;
    for module in modules(&name) {
        let file = format!("{module}.ko");
        let packed = find(&unpacked, &|found| {
            found
                .strip_suffix(".xz")
                .or(found.strip_suffix(".zst"))
                .unwrap_or(found)
                == file
        })?;
        let packed = packed.ok_or_else(|| format!("{name} has no {file}"))?;
        fs::write(ready.join(&file), unpack(&packed)?).map_err(at(&ready))?;
    }
    fs::rename(&vmlinuz, ready.join("vmlinuz")).map_err(at(&vmlinuz))?;
    fs::rename(&ready, folder.join("kernels").join(&name)).map_err(at(&ready))?;
    fs::remove_dir_all(&work).map_err(at(&work))?;
    Ok(name)
}

/// The contents of a module's file, which may be compressed.
fn unpack(module: &Path) -> Result<Vec<u8>, String> {
    let program = match module.extension().and_then(|extension| extension.to_str()) {
        Some("xz") => "xz",
        Some("zst") => "zstd",
        _ => return fs::read(module).map_err(at(module)),
    };
    output(Command::new(program).arg("-dc").arg(module))
}

/// The package of the newest kernel of a release.
fn newest(names: impl Iterator<Item = String>, release: &str) -> Option<String> {
    let of_release = |name: &String| {
        let version = name
            .strip_prefix(BEFORE)
            .and_then(|name| name.strip_suffix(AFTER));
        version.is_some_and(|version| match release {
            // Of a folder that has others too, it is not one of those.
            NEWEST => {
                version.starts_with(|first: char| first.is_ascii_digit()) && has_cards(version)
            }
            _ => version
                .strip_prefix(release)
                .is_some_and(|rest| rest.starts_with('.')),
        })
    };
    names.filter(of_release).max_by_key(|name| numbers(name))
}

/// The numbers in a name, in order.
fn numbers(name: &str) -> Vec<u64> {
    let parts = name.split(|character: char| !character.is_ascii_digit());
    parts.filter_map(|part| part.parse().ok()).collect()
}

/// The first file below a folder whose name is so.
fn find(folder: &Path, wanted: &dyn Fn(&str) -> bool) -> Result<Option<PathBuf>, String> {
    for entry in fs::read_dir(folder).map_err(at(folder))? {
        let entry = entry.map_err(at(folder))?;
        let path = entry.path();
        if entry.file_type().map_err(at(&path))?.is_dir() {
            if let Some(found) = find(&path, wanted)? {
                return Ok(Some(found));
            }
        } else if wanted(&entry.file_name().to_string_lossy()) {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

/// For `map_err`: the error with the file that it is about.
pub(super) fn at(path: &Path) -> impl FnOnce(io::Error) -> String {
    move |error| format!("{}: {error}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_kernel_of_a_release_is_found_among_other_packages() {
        let names = [
            "linux-image-6.1.0-9-cloud-amd64",
            "linux-image-6.1.0-56-cloud-amd64",
            "linux-image-6.1.0-57-cloud-amd64-unsigned",
            "linux-image-6.1.0-58-cloud-amd64-dbg",
            "linux-image-6.1.0-59-amd64",
            "linux-image-6.12-cloud-amd64",
            "linux-image-6.12.90+deb12.1-cloud-amd64",
            "linux-image-6.12.94+deb12-cloud-amd64",
            "linux-image-6.19.14+deb13-cloud-amd64",
            "linux-image-7.3.4+deb13-cloud-amd64",
            "linux-image-cloud-amd64",
        ];
        for (release, expected) in [
            ("6.1", Some(names[1])),
            ("6.12", Some(names[7])),
            ("6.13", None),
            ("7.3", Some(names[9])),
            (NEWEST, Some(names[9])),
        ] {
            let names = names.iter().map(|&name| name.to_owned());
            let found = newest(names, release);
            assert_eq!(found.as_deref(), expected, "{release}");
        }
        let old = names[..8].iter().map(|&name| name.to_owned());
        assert_eq!(newest(old, NEWEST), None, "not an old one");
    }
    #[test]
    fn modules_come_after_what_they_need() {
        assert_eq!(modules("linux-image-6.12.94+deb12-cloud-amd64"), ["veth"]);
        let modules = modules("linux-image-7.3.4+deb13-cloud-amd64");
        assert_eq!(modules, ["veth", "failover", "net_failover", "virtio_net"]);
    }
}
