use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{self, ExitCode},
};

use darknet_core::{Error, Snapshot};

use crate::table;

/// Where running telescopes leave their latest figures.
const FOLDER: &str = "/run/darknet";
/// Say what the telescopes that run on this host have counted so far.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Only the telescope on this interface.
    interface: Option<String>,

    /// Print the JSON documents, one a line.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: Arguments) -> Result<ExitCode, Error> {
    let Arguments { interface, json } = arguments;
    let wanted = if json { "json" } else { "txt" };
    let mut paths: Vec<PathBuf> = match fs::read_dir(FOLDER) {
        Ok(entries) => entries.flatten().map(|entry| entry.path()).collect(),
        Err(_) => Vec::new(),
    };
    paths.sort_unstable();
    let mut found = false;
    for path in paths {
        let Some((of, process, extension)) = parts(&path) else {
            continue;
        };
        if !Path::new("/proc").join(process).exists() {
            // Its telescope was killed.
            let _ = fs::remove_file(&path);
            continue;
        }
        if extension == wanted && interface.as_deref().is_none_or(|interface| interface == of) {
            let text = fs::read_to_string(&path);
            print!("{}", text.map_err(|source| Error::Read { path, source })?);
            found = true;
        }
    }
    if found {
        return Ok(ExitCode::SUCCESS);
    }
    match interface {
        Some(interface) => eprintln!("error: no telescope runs on {interface}"),
        None => eprintln!("error: no telescope runs here"),
    }
    Ok(ExitCode::FAILURE)
}

/// The interface, the process and the kind of a page: INTERFACE@PROCESS.KIND.
fn parts(path: &Path) -> Option<(&str, &str, &str)> {
    let (interface, rest) = path.file_name()?.to_str()?.rsplit_once('@')?;
    let (process, kind) = rest.split_once('.')?;
    Some((interface, process, kind))
}

/// The page of a running telescope; it goes away with it.
pub(crate) struct Page {
    base: PathBuf,
}

impl Page {
    pub(crate) fn new(interface: &str) -> Self {
        // Without the folder there is no page; the telescope runs all the same.
        let _ = fs::create_dir_all(FOLDER);
        Self {
            base: Path::new(FOLDER).join(format!("{interface}@{}", process::id())),
        }
    }

    /// Leaves the figures so far.
    pub(crate) fn write(&self, snapshot: &Snapshot) {
        let mut text = Vec::new();
        let written = table::print(&mut text, snapshot).and_then(|()| {
            let mut json = serde_json::to_vec(snapshot)?;
            json.push(b'\n');
            self.replace("txt", &text)?;
            self.replace("json", &json)
        });
        // A page is a service, not a condition.
        drop(written);
    }

    /// Readers see the old page or the new one, never a part.
    fn replace(&self, extension: &str, bytes: &[u8]) -> io::Result<()> {
        let path = self.base.with_added_extension(extension);
        let unfinished = self.base.with_added_extension("part");
        fs::write(&unfinished, bytes)?;
        fs::rename(unfinished, path)
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        for extension in ["txt", "json"] {
            let _ = fs::remove_file(self.base.with_added_extension(extension));
        }
    }
}
