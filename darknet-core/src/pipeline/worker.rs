use crossbeam::{
    channel::{Receiver, Sender},
    queue::ArrayQueue,
};

use super::{Bank, Batch, Order, Report};
use crate::{aggregate::Aggregate, part::Part};

/// What a worker has of a bank.
struct Open<A> {
    bank: Bank,
    part: Part<A>,
}

/// Does what it is told until nobody tells it anything.
pub(super) fn work<A: Aggregate>(
    orders: &Receiver<Order>,
    reports: &Sender<Report<A>>,
    returns: &Sender<Batch>,
    clean: &ArrayQueue<A>,
    make: &impl Fn() -> A,
) {
    // At most two windows are open.
    let mut open: Vec<Open<A>> = Vec::with_capacity(2);
    for order in orders {
        let closes = matches!(order, Order::Close { .. });
        let (Order::Observe { bank, mut batch } | Order::Close { bank, mut batch }) = order;
        let at = open.iter().position(|open| open.bank == bank);
        let at = at.unwrap_or_else(|| {
            open.push(Open {
                bank,
                part: Part::new(clean.pop().unwrap_or_else(make)),
            });
            open.len() - 1
        });
        let part = &mut open[at].part;
        for (observation, payload) in batch.payloads() {
            part.observe_payload(observation, &payload);
        }
        part.observe(&batch.packets);
        batch.clear();
        // Whether it is used again or freed does not matter.
        let _ = returns.try_send(batch);
        if closes {
            let Open { bank, part } = open.swap_remove(at);
            if reports.send(Report::Part { bank, part }).is_err() {
                return;
            }
        }
    }
}
