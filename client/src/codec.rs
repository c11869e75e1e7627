//! How a typed value becomes the bytes of a field, and comes back.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// How typed values are written. What one application writes another language reads with the same
/// codec; a store's codec should not change while its sessions live.
///
/// Counters ([`incr`](crate::Session::incr)) are decimal text in every codec, because the server
/// itself counts. In JSON a counter is also a number; with the others read it by
/// [`Fields::counter`](crate::Fields::counter).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Codec {
    /// JSON text: every language reads it, and so does a person with redis-cli.
    #[default]
    Json,
    /// MessagePack with field names: smaller, and keeps bytes as bytes. Needs the feature
    /// `messagepack`.
    #[cfg(feature = "messagepack")]
    MessagePack,
    /// CBOR (RFC 8949): as MessagePack, standardised. Needs the feature `cbor`.
    #[cfg(feature = "cbor")]
    Cbor,
}

impl Codec {
    pub(crate) fn encode<T: Serialize + ?Sized>(self, value: &T) -> Result<Vec<u8>, String> {
        match self {
            Codec::Json => serde_json::to_vec(value).map_err(|e| e.to_string()),
            #[cfg(feature = "messagepack")]
            Codec::MessagePack => rmp_serde::to_vec_named(value).map_err(|e| e.to_string()),
            #[cfg(feature = "cbor")]
            Codec::Cbor => {
                let mut bytes = Vec::new();
                ciborium::into_writer(value, &mut bytes).map_err(|e| e.to_string())?;
                Ok(bytes)
            }
        }
    }

    /// The value in the whole of these bytes; what is left over is an error in every codec.
    pub(crate) fn decode<T: DeserializeOwned>(self, bytes: &[u8]) -> Result<T, String> {
        match self {
            Codec::Json => serde_json::from_slice(bytes).map_err(|e| e.to_string()),
            #[cfg(feature = "messagepack")]
            Codec::MessagePack => {
                let mut rest = bytes;
                let value = rmp_serde::from_read(&mut rest).map_err(|e| e.to_string())?;
                nothing_left(rest).map(|()| value)
            }
            #[cfg(feature = "cbor")]
            Codec::Cbor => {
                let mut rest = bytes;
                let value = ciborium::from_reader(&mut rest).map_err(|e| e.to_string())?;
                nothing_left(rest).map(|()| value)
            }
        }
    }
}

#[cfg(any(feature = "messagepack", feature = "cbor"))]
fn nothing_left(rest: &[u8]) -> Result<(), String> {
    match rest.len() {
        0 => Ok(()),
        left => Err(format!("{left} bytes after the value")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn codecs() -> Vec<Codec> {
        vec![
            Codec::Json,
            #[cfg(feature = "messagepack")]
            Codec::MessagePack,
            #[cfg(feature = "cbor")]
            Codec::Cbor,
        ]
    }

    #[test]
    fn every_codec_returns_what_it_was_given() {
        let value =
            BTreeMap::from([("a".to_owned(), vec![Some(1), None]), ("ü".to_owned(), vec![])]);
        for codec in codecs() {
            let bytes = codec.encode(&value).expect("it can be written");
            assert_eq!(
                codec.decode::<BTreeMap<String, Vec<Option<i32>>>>(&bytes).as_ref(),
                Ok(&value)
            );
            assert!(codec.decode::<String>(&bytes).is_err(), "{codec:?} is typed");
        }
    }

    #[test]
    fn no_codec_reads_half_a_value_or_one_and_a_half() {
        for codec in codecs() {
            let bytes = codec.encode(&["one", "two"]).expect("it can be written");
            assert!(codec.decode::<Vec<String>>(&bytes[..bytes.len() - 1]).is_err(), "{codec:?}");
            let twice = [&bytes[..], &bytes[..]].concat();
            assert!(codec.decode::<Vec<String>>(&twice).is_err(), "{codec:?}");
            assert!(codec.decode::<Vec<String>>(b"").is_err(), "{codec:?}");
        }
    }
}
