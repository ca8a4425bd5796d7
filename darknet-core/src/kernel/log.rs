use std::fmt;

use aya::Ebpf;
use aya_log::EbpfLogger;

use crate::Error;

/// What the kernel program says on rare paths: at most a line in each turn on each processor.
pub(super) struct Log(EbpfLogger<Forward>);

impl Log {
    pub(super) fn take(loaded: &mut Ebpf) -> Result<Self, Error> {
        let logger = EbpfLogger::init_with_logger(loaded, Forward);
        logger.map(Self).map_err(|error| Error::KernelObject {
            what: format!("its log cannot be read ({error})"),
        })
    }

    /// Hands on what it has said since the last time.
    pub(super) fn forward(&mut self) {
        self.0.flush();
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Log").finish_non_exhaustive()
    }
}

/// From `log`, which aya-log speaks, to `tracing`.
struct Forward;

impl log::Log for Forward {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let said = record.args();
        match record.level() {
            log::Level::Error => tracing::error!("kernel program: {said}"),
            log::Level::Warn => tracing::warn!("kernel program: {said}"),
            _ => tracing::info!("kernel program: {said}"),
        }
    }

    fn flush(&self) {}
}
