//! Values as a file gives them.

use std::{fmt, marker::PhantomData, time::Duration};

use ipnet::IpNet;
use jiff::{SignedDuration, tz::TimeZone};
use serde::{
    Deserialize, Deserializer,
    de::{self, Error as _, MapAccess, Visitor, value::MapAccessDeserializer},
};

use crate::{
    aggregate::parse_seed,
    live::Packets,
    parse_prefix,
    window::{Length, parse_zone},
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

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Lengths {
    Hours,
    Days,
}

pub(super) fn rollup<'de, D: Deserializer<'de>>(given: D) -> Result<Vec<Length>, D::Error> {
    let lengths = Vec::<Lengths>::deserialize(given)?.into_iter();
    let lengths = lengths.map(|length| match length {
        Lengths::Hours => Length::Hour,
        Lengths::Days => Length::Day,
    });
    Ok(lengths.collect())
}

pub(super) fn zone<'de, D: Deserializer<'de>>(given: D) -> Result<TimeZone, D::Error> {
    parse_zone(&String::deserialize(given)?).map_err(D::Error::custom)
}

/// A number, or text, as TOML has numbers of 63 bits.
pub(super) fn seed<'de, D: Deserializer<'de>>(given: D) -> Result<Option<u64>, D::Error> {
    struct Number;

    impl Visitor<'_> for Number {
        type Value = u64;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("a number or text")
        }

        fn visit_i64<E: de::Error>(self, number: i64) -> Result<u64, E> {
            number.try_into().map_err(|_| E::custom("it is negative"))
        }

        fn visit_u64<E: de::Error>(self, number: u64) -> Result<u64, E> {
            Ok(number)
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<u64, E> {
            parse_seed(text).map_err(E::custom)
        }
    }

    given.deserialize_any(Number).map(Some)
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
