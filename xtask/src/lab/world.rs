use std::{
    thread,
    time::{Duration, Instant},
};

use super::{
    command::{ethtool, statistics},
    error::Error,
    namespace::{Namespace, remove_leftovers},
};

/// The telescope's interface, in its namespace.
const DARK: &str = "dark0";
/// The sender's, in the other.
const WIRE: &str = "wire0";

/// The addresses that scenarios write into their frames, so that a kernel which gets a frame
/// takes it for its own: those of `scenario::header`.
const TELESCOPE: &str = "02:00:00:00:00:02";
const ROUTER: &str = "02:00:00:00:00:01";

/// More than the lab was tried with; the driver's own limit is 4,096.
const MOST_QUEUES: u32 = 64;

/// Two network namespaces and a link between them: the telescope's, and the sender's. Dropping it
/// removes both, whatever happened in them.
///
/// The link's two ends are up, know neither ARP nor IPv6, and have no addresses; give them some
/// with [`Namespace::ip`] if a test needs them.
#[derive(Debug)]
pub struct World {
    queues: u32,
    telescope: Namespace,
    sender: Namespace,
    /// The sender's end, by index.
    wire: u32,
}

/// Frames that went through one queue of the link since it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Passage {
    /// Redirected frames that the driver took.
    pub(super) taken: u64,
    /// Frames that the telescope's end has worked off.
    pub(super) arrived: u64,
}

impl World {
    /// Makes a world whose link has so many queues, for receiving and for sending, each way. What
    /// killed processes left behind is removed first.
    ///
    /// # Errors
    ///
    /// Without root, `ip` or `ethtool`; or what they say.
    pub fn new(queues: u32) -> Result<Self, Error> {
        if !(1..=MOST_QUEUES).contains(&queues) {
            return Err(Error::Queues {
                queues,
                most: MOST_QUEUES,
            });
        }
        if !rustix::process::geteuid().is_root() {
            return Err(Error::Privilege);
        }
        remove_leftovers()?;
        let mut world = Self {
            queues,
            telescope: Namespace::new("telescope")?,
            sender: Namespace::new("sender")?,
            wire: 0,
        };
        world.link()?;
        Ok(world)
    }

    /// Makes the link and brings it up.
    fn link(&mut self) -> Result<(), Error> {
        let queues = &self.queues.to_string();
        let telescope = self.telescope.name();
        #[rustfmt::skip]
        self.sender.ip(&[
            "link", "add", WIRE, "address", ROUTER, "numtxqueues", queues, "numrxqueues", queues,
            "type", "veth",
            "peer", "name", DARK, "address", TELESCOPE, "numtxqueues", queues, "numrxqueues", queues,
            "netns", telescope,
        ])?;
        for (side, interface) in [(&self.telescope, DARK), (&self.sender, WIRE)] {
            side.enter(|| {
                ethtool(&["-L", interface, "rx", queues, "tx", queues])?;
                // With it the driver polls its queues as a network card's does, without it frames
                // that are redirected to an end without an XDP program vanish.
                ethtool(&["-K", interface, "gro", "on"])
            })??;
            side.ip(&["link", "set", "lo", "up"])?;
            let quiet = ["arp", "off", "multicast", "off", "up"];
            side.ip(&[&["link", "set", interface], &quiet[..]].concat())?;
        }
        let action = format!("the index of {WIRE}");
        let index = self.sender.enter(|| interface_index(WIRE))?;
        self.wire = index.map_err(Error::system(action))?;
        Ok(())
    }

    /// Where the telescope lives.
    pub const fn telescope(&self) -> &Namespace {
        &self.telescope
    }

    /// Where traffic comes from.
    pub const fn sender(&self) -> &Namespace {
        &self.sender
    }

    /// The interface that looks at dark space, in [`World::telescope`].
    pub const fn interface(&self) -> &'static str {
        DARK
    }

    /// The interface that sends, in [`World::sender`].
    pub const fn sender_interface(&self) -> &'static str {
        WIRE
    }

    /// Receive queues of the telescope's interface.
    pub const fn queues(&self) -> u32 {
        self.queues
    }

    pub(super) const fn wire(&self) -> u32 {
        self.wire
    }

    /// The queue by which frames arrive that a CPU sends (`veth_select_rxq`, drivers/net/veth.c).
    pub const fn queue_of(&self, cpu: usize) -> u32 {
        (cpu % self.queues as usize) as u32
    }

    /// Reads the driver's counters of a queue at both ends. Taken, not refused, is what is read:
    /// frames that a link which is down did not take are in no other counter.
    pub(super) fn passage(&self, queue: u32) -> Result<Passage, Error> {
        let read = |side: &Namespace, interface, name: String| {
            let statistics = side.enter(|| statistics(interface))??;
            statistics.get(&name).copied().ok_or(Error::Command {
                command: format!("ethtool -S {interface}"),
                message: format!("no {name}; is this a veth of Linux 5.9 or later?"),
            })
        };
        // The receiving end first, so that what is on its way is never negative.
        let arrived = format!("rx_queue_{queue}_xdp_packets");
        let arrived = read(&self.telescope, DARK, arrived)?;
        let taken = format!("tx_queue_{queue}_xdp_xmit");
        let taken = read(&self.sender, WIRE, taken)?;
        Ok(Passage { taken, arrived })
    }

    /// Waits until all that was taken since `before` has arrived, for a second at most.
    pub(super) fn settle(&self, queue: u32, before: Passage) -> Result<Passage, Error> {
        let deadline = Instant::now() + Duration::from_secs(1);
        loop {
            let now = self.passage(queue)?;
            let on_the_way = now.taken - before.taken > now.arrived - before.arrived;
            if !on_the_way || Instant::now() > deadline {
                return Ok(now);
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // Deleting a namespace that something still uses leaves its interfaces alive.
        if self.wire != 0
            && let Err(error) = self.sender.ip(&["link", "delete", WIRE])
        {
            eprintln!("warning: {error}");
        }
    }
}

/// The index of an interface in the namespace of the thread that calls.
fn interface_index(name: &str) -> std::io::Result<u32> {
    let socket = rustix::net::socket(
        rustix::net::AddressFamily::INET,
        rustix::net::SocketType::DGRAM,
        None,
    )?;
    Ok(rustix::net::netdevice::name_to_index(&socket, name)?)
}
