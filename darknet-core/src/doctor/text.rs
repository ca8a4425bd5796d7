use std::fmt;

use super::{Finding, Report, Severity};

/// Columns of a line, but for commands, which stay whole.
const WIDTH: usize = 96;
/// Where the text of a finding begins.
const INDENT: usize = 17;

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            schema: _,
            interface,
            fit,
            findings,
        } = self;
        let of = |severity| {
            let findings = findings.iter();
            findings.filter(move |finding| finding.severity == severity)
        };
        // Not what a terminal takes for commands.
        let is_plain =
            !interface.is_empty() && interface.bytes().all(|byte| byte.is_ascii_graphic());
        let name = match is_plain {
            true => interface.clone(),
            false => format!("{interface:?}"),
        };
        match (fit, of(Severity::Better).count()) {
            (false, _) => writeln!(out, "A telescope can't run on {name} yet.")?,
            (true, 0) => writeln!(out, "A telescope can run on {name}.")?,
            (true, 1) => writeln!(out, "A telescope can run on {name}; one thing would help.")?,
            (true, number) => writeln!(
                out,
                "A telescope can run on {name}; {number} things would help."
            )?,
        }
        for (severity, title) in [
            (Severity::Stops, "In the way"),
            (Severity::Better, "Would help"),
            (Severity::Note, "Good to know"),
            (Severity::Well, "Fine"),
        ] {
            let mut title = Some(title);
            for finding in of(severity) {
                if let Some(title) = title.take() {
                    writeln!(out, "\n{title}")?;
                }
                one(out, finding)?;
            }
        }
        Ok(())
    }
}

fn one(out: &mut fmt::Formatter<'_>, finding: &Finding) -> fmt::Result {
    let Finding {
        severity: _,
        what,
        is,
        why,
        advice,
    } = finding;
    let mut before = format!("  {what}");
    for line in [Some(is), why.as_ref()].into_iter().flatten() {
        for line in wrapped(line) {
            writeln!(out, "{before:<INDENT$}{line}")?;
            before.clear();
        }
    }
    for advice in advice {
        writeln!(out, "{:INDENT$}-> {advice}", "")?;
    }
    Ok(())
}

/// Lines that fit beside the indent.
fn wrapped(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + word.chars().count() < WIDTH - INDENT => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}
