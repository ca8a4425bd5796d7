use std::{io::IsTerminal, thread, time::Duration};

use darknet_core::source::replay::Progress;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A progress bar on standard error, if that is a terminal.
pub(crate) struct Bar(ProgressBar);

impl Bar {
    /// Starts a bar that follows `progress` until it is finished.
    pub(crate) fn start(progress: Progress) -> Self {
        let bar = match progress.total() {
            Some(total) => ProgressBar::new(total).with_style(style(
                "{bar:40} {binary_bytes} of {binary_total_bytes}, {binary_bytes_per_sec}, {eta} left",
            )),
            None => ProgressBar::no_length().with_style(style(
                "{spinner} {binary_bytes}, {binary_bytes_per_sec}",
            )),
        };
        if !std::io::stderr().is_terminal() {
            bar.set_draw_target(ProgressDrawTarget::hidden());
            return Self(bar);
        }
        let following = bar.clone();
        thread::spawn(move || {
            while !following.is_finished() {
                following.set_position(progress.read());
                thread::sleep(Duration::from_millis(100));
            }
        });
        Self(bar)
    }

    /// Prints without tearing the bar.
    pub(crate) fn suspend<T>(&self, print: impl FnOnce() -> T) -> T {
        self.0.suspend(print)
    }

    /// Takes the bar away.
    pub(crate) fn finish(self) {
        self.0.finish_and_clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("a constant that is a template")
}
