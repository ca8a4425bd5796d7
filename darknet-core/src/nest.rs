use ipnet::IpNet;

/// A prefix, and whether it is dark or excluded.
pub(crate) type Entry = (IpNet, bool);

/// Dark prefixes and exclusions in the order in which they nest: by version and address, of those
/// at one address the shorter first. So a prefix comes after each that it lies in.
pub(crate) fn sorted(dark: &[IpNet], excluded: &[IpNet]) -> Vec<Entry> {
    let dark = dark.iter().map(|&prefix| (prefix, true));
    let excluded = excluded.iter().map(|&prefix| (prefix, false));
    let mut entries: Vec<Entry> = dark.chain(excluded).collect();
    entries.sort_unstable();
    entries
}

/// Each entry with the longest one that it lies in, if any. Two prefixes nest or have nothing in
/// common, so those around an entry are a stack: one pass over all.
pub(crate) fn with_around(sorted: Vec<Entry>) -> impl Iterator<Item = (Entry, Option<Entry>)> {
    let mut stack: Vec<Entry> = Vec::new();
    sorted.into_iter().map(move |entry| {
        while stack
            .pop_if(|(around, _)| !around.contains(&entry.0))
            .is_some()
        {}
        let around = stack.last().copied();
        stack.push(entry);
        (entry, around)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_the_longest_around_it() {
        let net = |text: &str| -> IpNet { text.parse().expect(text) };
        let dark = ["10.1.2.0/24", "::/0", "10.0.0.0/8", "2001:db8::/32"].map(net);
        let excluded = ["10.1.2.7/32", "10.1.0.0/16", "11.0.0.0/8"].map(net);
        let found: Vec<_> = with_around(sorted(&dark, &excluded))
            .map(|((net, dark), around)| {
                let around = around.map_or("-".into(), |(net, _)| net.to_string());
                format!("{net} {dark} in {around}")
            })
            .collect();
        assert_eq!(
            found,
            [
                "10.0.0.0/8 true in -",
                "10.1.0.0/16 false in 10.0.0.0/8",
                "10.1.2.0/24 true in 10.1.0.0/16",
                "10.1.2.7/32 false in 10.1.2.0/24",
                "11.0.0.0/8 false in -",
                "::/0 true in -",
                "2001:db8::/32 true in ::/0",
            ]
        );
    }
}
