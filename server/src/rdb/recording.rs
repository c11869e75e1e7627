//! A snapshot on its way into the format: the sink that a keyspace's snapshot is taken into.

use std::sync::Arc;

use super::objects::write_value;
use super::writer::{Place, Writer};
use crate::clock::Millis;
use crate::store::{Keyspace, ObjectRef, Sink};

/// The bytes of a file, as a snapshot's objects come. Whoever took the snapshot takes them out from
/// time to time.
#[derive(Debug)]
pub struct Recording {
    writer: Writer,
    out: Vec<u8>,
    /// The database of what was written last.
    selected: Option<usize>,
    keys: u64,
    /// Objects that were there when it began and have not come yet.
    missing: u64,
    /// The most bytes that waited at a time.
    peak: usize,
    /// When the snapshot began.
    now: Millis,
}

impl Recording {
    /// Begins a file of this keyspace, which is about to be taken a snapshot of: what stands before
    /// the keys. `notes` are written by their names, `libraries` of functions are their code.
    pub fn begin(
        writer: Writer,
        keyspace: &Keyspace,
        notes: &[(&str, String)],
        libraries: &[Arc<[u8]>],
        now: Millis,
    ) -> Self {
        let mut recording = Recording {
            writer,
            out: Vec::new(),
            selected: None,
            keys: 0,
            missing: keyspace.len() as u64,
            peak: 0,
            now,
        };
        let Recording { writer, out, selected, .. } = &mut recording;
        writer.begin(out);
        for (name, value) in notes {
            writer.aux(out, name, value.as_bytes());
        }
        for code in libraries {
            writer.library(out, code);
        }
        for db in 0..keyspace.databases() {
            let figures = keyspace.db(db).figures(now);
            if figures.keys > 0 {
                writer.select(out, db as u64);
                writer.resize(out, figures.keys as u64, figures.volatile as u64);
                *selected = Some(db);
            }
        }
        recording
    }

    /// Ends the file, but for its checksum.
    pub fn end(&mut self) {
        self.writer.end(&mut self.out);
    }

    /// Whether each object that was there when it began has come, and none twice.
    pub fn is_whole(&self) -> bool {
        self.missing == 0
    }

    /// What has been written since the last call.
    pub fn take_bytes(&mut self) -> Vec<u8> {
        self.peak = self.peak();
        let fresh = Vec::with_capacity(self.out.len());
        std::mem::replace(&mut self.out, fresh)
    }

    /// How many bytes wait to be taken out.
    pub fn waiting(&self) -> usize {
        self.out.len()
    }

    /// The most bytes that have waited at a time.
    pub fn peak(&self) -> usize {
        self.peak.max(self.out.len())
    }

    /// How many keys have been written.
    pub fn keys(&self) -> u64 {
        self.keys
    }

    /// How many deadlines of fields were left out, for which the version has no place.
    pub fn dropped_deadlines(&self) -> u64 {
        self.writer.dropped_deadlines()
    }
}

impl Sink for Recording {
    fn take(&mut self, db: usize, object: ObjectRef<'_>) {
        self.missing = self.missing.wrapping_sub(1);
        if self.selected != Some(db) {
            self.writer.select(&mut self.out, db as u64);
            self.selected = Some(db);
        }
        let place = Place::Key { key: object.key(), deadline: object.deadline() };
        let value = object.value();
        self.keys +=
            u64::from(write_value(&mut self.writer, &mut self.out, place, value, self.now));
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;

    use super::*;
    use crate::rdb::{Entry, ReadOptions, Reader, Record, Value, Version};
    use crate::store::{Access, SharedSink, StrLimits, Walked};

    #[test]
    fn a_recording_is_a_file_of_the_moment_at_which_it_began() {
        let mut keyspace = Keyspace::new(3);
        for (db, key) in [(2, "c"), (0, "a"), (0, "b")] {
            let (key, access) = (key.as_bytes(), Access::used_at(1));
            keyspace.db_mut(db).insert_text(key, key, access, StrLimits::default());
        }
        keyspace.db_mut(0).set_deadline(b"b", Some(99), 1);
        let writer = Writer::new(Version::V10, true);
        let recording = Recording::begin(writer, &keyspace, &[("ctime", "7".to_owned())], &[], 1);
        let recording = Arc::new(Mutex::new(recording));
        let sink: SharedSink = recording.clone();
        keyspace.begin_snapshot(&sink);
        // In another database than what comes before and after it.
        keyspace.db_mut(2).clear();
        keyspace.db_mut(0).remove(b"a", 1);
        assert!(!recording.lock().is_whole());
        while !matches!(keyspace.take_some(1), Walked::All(_)) {}
        recording.lock().end();
        {
            let recording = recording.lock();
            assert_eq!((recording.keys(), recording.is_whole()), (3, true));
        }
        let mut reader = Reader::new(ReadOptions::default());
        reader.feed(&recording.lock().take_bytes());
        reader.feed(&[0; 8]);
        let (mut db, mut found) = (0, Vec::new());
        while let Some(record) = reader.read().expect("it is a file") {
            match record {
                Record::Select(selected) => db = selected,
                Record::Key(Entry { key, deadline, value, .. }) => {
                    assert_eq!(value, Value::Str(key.clone()));
                    found.push((db, String::from_utf8_lossy(&key).into_owned(), deadline));
                }
                _ => {}
            }
        }
        assert!(reader.is_over());
        found.sort();
        let due = [(0, "a", None), (0, "b", Some(99)), (2, "c", None)];
        assert_eq!(found, due.map(|(db, key, deadline)| (db, key.to_owned(), deadline)));
    }
}
