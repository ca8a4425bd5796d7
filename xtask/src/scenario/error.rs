use std::io;
use std::path::PathBuf;

/// What is wrong with a scenario: one line that names the file, the key and what to write instead.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file cannot be read.
    #[error("{}: cannot be read: {source}", path.display())]
    Read {
        /// The scenario file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A key that does not exist, is missing, has a value of another type, or no TOML at all.
    #[error("{file}:{line}: `{text}`: {message}")]
    Syntax {
        /// The scenario file.
        file: String,
        /// The line, from 1.
        line: usize,
        /// What is written there.
        text: String,
        /// What was expected.
        message: String,
    },
    /// A value that has the right type and makes no sense.
    #[error("{file}: {key}: {advice}")]
    Value {
        /// The scenario file.
        file: String,
        /// The key, with its flow: `flow[2] "Telnet".ports`.
        key: String,
        /// What is wrong and what to write instead.
        advice: String,
    },
    /// The capture or the truth cannot be written.
    #[error("{}: cannot be written: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The command's arguments contradict each other.
    #[error("{0}")]
    Usage(&'static str),
}

impl Error {
    /// The error of a text that is not a scenario, with the line it is about.
    pub(super) fn syntax(file: &str, text: &str, error: &toml::de::Error) -> Self {
        let start = error.span().map_or(0, |span| span.start.min(text.len()));
        let line = text[..start].matches('\n').count();
        let written = text.lines().nth(line).unwrap_or("").trim();
        let mut message = error.message().replace('\n', "; ");
        if let Some(key) = message.strip_prefix("missing field ") {
            message = format!("{key} is missing; add it");
        } else if !message.starts_with("unknown field") {
            // Values whose own parsers do not say what they take.
            message += match written.split('=').next().map(str::trim) {
                Some("start") => "; write a time as \"2021-05-01T00:00:00Z\"",
                Some("from" | "to") => "; write an offset as \"2s\" or \"1m 30s\"",
                Some("destinations") => "; write a list of prefixes as [\"203.0.113.0/24\"]",
                Some("sources") => {
                    "; write { prefix = \"198.51.100.0/24\", count = 9, zipf = true } or so"
                }
                _ => "",
            };
        }
        Self::Syntax {
            file: file.to_owned(),
            line: line + 1,
            text: written.to_owned(),
            message,
        }
    }
}
