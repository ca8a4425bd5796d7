use std::{io, path::PathBuf};

/// What went wrong in the lab: one line that names the thing and the way out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Namespaces and BPF programs are for root.
    #[error("the lab needs root; run it with sudo")]
    Privilege,
    /// A program that the lab calls is not there.
    #[error("{program}: {source}; install it: apt-get install {package}")]
    Missing {
        /// Its name.
        program: &'static str,
        /// Debian's package.
        package: &'static str,
        /// What the operating system said.
        source: io::Error,
    },
    /// A program that the lab calls failed.
    #[error("{command}: {message}")]
    Command {
        /// The whole command line.
        command: String,
        /// Its own words.
        message: String,
    },
    /// The operating system refused.
    #[error("{action}: {source}")]
    System {
        /// What was tried, with its subject.
        action: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// The kernel refused a BPF object, a program or a map.
    #[error("{action}: {message}")]
    Bpf {
        /// What was tried, with its subject.
        action: String,
        /// The error and its sources.
        message: String,
    },
    /// A number of queues that no link has.
    #[error("a link with {queues} queues is not possible; ask for 1 to {most}")]
    Queues {
        /// As asked.
        queues: u32,
        /// The most there can be.
        most: u32,
    },
    /// A frame that does not fit the link.
    #[error(
        "frame {index} has {length} bytes; the lab's link takes {} to {}",
        super::SHORTEST_FRAME,
        super::LONGEST_FRAME
    )]
    Frame {
        /// Which one, from 0.
        index: u64,
        /// Its length in bytes.
        length: usize,
    },
    /// Nothing to send.
    #[error("there is no frame to send; give a scenario or a capture that has some")]
    NoFrames,
    /// A rate of zero.
    #[error("0 frames a second never end; leave the rate out for as fast as possible")]
    Rate,
    /// A capture that cannot be read.
    #[error("{}: {message}", path.display())]
    Capture {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
}

impl Error {
    /// For `map_err`: what was tried when the operating system refused.
    pub(super) fn system(action: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let action = action.into();
        move |source| Self::System { action, source }
    }

    /// For `map_err`: what was tried when the kernel refused something of BPF. The verifier's log
    /// is left out: with a committed object it is no user's business.
    pub(super) fn bpf<E: std::error::Error>(action: impl Into<String>) -> impl FnOnce(E) -> Self {
        let action = action.into();
        move |error| {
            let mut message = first_line(&error);
            let mut source = error.source();
            while let Some(error) = source {
                let line = first_line(error);
                if !message.contains(&line) {
                    message = format!("{message}: {line}");
                }
                source = error.source();
            }
            Self::Bpf { action, message }
        }
    }
}

fn first_line(error: &dyn std::error::Error) -> String {
    error.to_string().lines().next().unwrap_or("").to_owned()
}
