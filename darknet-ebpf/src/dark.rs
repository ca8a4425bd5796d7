/// Boundaries between dark and not dark that the kernel program holds for each IP version.
///
/// A prefix has two, prefixes side by side share them. The program compares them one after the
/// other, which for a few is far quicker than any look-up (a trie costs 22 ns for one prefix).
pub const BOUNDARIES: usize = 32;

/// Whether an address is dark, by where dark and not dark meet.
///
/// `boundaries` are sorted and each is the first address of a stretch that differs from the one
/// before; what lies before the first is `base`. So the address is `base`, turned over once for
/// each boundary at or below it.
///
/// ```
/// use darknet_ebpf::is_dark;
///
/// // 203.0.113.0/24
/// let boundaries = [0xcb00_7100u32, 0xcb00_7200];
/// assert!(is_dark(false, boundaries, 0xcb00_7109));
/// assert!(!is_dark(false, boundaries, 0xcb00_7200));
/// ```
#[inline(always)]
pub fn is_dark<A: PartialOrd>(
    base: bool,
    boundaries: impl IntoIterator<Item = A>,
    address: A,
) -> bool {
    let mut dark = base;
    for boundary in boundaries {
        if address < boundary {
            break;
        }
        dark = !dark;
    }
    dark
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_boundary_turns_it_over() {
        for base in [false, true] {
            for (address, turned) in [
                (0u32, false),
                (9, false),
                (10, true),
                (11, true),
                (19, true),
                (20, false),
                (29, false),
                (30, true),
                (u32::MAX, true),
            ] {
                let dark = is_dark(base, [10, 20, 30], address);
                assert_eq!(dark, base ^ turned, "{address} from {base}");
            }
            assert_eq!(is_dark(base, [], 7), base, "no boundary");
            assert_eq!(is_dark(base, [0], 0), !base, "from the first address on");
        }
    }
}
