use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Copy, Default)]
struct Counter {
    key: u32,
    count: u32,
}

impl Slot for Counter {
    type Key = u32;

    fn key(&self) -> Option<u32> {
        (self.count > 0).then_some(self.key)
    }

    fn of(key: u32) -> Self {
        Self { key, count: 0 }
    }

    fn hash(key: u32, seed: &Seed) -> u64 {
        seed.key(key)
    }
}

fn add(table: &mut Table<Counter>, key: u32, seed: &Seed) -> bool {
    let entry = table.entry(key, Counter::hash(key, seed) as u32, seed);
    entry.map(|slot| slot.count += 1).is_some()
}

fn contents(table: &Table<Counter>) -> HashMap<u32, u32> {
    table.iter().map(|slot| (slot.key, slot.count)).collect()
}

proptest! {
    #[test]
    fn counts_as_a_hash_map_does(keys in prop::collection::vec(0..400u32, 0..2000)) {
        let seed = Seed::random();
        let mut one = Table::new(1 << 20);
        let mut expected = HashMap::new();
        for key in keys {
            prop_assert!(add(&mut one, key, &seed));
            *expected.entry(key).or_insert(0) += 1;
        }
        prop_assert_eq!(contents(&one), expected);
    }
}

#[derive(Clone, Copy, Default)]
struct Colliding(u32);

impl Slot for Colliding {
    type Key = u32;

    fn key(&self) -> Option<u32> {
        self.0.checked_sub(1)
    }

    fn of(key: u32) -> Self {
        Self(key + 1)
    }

    fn hash(_: u32, _: &Seed) -> u64 {
        7
    }
}

#[test]
fn keys_of_one_hash_fill_the_table_early_and_stay() {
    let seed = Seed::random();
    let mut table: Table<Colliding> = Table::new(1 << 20);
    let taken = (0..2_000).filter(|&key| table.entry(key, 7, &seed).is_some());
    let taken = taken.count();
    assert_eq!(taken, PROBES);
    assert!((0..256).all(|key| table.get(key, &seed).is_some()));
    assert!(table.slots.len() <= 8 * PROBES, "{}", table.slots.len());
}

#[test]
fn a_full_table_keeps_what_it_has_and_takes_nothing_new() {
    let seed = Seed::random();
    let mut table = Table::new(64 * size_of::<Counter>());
    let taken = (0..1000).filter(|&key| add(&mut table, key, &seed)).count();
    assert_eq!(taken, 48, "three quarters of 64");
    assert_eq!(table.taken, 48);
    assert!(
        add(&mut table, 0, &seed),
        "a key that is there is still counted"
    );
    assert_eq!(contents(&table)[&0], 2);
    assert!(table.get(0, &seed).is_some() && table.get(5000, &seed).is_none());
}
