//! Changes to several fields that depend on what the session holds.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::codec::Codec;
use crate::error::Error;
use crate::fields::{Fields, check_name, decode, encode};
use crate::lifetime::Lifetime;

/// What a change sees and does; see [`Session::update`](crate::Session::update).
pub struct Draft<'a> {
    codec: Codec,
    fields: &'a Fields,
    read: BTreeMap<String, Option<Vec<u8>>>,
    /// Whether the change has seen which fields there are.
    read_all: bool,
    /// None removes a field.
    written: BTreeMap<String, Option<Vec<u8>>>,
}

/// Names only: values belong into no log.
impl fmt::Debug for Draft<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Draft { codec: _, fields, read, read_all, written } = self;
        f.debug_struct("Draft")
            .field("fields", fields)
            .field("read", &read.keys())
            .field("read_all", read_all)
            .field("written", &written.keys())
            .finish()
    }
}

impl<'a> Draft<'a> {
    /// So often a change is tried while others change the same fields.
    pub(crate) const TRIES: usize = 100;

    pub(crate) fn new(codec: Codec, fields: &'a Fields) -> Draft<'a> {
        let (read, written) = (BTreeMap::new(), BTreeMap::new());
        Draft { codec, fields, read, read_all: false, written }
    }

    /// The value of a field, with what this change has written.
    ///
    /// # Errors
    ///
    /// [`Error::Decode`] if the field does not hold a `T`.
    pub fn get<T: DeserializeOwned>(&mut self, name: &str) -> Result<Option<T>, Error> {
        let codec = self.codec;
        self.get_raw(name).map(|bytes| decode(codec, name, bytes)).transpose()
    }

    /// The bytes of a field, with what this change has written.
    pub fn get_raw(&mut self, name: &str) -> Option<&[u8]> {
        if let Some(written) = self.written.get(name) {
            return written.as_deref();
        }
        let value = self.fields.get_raw(name);
        self.read.insert(name.to_owned(), value.map(<[u8]>::to_vec));
        value
    }

    /// All fields as they were read, without what this change has written. From now on any change
    /// of another's thwarts this one.
    pub fn fields(&mut self) -> &Fields {
        self.read_all = true;
        let values = self
            .fields
            .names()
            .map(|name| (name.to_owned(), self.fields.get_raw(name).map(<[u8]>::to_vec)));
        self.read.extend(values);
        self.fields
    }

    /// Writes a field.
    ///
    /// # Errors
    ///
    /// [`Error::Encode`] or [`Error::ReservedName`].
    pub fn set<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) -> Result<(), Error> {
        self.set_raw(name, encode(self.codec, name, value)?)
    }

    /// Writes bytes into a field.
    ///
    /// # Errors
    ///
    /// [`Error::ReservedName`].
    pub fn set_raw(&mut self, name: &str, value: impl Into<Vec<u8>>) -> Result<(), Error> {
        check_name(name)?;
        self.written.insert(name.to_owned(), Some(value.into()));
        Ok(())
    }

    /// Removes a field.
    ///
    /// # Errors
    ///
    /// [`Error::ReservedName`].
    pub fn remove(&mut self, name: &str) -> Result<(), Error> {
        check_name(name)?;
        self.written.insert(name.to_owned(), None);
        Ok(())
    }

    /// Whether something is to be written.
    pub(crate) fn changes(&self) -> bool {
        !self.written.is_empty()
    }

    /// The expectations and the changes.
    pub(crate) fn into_steps(self) -> Steps {
        let mut steps = Steps::default();
        if self.read_all {
            steps.only(self.fields);
        }
        for (name, value) in &self.read {
            match value {
                Some(value) => steps.is(name, value),
                None => steps.absent(name),
            }
        }
        for (name, value) in self.written {
            match value {
                Some(value) => steps.set(&name, value),
                None => steps.remove(&name),
            }
        }
        steps
    }
}

/// Steps of the script that writes; expectations come first.
#[derive(Default)]
pub(crate) struct Steps(Vec<Vec<u8>>);

impl Steps {
    fn push(&mut self, step: &str, name: &str) {
        self.0.extend([step.as_bytes().to_vec(), name.as_bytes().to_vec()]);
    }

    fn is(&mut self, name: &str, value: &[u8]) {
        self.push("is", name);
        self.0.push(value.to_vec());
    }

    fn absent(&mut self, name: &str) {
        self.push("absent", name);
    }

    fn only(&mut self, fields: &Fields) {
        self.push("only", &fields.len().to_string());
        self.0.extend(fields.names().map(|name| name.as_bytes().to_vec()));
    }

    pub(crate) fn set(&mut self, name: &str, value: Vec<u8>) {
        self.push("set", name);
        self.0.push(value);
    }

    pub(crate) fn keep(&mut self, name: &str, value: Vec<u8>, ttl: Duration) {
        self.push("keep", name);
        // No session lives longer, and the server refuses numbers that are too large for it.
        let milliseconds = ttl.min(Lifetime::LONGEST).as_millis().max(1);
        self.0.extend([value, milliseconds.to_string().into_bytes()]);
    }

    pub(crate) fn remove(&mut self, name: &str) {
        self.push("remove", name);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn args(&self) -> impl Iterator<Item = Vec<u8>> {
        self.0.iter().cloned()
    }
}
