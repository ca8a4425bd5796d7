use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

use super::output;

/// A kernel that can be booted.
pub(super) struct Kernel {
    /// As `uname -r` says it.
    pub(super) release: String,
    pub(super) vmlinuz: PathBuf,
    /// The module of virtual links, not compressed.
    pub(super) veth: PathBuf,
}

/// Where Debian is, for a machine that says no better.
const MIRROR: &str = "http://deb.debian.org/debian";
const SECURITY: &str = "http://deb.debian.org/debian-security";
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Packages of kernels for virtual machines: this, the release, and that.
const BEFORE: &str = "linux-image-";
const AFTER: &str = "-cloud-amd64";

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
    let unpacked = kernels.join(&name);
    Ok(Kernel {
        release: name[BEFORE.len()..].to_owned(),
        vmlinuz: unpacked.join("vmlinuz"),
        veth: unpacked.join("veth.ko"),
    })
}

/// Downloads the newest kernel of `release`, and says its package's name.
fn download(folder: &Path, release: &str) -> Result<String, String> {
    eprintln!("downloading the newest kernel {release} of Debian's");
    let apt = Apt::new(folder)?;
    apt.run("apt-get", &["update"])?;
    let names = apt.run("apt-cache", &["pkgnames", &format!("{BEFORE}{release}.")])?;
    let names = String::from_utf8_lossy(&names);
    let name = newest(names.lines().map(str::to_owned), release)
        .ok_or_else(|| format!("no package {BEFORE}{release}.*{AFTER} in bookworm's suites"))?;

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
            .args(["download", &name]),
    )?;
    let package = find(&work, &|file| file.ends_with(".deb"))?;
    let package = package.ok_or_else(|| format!("apt-get download {name} left no package"))?;
    output(Command::new("dpkg").arg("-x").args([&package, &unpacked]))?;

    let vmlinuz = find(&unpacked, &|file| file.starts_with("vmlinuz"))?;
    let veth = find(&unpacked, &|file| matches!(file, "veth.ko" | "veth.ko.xz"))?;
    let (Some(vmlinuz), Some(veth)) = (vmlinuz, veth) else {
        return Err(format!("{name} lacks vmlinuz or veth.ko"));
    };
    let module = if veth.extension().is_some_and(|extension| extension == "xz") {
        output(Command::new("xz").arg("-dc").arg(&veth))?
    } else {
        fs::read(&veth).map_err(at(&veth))?
    };
    fs::write(ready.join("veth.ko"), module).map_err(at(&ready))?;
    fs::rename(&vmlinuz, ready.join("vmlinuz")).map_err(at(&vmlinuz))?;
    fs::rename(&ready, folder.join("kernels").join(&name)).map_err(at(&ready))?;
    fs::remove_dir_all(&work).map_err(at(&work))?;
    Ok(name)
}

/// APT with sources, state and cache of its own: the machine's are not touched.
struct Apt {
    configuration: PathBuf,
}

impl Apt {
    fn new(folder: &Path) -> Result<Self, String> {
        let folder = folder.join("apt");
        for path in ["state/lists/partial", "cache/archives/partial"] {
            let path = folder.join(path);
            fs::create_dir_all(&path).map_err(at(&path))?;
        }
        if !Path::new(KEYRING).exists() {
            return Err(format!(
                "{KEYRING} is missing: apt-get install debian-archive-keyring"
            ));
        }
        let sites = output(Command::new("apt-get").args([
            "indextargets",
            "--format",
            "$(REPO_URI)",
            "Created-By: Packages",
        ]))?;
        let sites = String::from_utf8_lossy(&sites);
        let debian = mirror(&sites, "/debian").unwrap_or(MIRROR);
        let security = mirror(&sites, "/debian-security").unwrap_or(SECURITY);
        let sources: String = [
            (debian, "bookworm"),
            (security, "bookworm-security"),
            (debian, "bookworm-backports"),
        ]
        .iter()
        .map(|(site, suite)| format!("deb [arch=amd64 signed-by={KEYRING}] {site} {suite} main\n"))
        .collect();
        let list = folder.join("sources.list");
        fs::write(&list, sources).map_err(at(&list))?;

        // Proxies and the like are the machine's; its hooks are not wanted here.
        let acquire = output(Command::new("apt-config").args(["dump", "Acquire"]))?;
        let acquire = String::from_utf8_lossy(&acquire);
        let acquire = acquire
            .lines()
            .filter(|line| !line.starts_with("Acquire::IndexTargets"));
        let directory = folder.display();
        let own = [
            ("APT::Sandbox::User", "root".to_owned()),
            ("APT::Architecture", "amd64".to_owned()),
            ("Acquire::Languages", "none".to_owned()),
            ("Dir::Etc::main", "-".to_owned()),
            ("Dir::Etc::parts", "-".to_owned()),
            ("Dir::Etc::preferences", "-".to_owned()),
            ("Dir::Etc::preferencesparts", "-".to_owned()),
            ("Dir::Etc::sourcelist", list.display().to_string()),
            ("Dir::Etc::sourceparts", "-".to_owned()),
            ("Dir::State", format!("{directory}/state")),
            ("Dir::Cache", format!("{directory}/cache")),
        ];
        let own = own.map(|(name, value)| format!("{name} \"{value}\";"));
        let lines: Vec<&str> = acquire.chain(own.iter().map(String::as_str)).collect();
        let configuration = folder.join("apt.conf");
        fs::write(&configuration, lines.join("\n") + "\n").map_err(at(&configuration))?;
        Ok(Self { configuration })
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("APT_CONFIG", &self.configuration);
        command
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Result<Vec<u8>, String> {
        output(self.command(program).args(arguments))
    }
}

/// The first site whose path ends so.
fn mirror<'a>(sites: &'a str, end: &str) -> Option<&'a str> {
    let mut sites = sites.lines().map(|site| site.trim_end_matches('/'));
    sites.find(|site| site.ends_with(end))
}

/// The package of the newest kernel of a release.
fn newest(names: impl Iterator<Item = String>, release: &str) -> Option<String> {
    let of_release = |name: &String| {
        let version = name
            .strip_prefix(BEFORE)
            .and_then(|name| name.strip_suffix(AFTER));
        let rest = version.and_then(|version| version.strip_prefix(release));
        rest.is_some_and(|rest| rest.starts_with('.'))
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
fn at(path: &Path) -> impl FnOnce(io::Error) -> String {
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
        ];
        for (release, expected) in [
            ("6.1", Some(names[1])),
            ("6.12", Some(names[7])),
            ("6.13", None),
        ] {
            let names = names.iter().map(|&name| name.to_owned());
            let found = newest(names, release);
            assert_eq!(found.as_deref(), expected, "{release}");
        }
    }

    #[test]
    fn mirrors_are_told_apart() {
        let sites = "http://x/debian-security/\nhttps://y/mirror/debian/\nhttp://z/ubuntu\n";
        assert_eq!(mirror(sites, "/debian"), Some("https://y/mirror/debian"));
        assert_eq!(
            mirror(sites, "/debian-security"),
            Some("http://x/debian-security")
        );
        assert_eq!(mirror("http://z/ubuntu\n", "/debian"), None);
    }
}
