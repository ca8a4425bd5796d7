use super::random::below;

/// Weighted choice in constant time: Walker's alias table, built by Vose's method (IEEE
/// Transactions on Software Engineering 17, 1991) in exact integer arithmetic.
///
/// One 64-bit draw chooses the column (its high part) and decides between the column's own entry
/// and its alias (its low part). The decision's threshold is rounded down to 32 bits, so that every
/// entry is chosen with its weight's share to within [`AliasTable::ERROR`].
#[derive(Debug, Clone)]
pub struct AliasTable {
    columns: Vec<Column>,
}

#[derive(Debug, Clone, Copy)]
struct Column {
    /// Below this the column's own entry is chosen, else `alias`.
    threshold: u32,
    /// Itself where the column is full.
    alias: u32,
}

impl AliasTable {
    /// The largest weight.
    pub const MAXIMUM_WEIGHT: u64 = 1 << 40;
    /// The largest number of entries.
    pub const MAXIMUM_LENGTH: usize = 1 << 24;
    /// The bound of an entry's error, as (numerator, denominator): 2^-32 by the thresholds, plus
    /// the multiplication's bias, which is smaller than that.
    pub const ERROR: (u64, u64) = (1, 1 << 31);

    /// A table that chooses entry i with the share of `weights[i]`.
    ///
    /// # Panics
    ///
    /// If there is no weight, a weight is 0 or above [`Self::MAXIMUM_WEIGHT`], or there are more
    /// than [`Self::MAXIMUM_LENGTH`].
    pub fn new(weights: &[u64]) -> Self {
        let length = weights.len();
        assert!(
            (1..=Self::MAXIMUM_LENGTH).contains(&length),
            "{length} weights"
        );
        assert!(
            weights
                .iter()
                .all(|weight| (1..=Self::MAXIMUM_WEIGHT).contains(weight)),
            "a weight is 0 or above {}",
            Self::MAXIMUM_WEIGHT
        );
        // In units of 1 / (length · total): a full column holds `total`. Weights below 2^41 and
        // lengths below 2^25 keep everything here below 2^98.
        let total: u128 = weights.iter().map(|&weight| u128::from(weight)).sum();
        let mut left: Vec<u128> = weights
            .iter()
            .map(|&weight| u128::from(weight) * length as u128)
            .collect();
        let mut columns: Vec<Column> = (0..length as u32)
            .map(|own| Column {
                threshold: u32::MAX,
                alias: own,
            })
            .collect();
        let (mut small, mut large): (Vec<u32>, Vec<u32>) =
            (0..length as u32).partition(|&entry| left[entry as usize] < total);
        while let (Some(&giver), Some(taker)) = (large.last(), small.pop()) {
            let has = left[taker as usize];
            columns[taker as usize] = Column {
                threshold: ((has << 32) / total) as u32,
                alias: giver,
            };
            left[giver as usize] -= total - has;
            if left[giver as usize] < total {
                large.pop();
                small.push(giver);
            }
        }
        Self { columns }
    }

    /// Zipf's law with exponent 1: entry i, of rank i + 1, weighs 2^40 / rank.
    ///
    /// # Panics
    ///
    /// As [`Self::new`].
    pub fn zipf(length: u32) -> Self {
        let weights: Vec<u64> = (1..=u64::from(length))
            .map(|rank| Self::MAXIMUM_WEIGHT / rank)
            .collect();
        Self::new(&weights)
    }

    /// The entry that `draw`, 64 uniform bits, chooses.
    pub fn pick(&self, draw: u64) -> u32 {
        let length = self.columns.len() as u64;
        let own = below(draw, length);
        let fraction = (draw.wrapping_mul(length) >> 32) as u32;
        let column = self.columns[own as usize];
        if fraction < column.threshold {
            own as u32
        } else {
            column.alias
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every entry's share, in units of 1 / (length · 2^32).
    fn shares(table: &AliasTable) -> Vec<u128> {
        let mut shares = vec![0; table.columns.len()];
        for (own, column) in table.columns.iter().enumerate() {
            let threshold = u128::from(column.threshold);
            shares[own] += threshold;
            shares[column.alias as usize] += (1 << 32) - threshold;
        }
        shares
    }

    fn assert_matches(name: &str, weights: &[u64], table: &AliasTable) {
        let total: u128 = weights.iter().map(|&weight| u128::from(weight)).sum();
        let unit = (weights.len() as u128) << 32;
        let (numerator, denominator) = AliasTable::ERROR;
        let shares = shares(table);
        assert_eq!(shares.iter().sum::<u128>(), unit, "{name}: shares sum to 1");
        for (entry, (&weight, share)) in weights.iter().zip(shares).enumerate() {
            // |share / unit - weight / total| <= numerator / denominator
            let difference = (share * total).abs_diff(u128::from(weight) * unit);
            assert!(
                difference * u128::from(denominator) <= unit * total * u128::from(numerator),
                "{name}: entry {entry} of weight {weight} has {share} of {unit}"
            );
        }
    }

    #[test]
    fn shares_match_the_weights_within_the_stated_bound() {
        let huge = AliasTable::MAXIMUM_WEIGHT;
        for (name, weights) in [
            ("one", vec![5]),
            ("equal", vec![3; 7]),
            ("nine to one", vec![9, 1]),
            ("extremes", vec![huge, 1, huge, 1, 1]),
            ("ascending", (1..=1000).collect()),
        ] {
            assert_matches(name, &weights, &AliasTable::new(&weights));
        }
        let zipf: Vec<u64> = (1..=100_000).map(|rank| huge / rank).collect();
        assert_matches("zipf", &zipf, &AliasTable::zipf(100_000));
    }

    #[test]
    fn picks_spread_as_the_shares_say() {
        let table = AliasTable::new(&[9, 1, 90]);
        let mut seen = [0_i64; 3];
        for counter in 0..100_000 {
            seen[table.pick(super::super::random::word(7, counter)) as usize] += 1;
        }
        for (entry, expected) in [9_000, 1_000, 90_000].into_iter().enumerate() {
            // Four standard deviations at most 4 · sqrt(100000 · 0.25) = 632.
            assert!((seen[entry] - expected).abs() < 632, "{seen:?}");
        }
    }
}
