use std::{
    any::Any,
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    thread,
};

use darknet_ebpf::Payload;

use crate::aggregate::{Aggregate, Observation};

/// What a worker has of a window, or what several have together.
///
/// The aggregate may be an embedder's, and may panic: then what it had of the window is lost, and
/// counted as abandoned, as are the packets that follow. Nobody sees an aggregate after a panic, so
/// it does not matter in which state that left it.
#[derive(Debug)]
pub(crate) struct Part<A> {
    /// `None` after a panic.
    pub(crate) aggregate: Option<A>,
    /// Packets that the aggregate has seen.
    pub(crate) observed: u64,
    /// Packets that were lost with an aggregate that panicked.
    pub(crate) abandoned: u64,
    /// Which aggregates panicked, and what they said.
    pub(crate) panics: Vec<String>,
}

impl<A: Aggregate> Part<A> {
    /// Nothing yet, for a clean aggregate.
    pub(crate) fn new(aggregate: A) -> Self {
        Self {
            aggregate: Some(aggregate),
            observed: 0,
            abandoned: 0,
            panics: Vec::new(),
        }
    }

    #[inline]
    pub(crate) fn observe(&mut self, batch: &[Observation]) {
        let packets = batch.len() as u64;
        let Some(aggregate) = &mut self.aggregate else {
            self.abandoned += packets;
            return;
        };
        self.observed += packets;
        let observing = AssertUnwindSafe(|| aggregate.observe_batch(batch));
        if let Err(panic) = catch_unwind(observing) {
            self.abandon(&*panic);
        }
    }

    /// Observes the payload of a packet that is observed soon.
    #[inline]
    pub(crate) fn observe_payload(&mut self, observation: &Observation, payload: &Payload<'_>) {
        let Some(aggregate) = &mut self.aggregate else {
            return;
        };
        let observing = AssertUnwindSafe(|| aggregate.observe_payload(observation, payload));
        if let Err(panic) = catch_unwind(observing) {
            self.abandon(&*panic);
        }
    }

    /// What may be read of it so far, added to an empty aggregate.
    #[cfg(all(feature = "live", target_os = "linux"))]
    pub(crate) fn publish(&mut self, mut live: A) -> Option<A> {
        let aggregate = self.aggregate.as_ref()?;
        let publishing = AssertUnwindSafe(|| aggregate.publish(&mut live));
        match catch_unwind(publishing) {
            Ok(()) => Some(live),
            Err(panic) => {
                self.abandon(&*panic);
                None
            }
        }
    }

    /// Adds another part of the same window, and gives back the aggregate that is used no more.
    pub(crate) fn merge(&mut self, other: Self) -> Option<A> {
        let Self {
            aggregate,
            observed,
            abandoned,
            panics,
        } = other;
        self.observed += observed;
        self.abandoned += abandoned;
        self.panics.extend(panics);
        let mut theirs = aggregate?;
        let Some(mine) = &mut self.aggregate else {
            self.aggregate = Some(theirs);
            return None;
        };
        let merging = AssertUnwindSafe(|| mine.merge(&mut theirs));
        match catch_unwind(merging) {
            Ok(()) => Some(theirs),
            Err(panic) => {
                self.abandon(&*panic);
                None
            }
        }
    }

    #[cold]
    fn abandon(&mut self, panic: &(dyn Any + Send)) {
        self.aggregate = None;
        self.abandoned += mem::take(&mut self.observed);
        self.panics.push(format!(
            "an aggregate panicked on the thread {:?}: {}; what it had of this window is in \
             lost.abandoned",
            thread::current().name().unwrap_or("without a name"),
            said(panic),
        ));
    }
}

/// The aggregate as it was new, unless it panics.
pub(crate) fn cleaned<A: Aggregate>(mut aggregate: A) -> Option<A> {
    let resetting = AssertUnwindSafe(|| aggregate.reset());
    catch_unwind(resetting).ok().map(|()| aggregate)
}

/// What a panic said.
fn said(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("no message")
}

#[cfg(test)]
mod tests {
    use darknet_ebpf::Packet;

    use super::*;
    use crate::aggregate::Seed;

    /// Panics when it has counted so many, or is merged with one that has.
    struct Fragile {
        counted: u64,
        most: u64,
    }

    impl Aggregate for Fragile {
        fn observe(&mut self, _: &Observation) {
            self.counted += 1;
            assert!(self.counted <= self.most, "more than {}", self.most);
        }

        fn merge(&mut self, other: &mut Self) {
            self.counted += other.counted;
            assert!(self.counted <= self.most, "more than {}", self.most);
        }

        fn reset(&mut self) {
            assert!(self.counted < self.most, "too full");
            self.counted = 0;
        }
    }

    fn part(most: u64, packets: usize) -> Part<Fragile> {
        let packet = Observation::new(Packet::MALFORMED, 0, &Seed::fixed(0));
        let mut part = Part::new(Fragile { counted: 0, most });
        for batch in vec![packet; packets].chunks(10) {
            part.observe(batch);
        }
        part
    }

    #[test]
    fn what_a_panic_takes_is_counted_and_the_rest_goes_on() {
        // How many packets the first and the second stand, and get; then what the window has.
        for (name, parts, counted, abandoned, panics) in [
            ("none panics", [(100, 40), (100, 50)], Some(90), 0, 0),
            ("the first does", [(25, 40), (100, 50)], Some(50), 40, 1),
            ("the second does", [(100, 40), (25, 50)], Some(40), 50, 1),
            ("both do", [(25, 40), (25, 50)], None, 90, 2),
            ("merging does", [(60, 40), (60, 50)], None, 90, 1),
        ] {
            let [mut all, other] = parts.map(|(most, packets)| part(most, packets));
            all.merge(other);
            let aggregate = all.aggregate.map(|aggregate| aggregate.counted);
            assert_eq!(aggregate, counted, "{name}");
            assert_eq!(all.observed, counted.unwrap_or(0), "{name}");
            assert_eq!(all.abandoned, abandoned, "{name}");
            assert_eq!(all.panics.len(), panics, "{name}");
            for panic in all.panics {
                assert!(panic.contains(": more than "), "{name}: {panic}");
            }
        }
    }

    #[test]
    fn an_aggregate_that_cannot_be_reset_is_not_used_again() {
        for (counted, used) in [(5, true), (10, false)] {
            let cleaned = cleaned(Fragile { counted, most: 10 });
            assert_eq!(cleaned.is_some(), used, "{counted}");
        }
    }
}
