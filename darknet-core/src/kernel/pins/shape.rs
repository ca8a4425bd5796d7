use aya::maps::{MapData, MapError, MapType};

/// What a map has to be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::kernel) struct Shape {
    pub(in crate::kernel) kind: MapType,
    /// Bytes of a key.
    pub(in crate::kernel) key: u32,
    /// Bytes of a value; of a map with a value for each processor, of one of them.
    pub(in crate::kernel) value: u32,
    /// Entries that there is room for; `None`: any number.
    pub(in crate::kernel) entries: Option<u32>,
}

impl Shape {
    /// What a map is.
    pub(in crate::kernel) fn of(map: &MapData) -> Result<Self, MapError> {
        let info = map.info()?;
        Ok(Self {
            kind: info.map_type()?,
            key: info.key_size(),
            value: info.value_size(),
            entries: Some(info.max_entries()),
        })
    }

    /// The first thing that differs from what it should be, in words.
    pub(super) fn difference(&self, expected: &Self) -> Option<String> {
        let Self {
            kind,
            key,
            value,
            entries,
        } = expected;
        if self.kind != *kind {
            return Some(format!("the kind {:?}, not {kind:?}", self.kind));
        }
        let numbers = [
            ("keys of", "bytes", Some(self.key), Some(*key)),
            ("values of", "bytes", Some(self.value), Some(*value)),
            ("room for", "entries", self.entries, *entries),
        ];
        numbers
            .into_iter()
            .find_map(|(before, after, found, expected)| {
                let (found, expected) = (found?, expected?);
                (found != expected).then(|| format!("{before} {found} {after}, not {expected}"))
            })
    }
}
