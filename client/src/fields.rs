//! The fields of a session as they were read, and what the store keeps beside them.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::de::DeserializeOwned;

use crate::codec::Codec;
use crate::error::Error;
use crate::lifetime::Lifetime;
use crate::reply::Pair;

/// What the store keeps in a session for its own use: all names that begin with `_`.
pub(crate) mod reserved {
    pub(crate) const USER: &str = "_user";
    pub(crate) const CREATED: &str = "_created";
    pub(crate) const ENDS: &str = "_ends";
    /// Before the name of a flash field.
    pub(crate) const FLASH: &str = "_flash:";
    /// Before the name of a field with a deadline, where the server keeps none.
    pub(crate) const UNTIL: &str = "_until:";

    pub(crate) fn is(name: &str) -> bool {
        name.starts_with('_')
    }
}

/// The fields of a session at the moment when they were read.
#[derive(Clone, PartialEq, Eq)]
pub struct Fields {
    codec: Codec,
    values: BTreeMap<String, Vec<u8>>,
}

impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Hidden(&self.values).fmt(f)
    }
}

/// Fields' names and the lengths of their values: those are a visitor's own and belong into no log.
pub(crate) struct Hidden<'f>(pub(crate) &'f BTreeMap<String, Vec<u8>>);

impl fmt::Debug for Hidden<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lengths = self.0.iter().map(|(name, value)| (name, Length(value.len())));
        f.debug_map().entries(lengths).finish()
    }
}

struct Length(usize);

impl fmt::Debug for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{} bytes>", self.0)
    }
}

impl Fields {
    pub(crate) fn new(codec: Codec, values: BTreeMap<String, Vec<u8>>) -> Fields {
        Fields { codec, values }
    }

    /// The value of a field; None if there is no such field.
    ///
    /// # Errors
    ///
    /// [`Error::Decode`] if the field does not hold a `T`.
    pub fn get<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, Error> {
        self.get_raw(name).map(|bytes| decode(self.codec, name, bytes)).transpose()
    }

    /// The bytes of a field, as they are.
    pub fn get_raw(&self, name: &str) -> Option<&[u8]> {
        self.values.get(name).map(Vec::as_slice)
    }

    /// The value of a field that [`incr`](crate::Session::incr) counts.
    ///
    /// # Errors
    ///
    /// [`Error::Decode`] if the field is no decimal number.
    pub fn counter(&self, name: &str) -> Result<Option<i64>, Error> {
        self.get_raw(name).map(|bytes| decode(Codec::Json, name, bytes)).transpose()
    }

    /// The names of all fields, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }

    /// How many fields there are.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }
}

/// Reads a value, naming the field in what goes wrong.
pub(crate) fn decode<T: DeserializeOwned>(
    codec: Codec,
    field: &str,
    bytes: &[u8],
) -> Result<T, Error> {
    let wrong = |cause| Error::Decode { field: field.to_owned(), cause };
    codec.decode(bytes).map_err(wrong)
}

/// Writes a value, naming the field in what goes wrong.
pub(crate) fn encode<T: serde::Serialize + ?Sized>(
    codec: Codec,
    field: &str,
    value: &T,
) -> Result<Vec<u8>, Error> {
    let wrong = |cause| Error::Encode { field: field.to_owned(), cause };
    codec.encode(value).map_err(wrong)
}

/// # Errors
///
/// [`Error::Config`] for a user without a name.
pub(crate) fn check_user(user: &str) -> Result<(), Error> {
    match user.is_empty() {
        true => Err(Error::Config("a user has a name".to_owned())),
        false => Ok(()),
    }
}

/// # Errors
///
/// [`Error::ReservedName`] for a name of the store's own.
pub(crate) fn check_name(name: &str) -> Result<(), Error> {
    match reserved::is(name) {
        true => Err(Error::ReservedName(name.to_owned())),
        false => Ok(()),
    }
}

/// A whole session as it was read: the application's fields and the store's own.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) fields: Fields,
    pub(crate) user: Option<String>,
    /// Milliseconds since the Unix epoch by the server's clock.
    pub(crate) created: Option<u64>,
    /// As `created`: when the cap is reached.
    pub(crate) ends: Option<u64>,
    /// How long it would live on unused.
    pub(crate) left: Duration,
}

impl Record {
    /// Begins a life at `now`, as the scripts do.
    pub(crate) fn begin(&mut self, user: Option<String>, lifetime: &Lifetime, now: u64) {
        let cap = u64::try_from(lifetime.cap().as_millis()).unwrap_or(u64::MAX);
        self.user = user;
        self.created = Some(now);
        self.ends = Some(now.saturating_add(cap));
    }

    /// Sorts what HGETALL answered. Fields past a deadline of our own keeping are left out, and so
    /// are those whose name is no text: no session of ours has one.
    pub(crate) fn sort(codec: Codec, pairs: Vec<Pair>, left: Duration, now: u64) -> Record {
        let fields = Fields::new(codec, BTreeMap::new());
        let mut record = Record { fields, user: None, created: None, ends: None, left };
        let mut over = Vec::new();
        for (name, value) in pairs {
            let Ok(name) = String::from_utf8(name) else { continue };
            match name.as_str() {
                reserved::USER => record.user = String::from_utf8(value).ok(),
                reserved::CREATED => record.created = number(&value),
                reserved::ENDS => record.ends = number(&value),
                _ if reserved::is(&name) => {
                    if let Some(field) = name.strip_prefix(reserved::UNTIL)
                        && number(&value).is_some_and(|until| until <= now)
                    {
                        over.push(field.to_owned());
                    }
                }
                _ => {
                    record.fields.values.insert(name, value);
                }
            }
        }
        for name in over {
            record.fields.values.remove(&name);
        }
        record
    }
}

/// A decimal number in bytes.
pub(crate) fn number(bytes: &[u8]) -> Option<u64> {
    std::str::from_utf8(bytes).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(pairs: &[(&str, &str)]) -> Record {
        let bytes = |text: &&str| text.as_bytes().to_vec();
        let pairs = pairs.iter().map(|(name, value)| (bytes(name), bytes(value))).collect();
        Record::sort(Codec::Json, pairs, Duration::from_secs(1), 1000)
    }

    #[test]
    fn the_stores_own_fields_are_not_the_applications() {
        let record = record(&[
            ("a", "1"),
            ("_user", "ann"),
            ("_created", "5"),
            ("_ends", "x"),
            ("_flash:b", "2"),
        ]);
        assert_eq!(record.fields.names().collect::<Vec<_>>(), ["a"]);
        assert_eq!(record.user.as_deref(), Some("ann"));
        assert_eq!((record.created, record.ends), (Some(5), None));
    }

    #[test]
    fn a_field_past_its_deadline_is_not_there() {
        let record =
            record(&[("_until:old", "1000"), ("old", "1"), ("new", "1"), ("_until:new", "1001")]);
        assert_eq!(record.fields.names().collect::<Vec<_>>(), ["new"]);
    }

    #[test]
    fn values_are_typed_and_wrong_ones_name_the_field() {
        let fields = record(&[("n", "7"), ("text", "\"seven\"")]).fields;
        assert_eq!(fields.get::<u8>("n").expect("a number"), Some(7));
        assert_eq!(fields.counter("n").expect("a number"), Some(7));
        assert_eq!(fields.get::<u8>("other").expect("absent"), None);
        assert_eq!(fields.get_raw("text"), Some(&b"\"seven\""[..]));
        let wrong = fields.get::<u8>("text").expect_err("it is a text");
        assert!(wrong.to_string().starts_with("field \"text\" cannot be read"), "{wrong}");
        assert!(matches!(check_name("_user"), Err(Error::ReservedName(_))));
    }
}
