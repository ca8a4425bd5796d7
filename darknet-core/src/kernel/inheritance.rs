use super::{BankFigures, Kernel, Pinned, Records};
use crate::{Dark, Error, Nanoseconds};

/// What a telescope before this one has counted and nobody has been handed.
#[derive(Debug)]
#[non_exhaustive]
pub struct Inheritance {
    /// Its counts.
    pub figures: BankFigures,
    /// Where the window began that they belong to.
    pub begun: Nanoseconds,
    /// Whether the same was dark as is now.
    pub same_dark: bool,
    /// Its records. Some may be missing: the process that took them has not told of them.
    pub records: Vec<Records>,
}

impl Kernel {
    /// What a telescope that had left its tables pinned has counted and not handed over; once,
    /// after [`attach`](Self::attach) has taken its place. `dark` is what is dark now.
    ///
    /// # Errors
    ///
    /// What the kernel said.
    pub fn inheritance(&mut self, dark: &Dark) -> Result<Option<Inheritance>, Error> {
        let Some(Pinned { left, .. }) = &mut self.pinned else {
            return Ok(None);
        };
        let mut all: Option<Inheritance> = None;
        for (counters, records) in left.drain(..) {
            let figures = counters.remains()?;
            let begun = counters.begun();
            let same_dark = counters.has_dark(dark);
            let all = match &mut all {
                Some(all) => {
                    all.figures.merge(figures);
                    all.same_dark &= same_dark;
                    all
                }
                None => all.insert(Inheritance {
                    figures,
                    begun,
                    same_dark,
                    records: Vec::new(),
                }),
            };
            all.records.extend(records);
        }
        Ok(all)
    }
}
