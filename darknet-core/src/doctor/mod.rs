//! What a host, an interface and its driver give to a telescope, told before anything is attached.
//!
//! [`examine`] is the front door. It changes nothing, and needs no privilege.

/// What drivers are like.
mod driver;
/// The kernel, the process and its memory.
mod host;
/// Whether packets arrive, and who else is there.
mod interface;
/// The interface that is looked at.
mod patient;
/// From the card to the program: queues, rings, interrupts, offloads.
mod receive;
/// The questions to the system.
mod system;
#[cfg(test)]
mod tests;
/// The report for people.
mod text;

use serde::Serialize;

use self::{
    patient::{Nature, Patient},
    system::{Host, System},
};

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// A telescope can't run, or would see nothing.
    Stops,
    /// It runs, and would see more, or more truly, after the advice.
    Better,
    /// Nothing is wrong, and it is good to know.
    Note,
    /// As it should be.
    Well,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// What was looked at, in a word or two.
    pub what: &'static str,
    /// What it is like.
    pub is: String,
    /// Why that matters to a telescope.
    pub why: Option<String>,
    /// What to do about it, or look into: commands where there are any.
    pub advice: Vec<String>,
}

impl Finding {
    fn new(severity: Severity, what: &'static str, is: impl Into<String>) -> Self {
        Self {
            severity,
            what,
            is: is.into(),
            why: None,
            advice: Vec::new(),
        }
    }

    fn stops(what: &'static str, is: impl Into<String>) -> Self {
        Self::new(Severity::Stops, what, is)
    }

    fn better(what: &'static str, is: impl Into<String>) -> Self {
        Self::new(Severity::Better, what, is)
    }

    fn note(what: &'static str, is: impl Into<String>) -> Self {
        Self::new(Severity::Note, what, is)
    }

    fn well(what: &'static str, is: impl Into<String>) -> Self {
        Self::new(Severity::Well, what, is)
    }

    fn because(self, why: impl Into<String>) -> Self {
        Self {
            why: Some(why.into()),
            ..self
        }
    }

    fn so(mut self, advice: impl Into<String>) -> Self {
        self.advice.push(advice.into());
        self
    }
}

/// All that was found; as text it is advice for people, as JSON the schema `darknet.doctor/1`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// The layout of this document.
    pub schema: &'static str,
    /// The interface, as it was named.
    pub interface: String,
    /// Whether nothing keeps a telescope from running.
    pub fit: bool,
    /// What matters most comes first.
    pub findings: Vec<Finding>,
}

/// Looks at an interface of this network namespace, and at this host.
#[must_use]
pub fn examine(interface: &str) -> Report {
    report(interface, &Host)
}

fn report(name: &str, system: &dyn System) -> Report {
    let mut findings = Vec::from(host::needs(system));
    let device = system.device(name);
    // Of an interface that is not there nothing else is to be said.
    match &device {
        Err(error) => findings.push(
            Finding::stops(
                "interface",
                format!("{name:?} can't be asked about: {error}"),
            )
            .because("the kernel answers such questions over netlink"),
        ),
        Ok(None) => findings.push(interface::missing(name, &system.interfaces())),
        Ok(Some(device)) => {
            let patient = Patient::new(system, device);
            findings.extend(interface::findings(&patient));
            findings.extend(driver::findings(&patient));
            if patient.nature != Nature::Loopback {
                findings.extend(receive::findings(&patient));
                findings.extend(host::memory(&patient));
            }
            findings.extend(host::comforts(system));
        }
    }
    // Stable: within a severity the order stays.
    findings.sort_by_key(|finding| finding.severity);
    Report {
        schema: "darknet.doctor/1",
        interface: name.into(),
        fit: findings
            .iter()
            .all(|finding| finding.severity != Severity::Stops),
        findings,
    }
}
