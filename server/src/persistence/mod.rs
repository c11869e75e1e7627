//! When the data is saved to a file and loaded from it.
//!
//! A save in the foreground takes one turn. One in the background is driven on by a [`Saver`], a
//! small part of a turn at a time, while a thread of its own writes what the turns brought.

mod disk;
mod load;
mod saver;

pub use disk::{Disk, Output, Saving, SystemDisk, Target};
pub use load::{Progress, announce, load_at_start};
pub use saver::{Next, Saver};

use std::io;
use std::path::PathBuf;

use crate::commands::{Action, CommandError, Session, saving, shutdown};
use crate::config::ShutdownFlags;
use crate::engine::{Flow, Turn};
use crate::rdb::{Recording, warn_of_dropped};
use crate::resp::Reply;
use crate::state::Shutdown;
use crate::store::Walked;

/// Objects that are taken before their bytes are written on, where everybody waits anyway.
const AT_ONCE: usize = 1024;

/// Why the data could not be saved.
#[derive(Debug)]
pub enum SaveError {
    /// The settings do not let it be written: why.
    Refused(String),
    /// The disk.
    Disk(PathBuf, io::Error),
}

impl std::fmt::Display for SaveError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            SaveError::Refused(why) => write!(f, "cannot save: {why}"),
            SaveError::Disk(path, cause) => write!(f, "cannot save {}: {cause}", path.display()),
        }
    }
}

impl std::error::Error for SaveError {}

/// The file that the settings name.
fn target(turn: &mut Turn<'_>) -> Target {
    let server = turn.server();
    let config = &server.config;
    let attempt = server.persistence.attempts;
    Target {
        folder: PathBuf::from(&config.dir),
        name: config.dbfilename.clone(),
        temporary: format!("temp-{}-{}-{attempt}.rdb", std::process::id(), &server.run_id[..8]),
        checksum: config.rdbchecksum,
        incremental: config.rdb_save_incremental_fsync,
    }
}

/// Saves the data in this turn. A save in the background that is under way is given up.
///
/// # Errors
///
/// See [`SaveError`]. The file is as it was.
pub fn save(turn: &mut Turn<'_>, disk: &dyn Disk) -> Result<(), SaveError> {
    turn.as_server(saving::give_up);
    turn.server().persistence.attempts += 1;
    let target = target(turn);
    let path = target.path();
    let done = match turn.as_server(saving::record) {
        Err(why) => Err(SaveError::Refused(why)),
        Ok(recording) => {
            let written = Saving::begin(disk, target).and_then(|mut file| {
                loop {
                    let walked = turn.keyspace().take_some(AT_ONCE);
                    let mut recording = recording.lock();
                    if matches!(walked, Walked::All(_)) {
                        check(&recording)?;
                        recording.end();
                        file.write(&recording.take_bytes())?;
                        warn_of_dropped("the file", recording.dropped_deadlines());
                        file.settle()?;
                        return file.publish();
                    }
                    file.write(&recording.take_bytes())?;
                }
            });
            written.map_err(|cause| SaveError::Disk(path, cause))
        }
    };
    turn.keyspace().give_up_snapshot();
    let now = turn.now();
    let server = turn.server();
    match &done {
        Ok(()) => {
            let stated = server.effects.stated();
            server.persistence.succeeded(stated, now);
            tracing::info!("saved");
        }
        Err(why) => tracing::error!("{why}"),
    }
    done
}

/// A file that is not whole must not take the old one's place, whatever went wrong.
fn check(recording: &Recording) -> io::Result<()> {
    if recording.is_whole() { Ok(()) } else { Err(io::Error::other("the snapshot is not whole")) }
}

/// Saves the data because the server is to stop, if that is wanted. A save in the background is
/// given up. Data that is only being loaded is not saved: its file has more.
///
/// # Errors
///
/// See [`SaveError`].
pub fn save_at_shutdown(
    turn: &mut Turn<'_>,
    disk: &dyn Disk,
    flags: ShutdownFlags,
) -> Result<(), SaveError> {
    let is_loading = turn.server().persistence.loading.is_some();
    let wanted = !is_loading && flags.saves(!turn.config().save.is_empty());
    turn.as_server(saving::give_up);
    if wanted { save(turn, disk) } else { Ok(()) }
}

/// Goes on with a shutdown that waited for replicas, if they have everything or its time is up. What
/// is left to be done comes back: the server is to end.
pub fn shut_down_if_due(turn: &mut Turn<'_>, disk: &dyn Disk) -> Option<Action> {
    let now = turn.now();
    let server = turn.server();
    let Shutdown { flags, .. } = server.shutdown.filter(|_| server.shutdown_due() <= Some(now))?;
    if server.replicas_lag() {
        tracing::warn!("shuts down although a replica has not everything");
    }
    if save_at_shutdown(turn, disk, flags).is_err() && !flags.force {
        turn.as_server(shutdown::give_up);
        return None;
    }
    // Nothing is written any more.
    turn.server().shutdown = None;
    Some(Action::Shutdown(flags))
}

/// Does what a request asked of this layer, in the turn of the request, and writes the reply that is
/// due then. What is for the layers above comes back.
pub fn act(
    turn: &mut Turn<'_>,
    disk: &dyn Disk,
    session: &Session,
    action: Action,
    out: &mut Vec<u8>,
) -> Flow {
    let mut reply = Reply::new(out, session.protocol);
    let is_loading = turn.server().persistence.loading.is_some();
    let done = match action {
        Action::SaveScheduled => {
            if std::mem::take(&mut turn.server().persistence.scheduled) && !is_loading {
                // Why it cannot be saved has been logged.
                let _ = save(turn, disk);
            }
            return Flow::Continue;
        }
        Action::Save | Action::Reload { .. } if is_loading => Err(CommandError::LOADING),
        Action::Save => {
            turn.server().persistence.saves += 1;
            save(turn, disk).map_err(answer)
        }
        Action::Reload { save: wanted, flush, merge } => {
            let saved = if wanted { save(turn, disk).map_err(answer) } else { Ok(()) };
            saved.and_then(|()| {
                load::reload(turn, flush, merge).map_err(|why| {
                    tracing::error!("{why}");
                    CommandError::new("ERR Error trying to load the RDB dump, check server logs")
                })
            })
        }
        Action::Shutdown(flags) => {
            return match save_at_shutdown(turn, disk, flags) {
                Err(_) if !flags.force => {
                    reply.error(CommandError::SHUTDOWN_FAILED.text());
                    Flow::Continue
                }
                _ => Flow::Act(action),
            };
        }
        _ => return Flow::Act(action),
    };
    match done {
        Ok(()) => reply.ok(),
        Err(error) => reply.error(error.text()),
    }
    Flow::Continue
}

fn answer(error: SaveError) -> CommandError {
    match error {
        SaveError::Refused(why) => saving::refused(why),
        SaveError::Disk(..) => CommandError::SAVE_FAILED,
    }
}
