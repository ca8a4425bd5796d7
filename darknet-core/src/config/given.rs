//! Values as a file gives them.

use std::{fmt, marker::PhantomData, time::Duration};

use ipnet::IpNet;
use jiff::SignedDuration;
use serde::{
    Deserialize, Deserializer,
    de::{self, Error as _, MapAccess, Visitor, value::MapAccessDeserializer},
};

use crate::{
    live::Packets,
    parse_prefix,
    xsk::{Fragments, ZeroCopy},
};

/// A prefix as text. It is parsed where it is visited, so that an error is about this one of many.
pub(crate) struct Prefix(pub(crate) IpNet);

impl<'de> Deserialize<'de> for Prefix {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl Visitor<'_> for Text {
            type Value = Prefix;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a prefix as text")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Prefix, E> {
                parse_prefix(text).map(Prefix).map_err(E::custom)
            }
        }

        deserializer.deserialize_str(Text)
    }
}

pub(super) fn prefixes<'de, D: Deserializer<'de>>(given: D) -> Result<Vec<IpNet>, D::Error> {
    let prefixes = Vec::<Prefix>::deserialize(given)?;
    Ok(prefixes.into_iter().map(|Prefix(prefix)| prefix).collect())
}

pub(super) fn window<'de, D: Deserializer<'de>>(given: D) -> Result<Duration, D::Error> {
    let window = SignedDuration::deserialize(given)?;
    let window = window.try_into();
    window.map_err(|_| D::Error::custom("a window cannot be negative"))
}

/// A table with names: derived types would also take a list of their values.
pub(super) fn table<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    given: D,
) -> Result<T, D::Error> {
    struct Table<T>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>> Visitor<'de> for Table<T> {
        type Value = T;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("a table")
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
            T::deserialize(MapAccessDeserializer::new(map))
        }
    }

    given.deserialize_map(Table(PhantomData))
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum How {
    Auto,
    Frames,
    Headers,
    None,
}

pub(super) fn packets<'de, D: Deserializer<'de>>(given: D) -> Result<Packets, D::Error> {
    Ok(match How::deserialize(given)? {
        How::Auto => Packets::Auto,
        How::Frames => Packets::Frames,
        How::Headers => Packets::Headers,
        How::None => Packets::None,
    })
}

/// [`ZeroCopy`], by its names in a file.
#[derive(Deserialize)]
#[serde(remote = "ZeroCopy", rename_all = "lowercase")]
pub(super) enum ZeroCopyName {
    Prefer,
    Never,
    Require,
}

/// [`Fragments`], by its names in a file.
#[derive(Deserialize)]
#[serde(remote = "Fragments", rename_all = "lowercase")]
pub(super) enum FragmentsName {
    Assemble,
    Truncate,
    Refuse,
}
