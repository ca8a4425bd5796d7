use std::{error, fs, io};

use aya::{EbpfError, programs::ProgramError};

use super::privilege;
use crate::Error;

/// What it means that maps could not be made or programs not be loaded.
pub(super) fn refused(error: EbpfError) -> Error {
    if let EbpfError::ProgramError(error) = error {
        return program_refused(error);
    }
    if let Some(source) = system_error(&error) {
        if let Some(error) = privilege::missing(&source, "making the kernel program's tables") {
            return error;
        }
        return Error::System {
            doing: format!("making the kernel program's tables ({error})"),
            source,
        };
    }
    Error::KernelObject {
        what: error.to_string(),
    }
}

/// What it means that a program could not be loaded.
pub(super) fn program_refused(error: ProgramError) -> Error {
    match error {
        ProgramError::LoadError {
            io_error,
            verifier_log,
        } => privilege::missing(&io_error, "loading the kernel program").unwrap_or_else(|| {
            Error::Refused {
                release: release(),
                source: io_error,
                log: verifier_log.to_string(),
            }
        }),
        error => match system_error(&error) {
            Some(source) => Error::System {
                doing: "loading the kernel program".into(),
                source,
            },
            None => Error::KernelObject {
                what: error.to_string(),
            },
        },
    }
}

/// The system's own error below what a library says about it.
pub(super) fn system_error(error: &(dyn error::Error + 'static)) -> Option<io::Error> {
    let mut at = Some(error);
    while let Some(error) = at {
        if let Some(number) = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::raw_os_error)
        {
            return Some(io::Error::from_raw_os_error(number));
        }
        at = error.source();
    }
    None
}

/// The kernel that runs, as it calls itself.
fn release() -> String {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease");
    release.map_or_else(|_| "unknown".into(), |release| release.trim().into())
}
