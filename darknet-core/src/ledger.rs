use std::fmt;

use darknet_ebpf::Cell;
use serde::{Serialize, Serializer, ser::SerializeMap};

/// Where every packet of a window ended, in packets.
///
/// Over a closed window, [`check`](Self::check) holds these equations:
///
/// ```text
/// received  = passed + filtered + counted
/// counted   = delivered + sampled_out + not_requested + every lost stage + in_flight
/// delivered = observed
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// Packets that came in, counted on entering.
    pub received: u64,
    /// Packets that are for a dark prefix and from no filtered source, counted when that is known.
    pub counted: u64,
    /// Packets by the cell in which they ended, counted on leaving.
    cells: [u64; Cell::ALL.len()],
    /// Packets that aggregators have seen, counted by the workers.
    pub observed: u64,
    /// Packets of a window that had closed, counted in the oldest open one.
    pub late: u64,
    /// Packets whose frame is shorter than their IP header says: cut by a driver, or by whoever
    /// sent them. They are observed.
    pub cut: u64,
    /// Frames that came without what the kernel program had found, as their driver has no room for
    /// it: they were walked again, and are observed. Those of the moments when a window ends may be
    /// in its hosts and sources, or in the next one's.
    pub walked: u64,
    /// Packet records without a time, counted at the time of the record before.
    pub untimed: u64,
    /// Packets that the network interface reports as dropped before they were received.
    pub missed_nic: u64,
}

/// A ledger that does not add up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// The total, and what it should be the sum of.
    pub equation: &'static str,
    /// The total.
    pub left: u64,
    /// The sum.
    pub right: u64,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            equation,
            left,
            right,
        } = self;
        write!(out, "{equation}: {left} against {right}")
    }
}

impl std::error::Error for Mismatch {}

impl Ledger {
    /// Packets in a cell.
    pub fn cell(&self, cell: Cell) -> u64 {
        self.cells[cell as usize]
    }

    /// Adds a packet that ended in `cell`.
    pub(crate) fn end(&mut self, cell: Cell) {
        self.cells[cell as usize] += 1;
    }

    /// Adds packets that ended in `cell`.
    #[cfg(all(feature = "live", target_os = "linux"))]
    pub(crate) fn add(&mut self, cell: Cell, packets: u64) {
        self.cells[cell as usize] += packets;
    }

    /// Of what was delivered, `packets` were lost on the way, in `cell`.
    pub(crate) fn lose(&mut self, cell: Cell, packets: u64) {
        let delivered = &mut self.cells[Cell::Delivered as usize];
        let lost = packets.min(*delivered);
        *delivered -= lost;
        self.cells[cell as usize] += lost;
    }

    /// Adds another window's.
    pub fn merge(&mut self, other: &Self) {
        let Self {
            received,
            counted,
            cells,
            observed,
            late,
            cut,
            walked,
            untimed,
            missed_nic,
        } = self;
        *received += other.received;
        *counted += other.counted;
        for (mine, theirs) in cells.iter_mut().zip(other.cells) {
            *mine += theirs;
        }
        *observed += other.observed;
        *late += other.late;
        *cut += other.cut;
        *walked += other.walked;
        *untimed += other.untimed;
        *missed_nic += other.missed_nic;
    }

    /// Packets counted but lost on their way to a worker, all stages together.
    pub fn lost(&self) -> u64 {
        self.sum(Cell::is_lost)
    }

    /// Packets counted that have ended nowhere yet. 0 in a closed window.
    pub fn in_flight(&self) -> u64 {
        self.counted.saturating_sub(self.sum(Cell::is_counted))
    }

    /// The share of the counted packets that reached a worker; `None` when none was counted.
    #[expect(clippy::cast_precision_loss, reason = "a ratio for people")]
    pub fn coverage(&self) -> Option<f64> {
        (self.counted > 0).then(|| self.cell(Cell::Delivered) as f64 / self.counted as f64)
    }

    /// Checks the equations of a closed window.
    ///
    /// # Errors
    ///
    /// The first equation that does not hold.
    pub fn check(&self) -> Result<(), Mismatch> {
        let equations = [
            (
                "received = passed + filtered + counted",
                self.received,
                self.cell(Cell::Passed) + self.cell(Cell::Filtered) + self.counted,
            ),
            (
                "counted = delivered + sampled_out + not_requested + lost",
                self.counted,
                self.sum(Cell::is_counted),
            ),
            (
                "delivered = observed",
                self.cell(Cell::Delivered),
                self.observed,
            ),
        ];
        for (equation, left, right) in equations {
            if left != right {
                return Err(Mismatch {
                    equation,
                    left,
                    right,
                });
            }
        }
        Ok(())
    }

    fn sum(&self, which: fn(Cell) -> bool) -> u64 {
        let cells = Cell::ALL.into_iter().filter(|&cell| which(cell));
        cells.map(|cell| self.cell(cell)).sum()
    }
}

impl Serialize for Ledger {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self {
            received,
            counted,
            cells: _,
            observed,
            late,
            cut,
            walked,
            untimed,
            missed_nic,
        } = self;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("received", received)?;
        for cell in [Cell::Passed, Cell::Filtered] {
            map.serialize_entry(cell.name(), &self.cell(cell))?;
        }
        map.serialize_entry("counted", counted)?;
        map.serialize_entry(Cell::Delivered.name(), &self.cell(Cell::Delivered))?;
        map.serialize_entry("observed", observed)?;
        for cell in [Cell::SampledOut, Cell::NotRequested] {
            map.serialize_entry(cell.name(), &self.cell(cell))?;
        }
        map.serialize_entry("in_flight", &self.in_flight())?;
        map.serialize_entry("late", late)?;
        map.serialize_entry("cut", cut)?;
        map.serialize_entry("walked", walked)?;
        map.serialize_entry("untimed", untimed)?;
        map.serialize_entry("lost", &Lost(self))?;
        map.serialize_entry("missed", &Missed { nic: *missed_nic })?;
        map.end()
    }
}

struct Lost<'a>(&'a Ledger);

impl Serialize for Lost<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let lost = Cell::ALL.into_iter().filter(|cell| cell.is_lost());
        serializer.collect_map(lost.map(|cell| (cell.name(), self.0.cell(cell))))
    }
}

#[derive(Serialize)]
struct Missed {
    nic: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn balanced() -> Ledger {
        let mut ledger = Ledger {
            received: 5,
            counted: 3,
            observed: 1,
            ..Ledger::default()
        };
        for cell in [
            Cell::Passed,
            Cell::Filtered,
            Cell::Delivered,
            Cell::SampledOut,
            Cell::RingFull,
        ] {
            ledger.end(cell);
        }
        ledger
    }

    #[test]
    fn a_balanced_ledger_passes() {
        assert_eq!(balanced().check(), Ok(()));
        assert_eq!(Ledger::default().check(), Ok(()));
    }

    #[test]
    fn one_packet_off_anywhere_is_found() {
        for cell in Cell::ALL {
            let mut ledger = balanced();
            ledger.end(cell);
            assert!(ledger.check().is_err(), "one more in {}", cell.name());
        }
        for (received, counted, observed) in [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0)] {
            let mut ledger = balanced();
            ledger.received += received;
            ledger.counted += counted;
            ledger.observed += observed;
            assert!(ledger.check().is_err(), "{received} {counted} {observed}");
        }
    }

    #[test]
    fn json_lists_every_cell_also_when_zero() {
        let json = serde_json::to_string(&Ledger::default()).expect("plain numbers");
        for cell in Cell::ALL {
            assert!(json.contains(&format!("\"{}\":0", cell.name())), "{json}");
        }
    }
}
