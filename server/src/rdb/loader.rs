//! Loading: from the bytes of a file, as they come, into a keyspace.

use std::borrow::Cow;

use super::objects::put;
use super::reader::{Entry, ReadError, ReadOptions, Reader, Record, Usage};
use crate::clock::Millis;
use crate::store::{Access, Batch, Encodings, Keyspace, Twice};

/// What a file came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Loaded {
    /// Keys that are there now.
    pub keys: u64,
    /// Keys left out because their time was over.
    pub expired: u64,
    /// Keys left out because they were aggregates without elements.
    pub empty: u64,
    /// Keys passed over because their types are not known here, and the first of them.
    pub skipped: u64,
    /// The first of those: its key and type.
    pub first_skipped: Option<(Vec<u8>, String)>,
    /// The code of the libraries of functions, which are for the caller to load.
    pub libraries: Vec<Vec<u8>>,
    /// The file's notes, by their names.
    pub notes: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Loaded {
    /// What the file says of itself under this name.
    pub fn note(&self, name: &str) -> Option<&str> {
        let note = self.notes.iter().find(|(known, _)| known == name.as_bytes());
        note.and_then(|(_, text)| std::str::from_utf8(text).ok())
    }
}

/// Notes that are kept.
const MOST_NOTES: usize = 64;

/// Keys for which room is made before they come: about a MiB. With more, the room grows as ever.
const MOST_ANNOUNCED: u64 = 3_000_000;

/// Fewer are not worth it.
const WORTH_ANNOUNCING: u64 = 1_000;

/// How values are made of what is read.
#[derive(Debug, Clone, Copy)]
pub struct LoadOptions {
    /// How the file is read.
    pub read: ReadOptions,
    /// The sizes at which encodings change.
    pub encodings: Encodings,
    /// The present.
    pub now: Millis,
    /// Uses of keys are counted (an LFU policy); otherwise the last one is kept.
    pub counts_uses: bool,
    /// Keys whose time is over are left out. A replica keeps them until its primary says so.
    pub drop_expired: bool,
    /// A key that is there already is replaced, not refused (DEBUG RELOAD MERGE).
    pub merge: bool,
}

/// Loads a file that comes in pieces.
#[derive(Debug)]
pub struct Loader {
    reader: Reader,
    options: LoadOptions,
    db: usize,
    /// Hashes on their way into that database.
    batch: Batch,
    /// Databases in which room was made for keys that are to come, and for how many more it may be.
    announced: Vec<usize>,
    announceable: u64,
    loaded: Loaded,
}

impl Loader {
    /// A loader at the start of a file.
    pub fn new(options: LoadOptions) -> Self {
        let (reader, loaded) = (Reader::new(options.read), Loaded::default());
        let (batch, announced, announceable) = (Batch::default(), Vec::new(), MOST_ANNOUNCED);
        Loader { reader, options, db: 0, batch, announced, announceable, loaded }
    }

    /// Takes in what has arrived; true: that was the end of the file. What comes behind it is for
    /// [`Loader::take_rest`].
    ///
    /// # Errors
    ///
    /// The file is damaged, or holds what is not known here. What was loaded so far is there.
    pub fn feed(&mut self, bytes: &[u8], keyspace: &mut Keyspace) -> Result<bool, ReadError> {
        self.reader.feed(bytes);
        let read = self.read(keyspace);
        if read.is_err() {
            // What the error is about comes behind what waits.
            self.put_batch(keyspace)?;
        }
        read.map(|()| self.reader.is_over())
    }

    fn read(&mut self, keyspace: &mut Keyspace) -> Result<(), ReadError> {
        while let Some(record) = self.reader.read()? {
            self.load(record, keyspace)?;
        }
        Ok(())
    }

    /// Puts the hashes that wait into their database.
    fn put_batch(&mut self, keyspace: &mut Keyspace) -> Result<(), ReadError> {
        self.batch.put_into(keyspace.db_mut(self.db)).map_err(|(offset, key)| {
            let (key, why) = (Some(key.into()), "the key comes twice".into());
            ReadError { offset, key, why }
        })
    }

    /// What was fed beyond the end of the file.
    pub fn take_rest(&mut self) -> Vec<u8> {
        self.reader.take_rest()
    }

    /// How many bytes of the file have been read.
    pub fn position(&self) -> u64 {
        self.reader.position()
    }

    /// How many keys have been loaded.
    pub fn keys(&self) -> u64 {
        self.loaded.keys
    }

    /// Bytes that the data took where the file was written, as its notes say; 0: they do not.
    pub fn noted_memory(&self) -> u64 {
        self.loaded.note("used-mem").and_then(|bytes| bytes.parse().ok()).unwrap_or(0)
    }

    /// Ends the loading.
    ///
    /// # Errors
    ///
    /// The end of the file has not come.
    pub fn finish(self) -> Result<Loaded, ReadError> {
        self.reader.finish()?;
        Ok(self.loaded)
    }

    fn load(&mut self, record: Record, keyspace: &mut Keyspace) -> Result<(), ReadError> {
        match record {
            Record::Select(db) => {
                self.put_batch(keyspace)?;
                let databases = keyspace.databases();
                self.db =
                    usize::try_from(db).ok().filter(|db| *db < databases).ok_or_else(|| {
                        let why = format!(
                            "there is no database {db} here; databases {} would be enough",
                            db.saturating_add(1)
                        );
                        self.error(None, why)
                    })?;
            }
            Record::Key(entry) => return self.load_key(entry, keyspace),
            Record::Skipped { key, kind } => {
                self.loaded.skipped += 1;
                self.loaded.first_skipped.get_or_insert((key, kind));
            }
            Record::Library(code) => self.loaded.libraries.push(code),
            Record::Aux { name, value } if self.loaded.notes.len() < MOST_NOTES => {
                self.loaded.notes.push((name, value));
            }
            Record::Resize { keys, .. } => self.announce(keys, keyspace),
            Record::End => {
                self.put_batch(keyspace)?;
                self.announced.drain(..).for_each(|db| keyspace.db_mut(db).tidy_up());
            }
            Record::Aux { .. } | Record::Begin(_) => {}
        }
        Ok(())
    }

    /// Makes room for keys that are to come: it saves moving them about later.
    fn announce(&mut self, keys: u64, keyspace: &mut Keyspace) {
        let keys = keys.min(self.announceable);
        if keys >= WORTH_ANNOUNCING && keyspace.db(self.db).is_empty() {
            self.announceable -= keys;
            self.announced.push(self.db);
            keyspace.db_mut(self.db).announce(keys);
        }
    }

    fn load_key(&mut self, entry: Entry, keyspace: &mut Keyspace) -> Result<(), ReadError> {
        let Entry { key, deadline, usage, value } = &entry;
        if value.is_empty() {
            self.loaded.empty += 1;
        } else if deadline.is_some_and(|at| at <= self.options.now) && self.drops_expired() {
            self.loaded.expired += 1;
        } else {
            let (access, encodings) = (self.access(*usage), self.options.encodings);
            let db = keyspace.db_mut(self.db);
            if self.options.merge {
                db.remove(key, 0);
            }
            let entry = (&entry, self.reader.position());
            put(db, &mut self.batch, entry, access, &encodings).map_err(|what| {
                let why = match what {
                    Twice::Key => "the key comes twice",
                    Twice::Element => "an element comes twice",
                };
                self.error(Some(key.clone()), why)
            })?;
            if self.options.merge || self.batch.is_full() {
                self.put_batch(keyspace)?;
            }
            self.loaded.keys += 1;
        }
        self.reader.recycle(entry);
        Ok(())
    }

    /// Whether keys whose time is over are left out. Not where others may follow from the place that
    /// the file has in a history: they are to be told that such keys are gone.
    fn drops_expired(&self) -> bool {
        self.options.drop_expired && self.loaded.note("repl-offset").is_none()
    }

    /// The use of a key, where the file tells of it in the way in which uses are recorded here.
    fn access(&self, usage: Option<Usage>) -> Access {
        let LoadOptions { now, counts_uses, .. } = self.options;
        match usage {
            Some(Usage::Frequency(count)) if counts_uses => Access::counted(now, count),
            _ if counts_uses => Access::counted(now, Access::NEW_COUNT),
            Some(Usage::Idle(seconds)) => {
                Access::used_at(now.saturating_sub(seconds.saturating_mul(1000)))
            }
            _ => Access::used_at(now),
        }
    }

    fn error(&self, key: Option<Vec<u8>>, why: impl Into<Cow<'static, str>>) -> ReadError {
        ReadError { offset: self.reader.position(), key, why: why.into() }
    }
}
