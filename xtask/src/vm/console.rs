/// What the guest's line about the outcome begins with; a kernel's message may stand before it.
const MARK: &str = "DARKNET-VM ";

/// How it went inside.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// On this kernel, by its release and version.
    Passed(String),
    /// Why not.
    Failed(String),
}

impl Verdict {
    /// The line that the guest prints.
    pub(super) fn line(&self) -> String {
        match self {
            Self::Passed(kernel) => format!("{MARK}passed {kernel}"),
            Self::Failed(why) => format!("{MARK}failed {}", why.replace('\n', "; ")),
        }
    }

    fn parse(line: &str) -> Option<Self> {
        let (_, verdict) = line.split_once(MARK)?;
        let (word, rest) = verdict.split_once(' ')?;
        match word {
            "passed" => Some(Self::Passed(rest.to_owned())),
            "failed" => Some(Self::Failed(rest.to_owned())),
            _ => None,
        }
    }
}

/// A line of the console without what the terminal adds.
pub(super) fn clean(line: &[u8]) -> String {
    String::from_utf8_lossy(line).trim_end().to_owned()
}

/// The verdict among the lines; the first one counts.
pub(super) fn verdict(lines: &[String]) -> Option<Verdict> {
    lines.iter().find_map(|line| Verdict::parse(line))
}

/// The lines with figures in them.
pub(super) fn figures(lines: &[String]) -> impl Iterator<Item = &str> {
    const BEGINNINGS: [&str; 5] = [
        "watching ",
        "warning: ",
        "sent ",
        "received ",
        "test result",
    ];
    // The test runner's own words stand before the first line that a test prints.
    let lines = lines.iter().map(|line| match line.split_once(" ... ") {
        Some((test, said)) if test.starts_with("test ") => said,
        _ => line,
    });
    lines.filter(|line| {
        BEGINNINGS.iter().any(|begin| line.starts_with(begin)) || line.contains("Footprint {")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_is_found_among_other_lines() {
        let passed = Verdict::Passed("6.1.0-56-cloud-amd64 #1 SMP".into());
        let failed = Verdict::Failed("sent 2, received 1; syn: sent 2".into());
        let cases: [(&[&[u8]], Option<&Verdict>); 6] = [
            (
                &[
                    b"SeaBIOS",
                    b"DARKNET-VM passed 6.1.0-56-cloud-amd64 #1 SMP\r\n",
                ],
                Some(&passed),
            ),
            (
                &[
                    b"[  1.2] x: DARKNET-VM passed 6.1.0-56-cloud-amd64 #1 SMP\r",
                    b"",
                ],
                Some(&passed),
            ),
            (
                &[b"DARKNET-VM failed sent 2, received 1; syn: sent 2\r"],
                Some(&failed),
            ),
            (&[b"DARKNET-VM pass", b"ed 6.1"], None),
            (&[b"DARKNET-VM passed"], None),
            (&[b"\xff\xfe Kernel panic - not syncing"], None),
        ];
        for (lines, expected) in cases {
            let lines: Vec<_> = lines.iter().map(|line| clean(line)).collect();
            assert_eq!(verdict(&lines).as_ref(), expected, "{lines:?}");
        }
    }

    #[test]
    fn what_is_printed_is_what_is_parsed() {
        for verdict in [
            Verdict::Passed("6.12 #1".into()),
            Verdict::Failed("because".into()),
        ] {
            assert_eq!(Verdict::parse(&verdict.line()), Some(verdict));
        }
        let lines = Verdict::Failed("two\nlines".into()).line();
        assert_eq!(lines, "DARKNET-VM failed two; lines");
    }

    #[test]
    fn figures_are_the_lines_with_figures() {
        let lines = [
            "watching dark0 in driver mode; Ctrl-C ends it",
            "tcp  23  12",
            "sent 20000 in 1.0 s (0.02 million a second)",
            "test it_fits ... any: Footprint { verified: Some(9), machine_code: 7 }",
        ]
        .map(str::to_owned);
        let footprint = "any: Footprint { verified: Some(9), machine_code: 7 }";
        let expected = [&*lines[0], &*lines[2], footprint];
        assert_eq!(figures(&lines).collect::<Vec<_>>(), expected);
    }
}
