use std::collections::BTreeMap;

use super::{error::Error, redirect::Redirect};

/// What the two ends of a world are.
#[derive(Debug)]
pub(super) enum Link {
    /// A virtual pair (veth), made for it.
    Pair,
    /// Two virtio-net cards. At the sender's end is a program that lets pass what comes: without
    /// one the driver sends no redirected frames (`virtnet_xdp_xmit`, drivers/net/virtio_net.c).
    Cards { _passing: Box<Redirect> },
}

/// Frames that went through one queue of the link since it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Passage {
    /// Redirected frames that the driver took.
    pub(super) taken: u64,
    /// Frames that the telescope's end has worked off.
    pub(super) arrived: u64,
}

impl Link {
    /// Cards, with the program at the sender's end.
    pub(super) fn cards(passing: Redirect) -> Self {
        Self::Cards {
            _passing: Box::new(passing),
        }
    }

    /// Reads a queue's counters among those of the drivers at the receiving and at the sending end.
    /// Taken, not refused, is what is read: frames that a link which is down did not take are in no
    /// other counter.
    pub(super) fn passage(
        &self,
        arrived: &BTreeMap<String, u64>,
        taken: &BTreeMap<String, u64>,
        queue: u32,
    ) -> Result<Passage, Error> {
        let read = |statistics: &BTreeMap<String, u64>, name: String| {
            statistics.get(&name).copied().ok_or(Error::Command {
                command: "ethtool -S".into(),
                message: format!("no {name}; is this a veth of Linux 5.9 or a virtio_net of 6.11?"),
            })
        };
        Ok(match self {
            Self::Pair => Passage {
                arrived: read(arrived, format!("rx_queue_{queue}_xdp_packets"))?,
                taken: read(taken, format!("tx_queue_{queue}_xdp_xmit"))?,
            },
            Self::Cards { .. } => {
                let tried = read(taken, format!("tx{queue}_xdp_tx"))?;
                let refused = read(taken, format!("tx{queue}_xdp_tx_drops"))?;
                Passage {
                    arrived: read(arrived, format!("rx{queue}_xdp_packets"))?,
                    taken: tried.saturating_sub(refused),
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pairs_passage_is_read_from_both_ends_and_a_missing_counter_is_named() {
        let statistics = |name: &str, value| BTreeMap::from([(name.to_owned(), value)]);
        let arrived = statistics("rx_queue_1_xdp_packets", 7);
        let taken = statistics("tx_queue_1_xdp_xmit", 9);
        let passage = Link::Pair.passage(&arrived, &taken, 1).expect("counters");
        assert_eq!((passage.arrived, passage.taken), (7, 9));
        let error = Link::Pair.passage(&arrived, &taken, 0).expect_err("none");
        assert!(
            error.to_string().contains("no rx_queue_0_xdp_packets"),
            "{error}"
        );
    }
}
