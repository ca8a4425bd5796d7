//! Aggregates that are made of others.

use darknet_ebpf::Payload;

use super::{Aggregate, Observation};

/// Makes a type with these fields an aggregate: each counts all packets, in this order.
macro_rules! joint {
    ($type:ty, { $first:ident $(, $field:ident)* $(,)? }) => {
        impl Aggregate for $type {
            #[inline]
            fn observe(&mut self, observation: &Observation) {
                self.observe_batch(std::slice::from_ref(observation));
            }

            #[inline]
            fn observe_batch(&mut self, batch: &[Observation]) {
                let Self { $first $(, $field)* } = self;
                $first.observe_batch(batch);
                $($field.observe_batch(batch);)*
            }

            fn payload_wanted(&self) -> usize {
                let Self { $first $(, $field)* } = self;
                $first.payload_wanted()$(.max($field.payload_wanted()))*
            }

            #[inline]
            fn observe_payload(&mut self, observation: &Observation, payload: &Payload<'_>) {
                let Self { $first $(, $field)* } = self;
                $first.observe_payload(observation, payload);
                $($field.observe_payload(observation, payload);)*
            }

            fn memory(&self) -> Vec<(&'static str, usize)> {
                let Self { $first $(, $field)* } = self;
                [$first.memory()$(, $field.memory())*].concat()
            }

            fn merge(&mut self, other: &mut Self) {
                let Self { $first $(, $field)* } = self;
                $first.merge(&mut other.$first);
                $($field.merge(&mut other.$field);)*
            }

            fn reset(&mut self) {
                let Self { $first $(, $field)* } = self;
                $first.reset();
                $($field.reset();)*
            }

            fn publish(&self, live: &mut Self) {
                let Self { $first $(, $field)* } = self;
                $first.publish(&mut live.$first);
                $($field.publish(&mut live.$field);)*
            }
        }
    };
}

pub(super) use joint;

impl<A: Aggregate, B: Aggregate> Aggregate for (A, B) {
    #[inline]
    fn observe(&mut self, observation: &Observation) {
        self.0.observe(observation);
        self.1.observe(observation);
    }

    #[inline]
    fn observe_batch(&mut self, batch: &[Observation]) {
        self.0.observe_batch(batch);
        self.1.observe_batch(batch);
    }

    fn payload_wanted(&self) -> usize {
        self.0.payload_wanted().max(self.1.payload_wanted())
    }

    #[inline]
    fn observe_payload(&mut self, observation: &Observation, payload: &Payload<'_>) {
        self.0.observe_payload(observation, payload);
        self.1.observe_payload(observation, payload);
    }

    fn memory(&self) -> Vec<(&'static str, usize)> {
        [self.0.memory(), self.1.memory()].concat()
    }

    fn merge(&mut self, other: &mut Self) {
        self.0.merge(&mut other.0);
        self.1.merge(&mut other.1);
    }

    fn reset(&mut self) {
        self.0.reset();
        self.1.reset();
    }

    fn publish(&self, live: &mut Self) {
        self.0.publish(&mut live.0);
        self.1.publish(&mut live.1);
    }
}

/// One that is left out counts nothing, and is added to nothing.
impl<A: Aggregate> Aggregate for Option<A> {
    #[inline]
    fn observe(&mut self, observation: &Observation) {
        if let Some(aggregate) = self {
            aggregate.observe(observation);
        }
    }

    #[inline]
    fn observe_batch(&mut self, batch: &[Observation]) {
        if let Some(aggregate) = self {
            aggregate.observe_batch(batch);
        }
    }

    fn payload_wanted(&self) -> usize {
        self.as_ref().map_or(0, A::payload_wanted)
    }

    #[inline]
    fn observe_payload(&mut self, observation: &Observation, payload: &Payload<'_>) {
        if let Some(aggregate) = self {
            aggregate.observe_payload(observation, payload);
        }
    }

    fn memory(&self) -> Vec<(&'static str, usize)> {
        self.as_ref().map(A::memory).unwrap_or_default()
    }

    fn merge(&mut self, other: &mut Self) {
        if let (Some(mine), Some(theirs)) = (self, other) {
            mine.merge(theirs);
        }
    }

    fn reset(&mut self) {
        if let Some(aggregate) = self {
            aggregate.reset();
        }
    }

    fn publish(&self, live: &mut Self) {
        if let (Some(mine), Some(live)) = (self, live) {
            mine.publish(live);
        }
    }
}
