//! Loading the data from its file.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::commands::{RestorePolicy, adopt_libraries};
use crate::engine::{Engine, Turn};
use crate::error::Error;
use crate::rdb::{LoadOptions, Loaded, Loader, ReadOptions};
use crate::state::Loading;
use crate::store::Keyspace;

/// Bytes that are read at once.
const AT_ONCE: usize = 1 << 20;

/// Is told how loading goes on.
pub trait Progress {
    /// So many bytes of so many have been read.
    fn read(&mut self, bytes: u64, total: u64);
}

/// Nobody wants to know.
impl Progress for () {
    fn read(&mut self, _: u64, _: u64) {}
}

/// Says that the data is about to be loaded, if there is a file: from now on requests are refused that
/// need it.
pub fn announce(turn: &mut Turn<'_>) {
    let started = turn.now();
    if super::target(turn).path().exists() {
        turn.server().persistence.loading = Some(Loading::at_start(started));
    }
}

/// Loads the file that the settings name, if it is there, while others have their turns: the data
/// comes into a keyspace of its own, which takes the place of the empty one when it is whole. Once
/// it is `given_up` it ends with the next bytes, and nothing is loaded.
///
/// # Errors
///
/// The file cannot be read, is damaged, or holds what is not known here.
pub fn load_at_start(
    engine: &Engine,
    progress: &mut dyn Progress,
    given_up: &AtomicBool,
) -> Result<(), Error> {
    let start = engine.clock().stopwatch();
    let mut turn = engine.turn();
    announce(&mut turn);
    let (path, options) = (super::target(&mut turn).path(), options(&mut turn, false));
    let databases = turn.keyspace().databases();
    drop(turn);
    let Some(mut source) = Source::open(&path, options)? else {
        engine.turn().server().persistence.loading = None;
        return Ok(());
    };
    let mut keyspace = Keyspace::new(databases);
    while !source.load_some(&mut keyspace)? {
        if given_up.load(Ordering::Relaxed) {
            return Ok(());
        }
        progress.read(source.loader.position(), source.total);
        source.show(&mut engine.turn(), &keyspace);
    }
    progress.read(source.total, source.total);
    let mut loaded = source.finish()?;
    let took = (engine.clock().stopwatch() - start) as f64 / 1e6;
    tracing::info!("loaded {} keys from {} in {took:.3} s", loaded.keys, path.display());
    tell(&loaded);
    let mut turn = engine.turn();
    adopt(&mut turn, &path, &mut loaded, RestorePolicy::Flush)?;
    turn.put_data(keyspace);
    turn.take_place(&loaded);
    let persistence = &mut turn.server().persistence;
    (persistence.last_load, persistence.loading) = (loaded, None);
    Ok(())
}

/// Loads the file that the settings name again; `flush`: in place of all data; `merge`: its keys take
/// the place of those that are there.
pub(super) fn reload(turn: &mut Turn<'_>, flush: bool, merge: bool) -> Result<(), Error> {
    let path = super::target(turn).path();
    if flush {
        let keyspace = turn.keyspace();
        (0..keyspace.databases()).for_each(|db| keyspace.db_mut(db).clear());
        turn.server().functions.clear();
    }
    let options = options(turn, merge);
    let missing = || Error::Load { path: path.clone(), why: "there is no such file".to_owned() };
    let mut source = Source::open(&path, options)?.ok_or_else(missing)?;
    while !source.load_some(turn.keyspace())? {}
    let mut loaded = source.finish()?;
    tell(&loaded);
    let policy = if merge { RestorePolicy::Replace } else { RestorePolicy::Append };
    adopt(turn, &path, &mut loaded, policy)?;
    turn.server().persistence.last_load = loaded;
    Ok(())
}

/// Loads the libraries of functions that a file holds.
fn adopt(
    turn: &mut Turn<'_>,
    path: &Path,
    loaded: &mut Loaded,
    policy: RestorePolicy,
) -> Result<(), Error> {
    let codes = std::mem::take(&mut loaded.libraries);
    let adopted = turn.as_server(|ctx| adopt_libraries(ctx, codes, policy));
    adopted.map_err(|error| failed(path, &String::from_utf8_lossy(error.text())))
}

/// A file that is being loaded.
struct Source<'p> {
    path: &'p Path,
    file: File,
    /// Its bytes in all; 0 where the system cannot tell.
    total: u64,
    loader: Loader,
    buffer: Vec<u8>,
}

impl<'p> Source<'p> {
    /// Opens a file; None: there is none.
    fn open(path: &'p Path, options: LoadOptions) -> Result<Option<Self>, Error> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(cause) => return Err(failed(path, &cause)),
        };
        let total = file.metadata().map_or(0, |metadata| metadata.len());
        let (loader, buffer) = (Loader::new(options), vec![0; AT_ONCE]);
        Ok(Some(Source { path, file, total, loader, buffer }))
    }

    /// Loads the next bytes; true: they were the last.
    fn load_some(&mut self, keyspace: &mut Keyspace) -> Result<bool, Error> {
        let read = match self.file.read(&mut self.buffer) {
            Ok(read) => read,
            Err(cause) if cause.kind() == io::ErrorKind::Interrupted => return Ok(false),
            Err(cause) => return Err(failed(self.path, &cause)),
        };
        let is_over = self.loader.feed(&self.buffer[..read], keyspace);
        Ok(is_over.map_err(|error| failed(self.path, &error))? || read == 0)
    }

    /// Shows to others how far it is.
    fn show(&self, turn: &mut Turn<'_>, keyspace: &Keyspace) {
        let persistence = &mut turn.server().persistence;
        persistence.last_load.keys = self.loader.keys();
        if let Some(loading) = &mut persistence.loading {
            loading.total = Some(self.total);
            loading.loaded = self.loader.position();
            loading.used_memory = keyspace.bytes();
            loading.noted_memory = self.loader.noted_memory();
        }
    }

    fn finish(self) -> Result<Loaded, Error> {
        self.loader.finish().map_err(|error| failed(self.path, &error))
    }
}

fn failed(path: &Path, why: &dyn std::fmt::Display) -> Error {
    Error::Load { path: PathBuf::from(path), why: why.to_string() }
}

fn options(turn: &mut Turn<'_>, merge: bool) -> LoadOptions {
    let (now, server) = (turn.now(), turn.server());
    let (is_replica, checksum) = (server.replication.is_replica(), server.compares_checksums());
    let config = turn.config();
    LoadOptions {
        read: ReadOptions {
            skip_unknown: config.rdb_skip_unknown_types,
            checksum,
            longest: config.proto_max_bulk_len,
        },
        encodings: crate::engine::encodings(config),
        now,
        counts_uses: config.maxmemory_policy.is_lfu(),
        drop_expired: !is_replica,
        merge,
    }
}

/// Says what was left out.
fn tell(loaded: &Loaded) {
    if let Some((key, kind)) = &loaded.first_skipped {
        let key = key[..key.len().min(128)].escape_ascii();
        tracing::warn!(
            "{} keys of types that are not known here were left out, the first a {kind}: \"{key}\"",
            loaded.skipped
        );
    }
    if loaded.empty > 0 {
        tracing::warn!("{} collections without elements were left out", loaded.empty);
    }
}
