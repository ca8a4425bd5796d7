use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::{self, ExitCode},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use darknet_core::{Error, Snapshot};

use crate::{options::printed, table};

/// Where running telescopes leave their latest figures.
const FOLDER: &str = "/run/darknet";

/// How old figures may be without a word: where there are many, they are shown less often than each second.
const PATIENCE: Duration = Duration::from_secs(30);

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
    let running = running(interface.as_deref());
    for telescope in &running {
        let path = telescope.page(if json { "json" } else { "txt" });
        let text = fs::read_to_string(&path);
        let mut text = text.map_err(|source| Error::Read { path, source })?;
        if !json {
            let Running { interface, process } = telescope;
            text.insert_str(0, &format!("{interface}, process {process}\n"));
        }
        printed(io::stdout().write_all(text.as_bytes()))?;
        if let Some(age) = telescope.silent() {
            let seconds = age.as_secs();
            say!(
                "warning: these figures are {seconds} s old: the telescope is stopped, or prints to a full disk"
            );
        }
        if let Some(why) = telescope.reloads().refused {
            say!("warning: the last reload was refused: {why}");
        }
    }
    match (interface, running.is_empty()) {
        (_, false) => return Ok(ExitCode::SUCCESS),
        (Some(interface), true) => say!("error: no telescope runs on {interface}"),
        (None, true) => say!("error: no telescope runs here"),
    }
    Ok(ExitCode::FAILURE)
}

/// A telescope that runs on this host, as its pages say.
pub(crate) struct Running {
    pub(crate) interface: String,
    pub(crate) process: i32,
}

/// How often a telescope was asked to reload, and what it said to the last time.
#[derive(Default)]
pub(crate) struct Reloads {
    pub(crate) number: u64,
    pub(crate) refused: Option<String>,
}

/// The telescopes that run on this host, or on one of its interfaces. Pages of those that were
/// killed are removed.
pub(crate) fn running(on: Option<&str>) -> Vec<Running> {
    let mut running = Vec::new();
    let Ok(entries) = fs::read_dir(FOLDER) else {
        return running;
    };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort_unstable();
    for path in paths {
        let Some((interface, process, kind)) = parts(&path) else {
            continue;
        };
        // The number of a process that ended may be that of another one now.
        let name = fs::read_to_string(format!("/proc/{process}/comm"));
        if !name.is_ok_and(|name| name.trim_end() == "darknet") {
            let _ = fs::remove_file(&path);
        } else if kind == "json" && on.is_none_or(|on| on == interface) {
            let interface = interface.to_owned();
            running.push(Running { interface, process });
        }
    }
    running
}

impl Running {
    fn page(&self, kind: &str) -> PathBuf {
        let Self { interface, process } = self;
        Path::new(FOLDER).join(format!("{interface}@{process}.{kind}"))
    }

    /// How long it has shown nothing, if that is longer than large tables take.
    fn silent(&self) -> Option<Duration> {
        let shown = fs::metadata(self.page("json")).and_then(|page| page.modified());
        let age = shown.ok()?.elapsed().ok()?;
        (age > PATIENCE).then_some(age)
    }

    /// How often it was asked to reload.
    pub(crate) fn reloads(&self) -> Reloads {
        let text = fs::read_to_string(self.page("reload")).unwrap_or_default();
        let mut lines = text.lines();
        let number = lines.next().and_then(|number| number.parse().ok());
        Reloads {
            number: number.unwrap_or(0),
            refused: lines.next().map(str::to_owned),
        }
    }
}

/// The interface, the process and the kind of a page: INTERFACE@PROCESS.KIND.
fn parts(path: &Path) -> Option<(&str, i32, &str)> {
    let (interface, rest) = path.file_name()?.to_str()?.rsplit_once('@')?;
    let (process, kind) = rest.split_once('.')?;
    Some((interface, process.parse().ok()?, kind))
}

/// The page of a running telescope.
pub(crate) struct Page {
    base: PathBuf,
    reloads: AtomicU64,
}

impl Page {
    pub(crate) fn new(interface: &str) -> Self {
        // Without the folder there is no page; the telescope runs all the same.
        let _ = fs::create_dir_all(FOLDER);
        Self {
            base: Path::new(FOLDER).join(format!("{interface}@{}", process::id())),
            reloads: AtomicU64::new(0),
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

    /// Leaves what a reload came to.
    pub(crate) fn reloaded(&self, outcome: Result<(), Error>) {
        let number = self.reloads.fetch_add(1, Ordering::Relaxed) + 1;
        let text = match outcome {
            Ok(()) => format!("{number}\n"),
            Err(error) => {
                say!("error: not reloaded: {error}");
                format!("{number}\n{error}\n")
            }
        };
        let _ = self.replace("reload", text.as_bytes());
    }

    /// Readers see the old page or the new one, never a part.
    fn replace(&self, extension: &str, bytes: &[u8]) -> io::Result<()> {
        let path = self.base.with_added_extension(extension);
        // Each has its own: another thread may leave another page meanwhile.
        let unfinished = path.with_added_extension("part");
        fs::write(&unfinished, bytes)?;
        fs::rename(unfinished, path)
    }

    /// Takes the page away.
    pub(crate) fn remove(&self) {
        for extension in ["txt", "json", "reload"] {
            let _ = fs::remove_file(self.base.with_added_extension(extension));
        }
    }
}
