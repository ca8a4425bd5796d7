use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{self, Command},
};

use xtask::cargo::root;

use super::{archive::Archive, guest, output};
use crate::{run::BUNDLED, show::SCENARIO};

/// Programs that the lab calls, with their packages.
const TOOLS: [(&str, &str); 2] = [("ip", "iproute2"), ("ethtool", "ethtool")];

/// Makes the archive with this program as its first process.
///
/// # Errors
///
/// A program or a library that is not there.
pub(super) fn make(
    darknet: &Path,
    tests: Option<&Path>,
    modules: &[PathBuf],
) -> Result<Vec<u8>, String> {
    let mut archive = Archive::default();
    // The program that runs, even if another one has been built in its place.
    let this = PathBuf::from(format!("/proc/{}/exe", process::id()));
    let mut programs = vec![
        (guest::XTASK.to_owned(), this),
        (guest::DARKNET.to_owned(), darknet.to_owned()),
    ];
    programs.extend(tests.map(|tests| (guest::TESTS.to_owned(), tests.to_owned())));
    for (tool, package) in TOOLS {
        let path = find(tool)
            .ok_or_else(|| format!("no {tool} here; install it: apt-get install {package}"))?;
        programs.push((format!("/bin/{tool}"), path));
    }
    for (name, path) in programs {
        archive.add(&name, &read(&path)?);
        for library in libraries(&path)? {
            archive.add(&library, &read(Path::new(&library))?);
        }
    }
    for (number, module) in modules.iter().enumerate() {
        let name = module.file_name().unwrap_or_default().to_string_lossy();
        // In the order in which they are loaded.
        let path = format!("{}/{number:02}-{name}", guest::MODULES);
        archive.add(&path, &read(module)?);
    }
    // Where the programs look for them.
    for file in [SCENARIO, BUNDLED] {
        let path = root().join(file);
        archive.add(&path.to_string_lossy(), &read(&path)?);
    }
    Ok(archive.finish())
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn find(tool: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let beside = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    let mut folders = env::split_paths(&path).chain(beside);
    folders.find_map(|folder| Some(folder.join(tool)).filter(|path| path.is_file()))
}

/// The shared libraries of a program, its loader among them.
fn libraries(program: &Path) -> Result<Vec<String>, String> {
    let said = output(Command::new("ldd").arg(program))?;
    Ok(parse_libraries(&String::from_utf8_lossy(&said)))
}

/// The absolute paths in what `ldd` prints: `NAME => PATH (ADDRESS)` or `PATH (ADDRESS)`.
fn parse_libraries(said: &str) -> Vec<String> {
    let words = said.lines().filter_map(|line| {
        let (path, _address) = line.rsplit_once(" (")?;
        path.split_whitespace().next_back()
    });
    let paths = words.filter(|path| path.starts_with('/'));
    paths.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_the_paths_that_ldd_prints() {
        let said = "\tlinux-vdso.so.1 (0x00007f8873ba3000)\n\
                    \tlibmnl.so.0 => /lib/x86_64-linux-gnu/libmnl.so.0 (0x00007f8873a20000)\n\
                    \tlibgone.so.1 => not found\n\
                    \t/lib64/ld-linux-x86-64.so.2 (0x00007f8873ba5000)\n";
        let expected = [
            "/lib/x86_64-linux-gnu/libmnl.so.0",
            "/lib64/ld-linux-x86-64.so.2",
        ];
        assert_eq!(parse_libraries(said), expected);
    }
}
