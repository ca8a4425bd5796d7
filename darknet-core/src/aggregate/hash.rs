use std::hash::BuildHasher;

use darknet_ebpf::{Packet, Version};
use foldhash::{SharedSeed, quality::SeedableRandomState};

use crate::Error;

/// Reads the number of a [fixed](Seed::fixed) seed: decimal, or hexadecimal after `0x`.
///
/// # Errors
///
/// Text that is none, or a number of more than 64 bits. The error does not repeat what was given:
/// it may be most of a secret.
pub fn parse_seed(text: &str) -> Result<u64, Error> {
    let digits = |text: &str| text.starts_with(|digit: char| digit.is_ascii_hexdigit());
    let number = match text.strip_prefix("0x") {
        Some(hexadecimal) if digits(hexadecimal) => u64::from_str_radix(hexadecimal, 16).ok(),
        None if digits(text) => text.parse().ok(),
        _ => None,
    };
    number.ok_or(Error::Setting {
        name: "seed",
        value: "something else".into(),
        rule: "a number of 64 bits, as 7 or \"0x1f3a\"",
    })
}

/// The secret that hashes depend on, drawn anew for each telescope: sources are chosen by
/// attackers, who must not be able to choose where in a table they land.
#[derive(Clone, Debug)]
pub struct Seed(SeedableRandomState);

impl Seed {
    /// A new secret.
    pub fn random() -> Self {
        Self(SeedableRandomState::random())
    }

    /// The secret of this number: what is counted under it is the same in each run. Who knows the
    /// number may choose where in a table sources land.
    pub fn fixed(number: u64) -> Self {
        let shared = SharedSeed::global_fixed();
        Self(SeedableRandomState::with_seed(number, shared))
    }

    /// The hash of a packet's source.
    #[inline]
    pub(crate) fn source(&self, packet: &Packet) -> u64 {
        match packet.version {
            Version::V4 => self.0.hash_one(packet.source.v4()),
            Version::V6 => self.0.hash_one(packet.source.v6()),
        }
    }

    /// The hash of anything, as [`Distinct`](super::Distinct) takes it.
    #[inline]
    pub fn hash(&self, key: impl std::hash::Hash) -> u64 {
        self.key(key)
    }

    /// The hash of any key.
    #[inline]
    pub(crate) fn key(&self, key: impl std::hash::Hash) -> u64 {
        self.0.hash_one(key)
    }
}
