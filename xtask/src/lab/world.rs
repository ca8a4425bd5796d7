use std::{
    thread,
    time::{Duration, Instant},
};

use super::{
    command::{ethtool, ip, statistics},
    error::Error,
    link::{Link, Passage},
    namespace::{Namespace, remove_leftovers},
    redirect::{Program, Redirect},
    sink::Mode,
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
    /// Taken apart before the namespaces that it is in.
    link: Link,
    telescope: Namespace,
    sender: Namespace,
    /// The sender's end, by index.
    wire: u32,
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
        let mut world = Self::empty(queues)?;
        world.link()?;
        Ok(world)
    }

    /// Makes a world of two virtio-net cards of this host that see each other, each with one queue:
    /// the telescope's, and the sender's. When it is dropped, they come back with the names that
    /// they have in it.
    ///
    /// # Errors
    ///
    /// As [`World::new`].
    pub fn of_cards([telescope, sender]: [&str; 2]) -> Result<Self, Error> {
        let mut world = Self::empty(1)?;
        for (side, card, name) in [
            (&world.telescope, telescope, DARK),
            (&world.sender, sender, WIRE),
        ] {
            ip(&["link", "set", card, "name", name, "netns", side.name()])?;
            side.ip(&["link", "set", "lo", "up"])?;
            // Tagged frames of a network that a card was not told of come to those that hear all.
            let quiet = ["arp", "off", "multicast", "off", "promisc", "on", "up"];
            side.ip(&[&["link", "set", name], &quiet[..]].concat())?;
        }
        world.find_wire()?;
        let passing = Redirect::attach_to(&world.sender, WIRE, Mode::Driver, Program::Bare)?;
        world.link = Link::cards(passing);
        Ok(world)
    }

    /// Two namespaces.
    fn empty(queues: u32) -> Result<Self, Error> {
        if !rustix::process::geteuid().is_root() {
            return Err(Error::Privilege);
        }
        remove_leftovers()?;
        Ok(Self {
            queues,
            telescope: Namespace::new("telescope")?,
            sender: Namespace::new("sender")?,
            wire: 0,
            link: Link::Pair,
        })
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
        self.find_wire()
    }

    fn find_wire(&mut self) -> Result<(), Error> {
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

    /// What went through a queue so far.
    pub(super) fn passage(&self, queue: u32) -> Result<Passage, Error> {
        // The receiving end first, so that what is on its way is never negative.
        let arrived = self.telescope.enter(|| statistics(DARK))??;
        let taken = self.sender.enter(|| statistics(WIRE))??;
        self.link.passage(&arrived, &taken, queue)
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
            && matches!(self.link, Link::Pair)
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
