use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use super::{
    interface::{Interface, folder},
    sys,
};

/// An interface whose interrupts wait, as busy polling does their work. What was set before comes
/// back when the last of its queues is closed.
#[derive(Debug)]
pub(super) struct Deferral(Key);

/// An interface: its number and hardware address.
type Key = (u32, [u8; 6]);

/// What an interface had before, and how many queues of this process have it changed.
struct Before {
    queues: usize,
    files: [(&'static str, String); 2],
}

/// Queues of other processes don't know of it: of several processes that poll an interface busily,
/// the first should end last.
static DEFERRED: Mutex<BTreeMap<Key, Before>> = Mutex::new(BTreeMap::new());

impl Deferral {
    /// Sets what is 0, and leaves what somebody has set.
    ///
    /// # Errors
    ///
    /// What sysfs said; `ENOENT` where it is another network namespace's.
    pub(super) fn new(
        interface: &Interface,
        interrupts: u32,
        timeout: Duration,
    ) -> io::Result<Self> {
        let address = sys::hardware_address(&interface.name)?;
        let key = (interface.index, address);
        let mut deferred = DEFERRED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(before) = deferred.get_mut(&key) {
            before.queues += 1;
            return Ok(Self(key));
        }
        let folder = folder(&interface.name, address)?;
        let read = |name| Ok::<_, io::Error>((name, fs::read_to_string(folder.join(name))?));
        let files = [read("napi_defer_hard_irqs")?, read("gro_flush_timeout")?];
        let wanted = [u128::from(interrupts), timeout.as_nanos()];
        for ((name, before), wanted) in files.iter().zip(wanted) {
            if before.trim() == "0"
                && let Err(error) = fs::write(folder.join(name), wanted.to_string())
            {
                restore(&folder, &files);
                return Err(error);
            }
        }
        deferred.insert(key, Before { queues: 1, files });
        Ok(Self(key))
    }
}

/// The folder of an interface, by whatever name it has now.
fn find((index, address): Key) -> Option<PathBuf> {
    let mut names = fs::read_dir("/sys/class/net").ok()?;
    names.find_map(|entry| {
        let name = entry.ok()?.file_name().into_string().ok()?;
        let folder = folder(&name, address).ok()?;
        let found = fs::read_to_string(folder.join("ifindex")).ok()?;
        (found.trim() == index.to_string()).then_some(folder)
    })
}

fn restore(folder: &Path, files: &[(&'static str, String)]) {
    for (name, before) in files {
        // An interface that is gone has nothing to restore.
        let _ = fs::write(folder.join(name), before.trim());
    }
}

impl Drop for Deferral {
    fn drop(&mut self) {
        let Self(key) = self;
        let mut deferred = DEFERRED.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(before) = deferred.get_mut(key) else {
            return;
        };
        before.queues -= 1;
        if before.queues == 0
            && let Some(before) = deferred.remove(key)
            && let Some(folder) = find(*key)
        {
            restore(&folder, &before.files);
        }
    }
}
