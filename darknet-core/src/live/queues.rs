use super::{Packets, Watch};
use crate::{
    Error,
    xsk::{Interface, Options, Queue, ZeroCopy},
};

/// What a watch wanted, as far as it can be had.
pub(super) struct Opened {
    /// What is delivered: not [`Packets::Auto`].
    pub(super) packets: Packets,
    pub(super) queues: Vec<Queue>,
    /// Why it is not frames, where that was left to the host.
    pub(super) refused: Option<Error>,
}

impl Opened {
    const fn without(packets: Packets, refused: Option<Error>) -> Self {
        Self {
            packets,
            queues: Vec::new(),
            refused,
        }
    }
}

/// Opens the sockets that a watch wants, one on each queue of its interface, and says what is
/// delivered: where it is left to the host, frames if every queue takes them without a copy, and
/// header records if not, which cost less than a copied frame (`benches/README.md`), unless that they are
/// not copied is required.
pub(super) fn open(watch: &Watch) -> Result<Opened, Error> {
    let Watch {
        interface,
        packets,
        sockets,
        ..
    } = watch;
    match packets {
        Packets::Headers | Packets::None => Ok(Opened::without(*packets, None)),
        Packets::Frames => Ok(Opened {
            queues: further(interface, sockets, 0)?,
            ..Opened::without(*packets, None)
        }),
        // What would be copied is better taken as records.
        Packets::Auto if sockets.zero_copy == ZeroCopy::Never => {
            Ok(Opened::without(Packets::Headers, None))
        }
        Packets::Auto => {
            let direct = Options {
                zero_copy: ZeroCopy::Require,
                ..sockets.clone()
            };
            match further(interface, &direct, 0) {
                Ok(queues) => Ok(Opened {
                    queues,
                    ..Opened::without(Packets::Frames, None)
                }),
                Err(error) if sockets.zero_copy == ZeroCopy::Require => Err(error),
                // Whatever it is that keeps frames from coming.
                Err(error) => Ok(Opened::without(Packets::Headers, Some(error))),
            }
        }
    }
}

/// Opens a socket on each queue of an interface, from a number on. Attaching a program may change
/// how many there are.
pub(super) fn further(interface: &str, options: &Options, from: u32) -> Result<Vec<Queue>, Error> {
    let queues = Interface::find(interface)?.queues.unwrap_or(1);
    let open = |queue| {
        let options = Options {
            queue,
            ..options.clone()
        };
        Queue::open(interface, &options)
    };
    (from..queues).map(open).collect()
}
