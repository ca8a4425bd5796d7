//! JSON documents of windows: that each adds up, and that those of a telescope's life do together.

use serde_json::Value;

/// A number of a document.
///
/// # Panics
///
/// If it is none.
pub fn number(value: &Value) -> u64 {
    value
        .as_u64()
        .unwrap_or_else(|| panic!("a number: {value}"))
}

/// A cell of a document's ledger.
///
/// # Panics
///
/// If there is no such cell.
pub fn cell(document: &Value, name: &str) -> u64 {
    number(&document["ledger"][name])
}

/// Packets of a port, of all classes, in a document.
///
/// # Panics
///
/// If it has no rows of ports.
pub fn port(document: &Value, port: u16) -> u64 {
    let rows = document["ports"].as_array().expect("rows").iter();
    let row = rows.filter(|row| row["port"] == port);
    row.map(|row| number(&row["packets"])).sum()
}

/// That every packet of a document is in its ledger once.
///
/// # Panics
///
/// If one is not.
pub fn assert_adds_up(document: &Value) {
    let ledger = &document["ledger"];
    let cell = |name: &str| cell(document, name);
    let classes = document["classes"].as_object().expect("classes").values();
    let classes: u64 = classes.map(|class| number(&class["packets"])).sum();
    assert_eq!(
        cell("received"),
        cell("passed") + cell("filtered") + cell("counted"),
        "{ledger}"
    );
    assert_eq!(
        cell("counted"),
        cell("delivered") + cell("sampled_out") + cell("not_requested") + lost(document),
        "{ledger}"
    );
    assert_eq!(cell("delivered"), cell("observed"), "{ledger}");
    assert_eq!(cell("in_flight"), 0, "{ledger}");
    assert_eq!(cell("counted"), classes, "{ledger}");
    assert_eq!(document["faults"], serde_json::json!([]));
}

/// A document without what differs from run to run: times, turns, what tables take, and estimates, which
/// depend on the seed.
///
/// # Panics
///
/// If it has no edges or no profiles.
pub fn timeless(mut document: Value) -> Value {
    let object = document.as_object_mut().expect("an object");
    for key in ["epochs", "timings", "memory"] {
        object.remove(key);
    }
    for edge in ["start", "end"] {
        let edge = object.remove(edge).expect("an edge");
        assert!(edge.is_string(), "{edge}");
    }
    for profile in object["profiles"].as_array_mut().expect("profiles") {
        let columns = profile.as_object_mut().expect("a row");
        columns.retain(|name, _| !["first", "last"].contains(&name.as_str()));
        columns.retain(|name, _| !name.ends_with("_estimate"));
    }
    for row in object["payloads"].as_array_mut().into_iter().flatten() {
        let columns = row.as_object_mut().expect("a row");
        columns.retain(|name, _| !["first", "last"].contains(&name.as_str()));
    }
    document
}

/// Packets of a document that were lost at any stage.
///
/// # Panics
///
/// If it does not say.
pub fn lost(document: &Value) -> u64 {
    let lost = document["ledger"]["lost"].as_object().expect("cells");
    lost.values().map(number).sum()
}

/// The documents of all processes of a telescope, each turn of the kernel in one of them.
#[derive(Debug, Default)]
pub struct Life {
    documents: Vec<Value>,
    replaced: u64,
}

impl Life {
    /// A telescope that has printed nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes what a process has printed. A line that it was killed in does not count.
    ///
    /// # Panics
    ///
    /// If a document has a part of a turn, or does not add up.
    pub fn add(&mut self, printed: &str) {
        for line in printed.split_inclusive('\n') {
            if let Some(line) = line.strip_suffix('\n') {
                self.take(serde_json::from_str(line).expect("a document"));
            }
        }
    }

    fn take(&mut self, document: Value) {
        assert_adds_up(&document);
        let (first, last) = turns(&document);
        assert!(first <= last, "{first} to {last}");
        let [start, end] = ["start", "end"].map(|edge| {
            let edge = document[edge].as_str().expect("an edge");
            edge.parse::<jiff::Timestamp>().expect("a time")
        });
        assert!(
            start < end,
            "from {start} to {end}, turns {first} to {last}"
        );
        // Whoever printed a turn may have been killed before the kernel forgot it: then the next
        // document has it again, whole.
        while let Some(former) = self.documents.pop_if(|former| turns(former).1 >= first) {
            assert!(turns(&former).0 >= first, "a part of {former}");
            let received = |document: &Value| number(&document["ledger"]["received"]);
            assert!(received(&former) <= received(&document), "{former}");
            self.replaced += 1;
        }
        let expected = self.documents.last().map_or(0, |last| turns(last).1 + 1);
        assert_eq!(first, expected, "a turn is missing");
        self.documents.push(document);
    }

    /// The documents, each turn in one.
    pub fn documents(&self) -> &[Value] {
        &self.documents
    }

    /// Documents that a later one took the place of.
    pub const fn replaced(&self) -> u64 {
        self.replaced
    }

    /// A cell of the ledger, over all documents.
    ///
    /// # Panics
    ///
    /// If there is no such cell.
    pub fn sum(&self, cell: &str) -> u64 {
        let documents = self.documents.iter();
        documents.map(|document| self::cell(document, cell)).sum()
    }

    /// What was lost at any stage, over all documents.
    ///
    /// # Panics
    ///
    /// If a document does not say.
    pub fn lost(&self) -> u64 {
        self.documents.iter().map(lost).sum()
    }

    /// What was delivered and whose process was killed, over all documents.
    ///
    /// # Panics
    ///
    /// If a document does not say.
    pub fn abandoned(&self) -> u64 {
        self.lost_at("abandoned")
    }

    /// What was lost at a stage, over all documents.
    ///
    /// # Panics
    ///
    /// If there is no such stage.
    pub fn lost_at(&self, stage: &str) -> u64 {
        let documents = self.documents.iter();
        let lost = documents.map(|document| &document["ledger"]["lost"]);
        lost.map(|lost| number(&lost[stage])).sum()
    }
}

/// The first and the last turn of a document.
fn turns(document: &Value) -> (u64, u64) {
    let turns = &document["epochs"];
    (number(&turns[0]), number(&turns[1]))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn line(first: u64, last: u64, received: u64) -> String {
        let ledger = json!({
            "received": received, "passed": received, "filtered": 0, "counted": 0,
            "delivered": 0, "observed": 0, "sampled_out": 0, "not_requested": 0, "in_flight": 0,
            "lost": { "abandoned": 0 },
        });
        let document = json!({
            "start": "2021-05-01T00:00:00Z", "end": "2021-05-01T00:01:00Z",
            "epochs": [first, last], "faults": [], "classes": {}, "ledger": ledger,
        });
        format!("{document}\n")
    }

    #[test]
    fn a_turn_that_comes_again_counts_once() {
        let mut life = Life::new();
        life.add(&(line(0, 0, 5) + &line(1, 1, 7) + &line(2, 2, 11)));
        life.add(&line(1, 3, 30));
        life.add(&line(4, 4, 1).trim_end().replace("received", "cut"));
        life.add(&line(4, 4, 2));
        assert_eq!((life.sum("received"), life.replaced()), (37, 2));
        assert_eq!(life.documents().len(), 3);
    }

    #[test]
    #[should_panic(expected = "a turn is missing")]
    fn a_turn_that_is_missing_is_found() {
        Life::new().add(&(line(0, 0, 5) + &line(2, 2, 7)));
    }

    #[test]
    #[should_panic(expected = "a part of")]
    fn half_of_a_document_is_not_replaced() {
        let mut life = Life::new();
        life.add(&(line(0, 1, 5) + &line(1, 2, 7)));
    }
}
