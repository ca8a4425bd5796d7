use std::fmt;

/// How often something is measured.
#[derive(Clone, Copy, Debug)]
pub struct Rounds {
    /// Runs of a program for one figure.
    pub runs: u32,
    /// Figures of which the quartiles are taken; one round before them warms up.
    pub rounds: u32,
}

impl Rounds {
    /// What `cargo bench` means; as a test everything runs just so often that it is tried.
    pub fn of_process() -> Self {
        if std::env::args().any(|argument| argument == "--bench") {
            let (runs, rounds) = (1 << 20, 15);
            Self { runs, rounds }
        } else {
            let (runs, rounds) = (1 << 10, 1);
            Self { runs, rounds }
        }
    }

    /// Runs in all, with those of the first round.
    pub fn total(self) -> u64 {
        u64::from(self.runs) * (u64::from(self.rounds) + 1)
    }

    /// Calls `round` for each round, and returns what it measured, without the first.
    pub fn measure<const N: usize>(self, mut round: impl FnMut() -> [f64; N]) -> Vec<[f64; N]> {
        round();
        (0..self.rounds).map(|_| round()).collect()
    }
}

/// Median and quartiles of a figure; printed as `38 (37 to 41)`, with the precision asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quartiles([f64; 3]);

impl Quartiles {
    /// Those of some figures.
    ///
    /// # Panics
    ///
    /// If there is none.
    pub fn of(figures: impl IntoIterator<Item = f64>) -> Self {
        let mut figures: Vec<f64> = figures.into_iter().collect();
        figures.sort_unstable_by(f64::total_cmp);
        Self([1, 2, 3].map(|quarter| figures[(figures.len() - 1) * quarter / 4]))
    }
}

impl fmt::Display for Quartiles {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self([lower, median, upper]) = self;
        let precision = out.precision().unwrap_or(0);
        write!(
            out,
            "{median:.precision$} ({lower:.precision$} to {upper:.precision$})"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_are_of_the_sorted_figures() {
        let quartiles = Quartiles::of([5.0, 1.0, 4.0, 2.0, 3.0]);
        assert_eq!(quartiles.to_string(), "3 (2 to 4)");
        assert_eq!(format!("{:.1}", Quartiles::of([0.25])), "0.2 (0.2 to 0.2)");
    }

    #[test]
    fn the_first_round_is_left_out() {
        let rounds = Rounds { runs: 7, rounds: 2 };
        let mut calls = 0.0;
        let measured = rounds.measure(|| {
            calls += 1.0;
            [calls]
        });
        assert_eq!(measured, [[2.0], [3.0]]);
        assert_eq!(rounds.total(), 21);
    }
}
