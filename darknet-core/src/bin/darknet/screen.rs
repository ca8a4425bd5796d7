use std::{
    io::{self, IsTerminal, Write},
    time::Instant,
};

use crate::table;

/// A summary on standard error that is drawn anew, if that is a terminal.
pub(crate) struct Screen {
    is_terminal: bool,
    lines: usize,
    before: Option<(Instant, u64)>,
}

impl Screen {
    pub(crate) fn new() -> Self {
        Self {
            is_terminal: io::stderr().is_terminal(),
            lines: 0,
            before: None,
        }
    }

    pub(crate) fn show(&mut self, snapshot: &darknet_core::Snapshot) {
        if !self.is_terminal {
            return;
        }
        let now = (Instant::now(), snapshot.ledger.received);
        let rate = self.before.map_or(0.0, |(then, received)| {
            #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
            let packets = now.1.saturating_sub(received) as f64;
            packets / (now.0 - then).as_secs_f64()
        });
        self.before = Some(now);
        let mut text = Vec::new();
        // Nothing fails in memory.
        let _ = writeln!(text, "{rate:.0} packets a second");
        let _ = table::summary(&mut text, snapshot);
        self.clear();
        self.lines = text.iter().filter(|&&byte| byte == b'\n').count();
        let _ = io::stderr().write_all(&text);
    }

    /// Takes the summary away.
    pub(crate) fn clear(&mut self) {
        if self.lines > 0 {
            // ECMA-48: cursor up, erase to the end of the screen.
            let _ = write!(io::stderr(), "\x1b[{}A\x1b[J", self.lines);
            self.lines = 0;
        }
    }
}
