use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::{output, packages::at};

/// Where Debian is, for a machine that says no better.
const MIRROR: &str = "http://deb.debian.org/debian";
const SECURITY: &str = "http://deb.debian.org/debian-security";
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Where kernels are: the long-term ones of a release, and the newest.
pub(super) const SUITES: [&str; 4] = [
    "bookworm",
    "bookworm-security",
    "bookworm-backports",
    "trixie-backports",
];

/// APT with sources, state and cache of its own: the machine's are not touched.
pub(super) struct Apt {
    configuration: PathBuf,
}

impl Apt {
    /// Writes its configuration into a folder.
    ///
    /// # Errors
    ///
    /// Without Debian's keys, or what `apt-get` said.
    pub(super) fn new(folder: &Path) -> Result<Self, String> {
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
        let site = |suite: &str| {
            if suite.ends_with("-security") {
                security
            } else {
                debian
            }
        };
        let lines = SUITES.iter().map(|suite| (site(suite), suite));
        let sources: String = lines
            .map(|(site, suite)| {
                format!("deb [arch=amd64 signed-by={KEYRING}] {site} {suite} main\n")
            })
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

    /// A program of APT's, with that configuration.
    pub(super) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("APT_CONFIG", &self.configuration);
        command
    }

    /// Runs one for what it prints.
    ///
    /// # Errors
    ///
    /// What it said.
    pub(super) fn run(&self, program: &str, arguments: &[&str]) -> Result<Vec<u8>, String> {
        output(self.command(program).args(arguments))
    }
}

/// The first site whose path ends so.
fn mirror<'a>(sites: &'a str, end: &str) -> Option<&'a str> {
    let mut sites = sites.lines().map(|site| site.trim_end_matches('/'));
    sites.find(|site| site.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;

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
