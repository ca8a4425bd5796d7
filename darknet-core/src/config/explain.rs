//! What is wrong with a file: the line, the key, and what to write instead.

use std::{ops::Range, str::Utf8Error};

use toml::de::{DeTable, DeValue};

/// What is wrong, and in which line, from 1.
pub(super) struct Wrong {
    pub(super) line: usize,
    pub(super) what: String,
}

/// What to write, by key.
const EXAMPLES: [(&str, &str); 28] = [
    ("interface", "interface = \"eth1\""),
    ("dark", "dark = [\"203.0.113.0/24\"]"),
    ("exclude", "exclude = [\"203.0.113.1/32\"]"),
    ("any", "any = true or false"),
    ("window", "window = \"60s\""),
    ("rollup", "rollup = [\"hours\", \"days\"], or one of them"),
    ("zone", "zone = \"Asia/Tokyo\" or \"UTC\""),
    ("seed", "a number, as seed = 7 or seed = \"0x1f3a\""),
    (
        "packets",
        "packets = \"auto\", \"frames\", \"headers\" or \"none\"",
    ),
    ("workers", "a number of threads, as workers = 2"),
    ("memory", "a number of MiB, as memory = 1024"),
    ("kernel_memory", "a number of MiB, as kernel_memory = 64"),
    ("networks_by_port", "networks_by_port = true or false"),
    ("pins", "pins = \"/sys/fs/bpf/telescope\""),
    ("filter", "[filter] with sources and action below it"),
    ("filter.sources", "sources = [\"198.51.100.0/24\"]"),
    ("filter.action", "action = \"drop\" or \"pass\""),
    ("sample", "[sample] with one_in and of below it"),
    ("sample.one_in", "one_in = 1, which is all, to 4294967295"),
    ("sample.of", "of = \"packets\" or \"networks\""),
    ("frames", "[frames] with ring, frames and others below it"),
    ("frames.ring", "ring = 2048, a power of two"),
    ("frames.frames", "frames = 4096"),
    ("frames.chunk", "chunk = 2048 or 4096"),
    ("frames.huge_pages", "huge_pages = true or false"),
    (
        "frames.zero_copy",
        "zero_copy = \"prefer\", \"never\" or \"require\"",
    ),
    (
        "frames.fragments",
        "fragments = \"assemble\", \"truncate\" or \"refuse\"",
    ),
    ("frames.busy_poll", "busy_poll = true or false"),
];

/// Bytes that are no text.
pub(super) fn encoding(bytes: &[u8], error: Utf8Error) -> Wrong {
    let before = &bytes[..error.valid_up_to()];
    Wrong {
        line: 1 + before.iter().filter(|&&byte| byte == b'\n').count(),
        what: "not UTF-8; save the file as UTF-8 text".into(),
    }
}

/// Text that is no TOML, or has keys and values that are not ours.
pub(super) fn toml(text: &str, error: &toml::de::Error) -> Wrong {
    // What is missing at the end is missing in the last line that has something.
    let end = text.trim_end().len();
    let start = error.span().map_or(end, |span| span.start);
    let line = line(text, start.min(end));
    let message = error.message().replace('\n', "; ");
    let Some(keys) = keys(text) else {
        let what = if start >= end {
            format!("the file ends here, cut off: {message}; write it whole, then rename it")
        } else {
            let way_out = match message.as_str() {
                "duplicate key" => "drop one of the two",
                _ => "write key = value, texts in quotes",
            };
            format!("not TOML: {message}; {way_out}")
        };
        return Wrong { line, what };
    };
    // The innermost comes last.
    let holds = |span: &Range<usize>| span.contains(&start);
    let key = keys.into_iter().rfind(|(_, span)| holds(span));
    let key = key.map_or_else(String::new, |(key, _)| key);
    if let Some(names) = message.strip_prefix("unknown field ") {
        let what = format!("unknown key {names}");
        return Wrong { line, what };
    }
    let mut what = format!("{key}: {message}");
    let name = key.split('[').next();
    let example = EXAMPLES.iter().find(|(key, _)| Some(*key) == name);
    if let Some((_, example)) = example
        && !message.contains("; write")
    {
        what += &format!("; write {example}");
    }
    Wrong { line, what }
}

/// A value that is not allowed.
pub(super) fn value(text: &str, key: String, error: &crate::Error) -> Wrong {
    let keys = keys(text).unwrap_or_default();
    let span = keys.into_iter().find(|(name, _)| *name == key);
    Wrong {
        line: line(text, span.map_or(0, |(_, span)| span.start)),
        what: error.to_string(),
    }
}

fn line(text: &str, offset: usize) -> usize {
    let before = &text.as_bytes()[..offset.min(text.len())];
    1 + before.iter().filter(|&&byte| byte == b'\n').count()
}

/// Keys as `filter.sources[2]`, each with where its name and its value stand. `None` if it is no
/// TOML.
fn keys(text: &str) -> Option<Vec<(String, Range<usize>)>> {
    let mut found = Vec::new();
    of_table("", DeTable::parse(text).ok()?.get_ref(), &mut found);
    Some(found)
}

fn of_table(around: &str, table: &DeTable<'_>, found: &mut Vec<(String, Range<usize>)>) {
    for (name, value) in table {
        let key = format!("{around}{}", name.get_ref());
        found.push((key.clone(), name.span()));
        found.push((key.clone(), value.span()));
        match value.get_ref() {
            DeValue::Table(table) => of_table(&format!("{key}."), table, found),
            DeValue::Array(array) => {
                let elements = array.iter().enumerate();
                found.extend(elements.map(|(at, value)| (format!("{key}[{at}]"), value.span())));
            }
            _ => {}
        }
    }
}
