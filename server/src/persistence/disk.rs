//! Files that are there as a whole or not at all.
//!
//! What is written goes to a temporary file beside the target, reaches the disk, and takes the
//! target's name in one step. Whatever fails, and whenever the machine stops, the target is the old
//! file or the new one.

use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::rdb::{Checksum, trailer};

/// What is needed of a file system. Tests have one that fails.
pub trait Disk: Send + Sync + fmt::Debug {
    /// A new empty file, in place of one of this name.
    fn create(&self, path: &Path) -> io::Result<Box<dyn Output>>;
    /// Gives a file another name, in place of one that has it.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Lets the names in a folder reach the disk.
    fn sync_folder(&self, path: &Path) -> io::Result<()>;
}

/// A file that is written.
pub trait Output: Write + Send {
    /// Lets what was written reach the disk.
    fn sync(&mut self) -> io::Result<()>;
}

/// The system's own files.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemDisk;

impl Disk for SystemDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn Output>> {
        Ok(Box::new(File::create(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        // A folder can be opened and synced on Unix; elsewhere a rename is as durable as it gets.
        if cfg!(unix) { File::open(path)?.sync_all() } else { Ok(()) }
    }
}

impl Output for File {
    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}

/// How a file is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The folder.
    pub folder: PathBuf,
    /// The file's name.
    pub name: String,
    /// The temporary file's name.
    pub temporary: String,
    /// It ends with a checksum.
    pub checksum: bool,
    /// It reaches the disk bit by bit while it is written.
    pub incremental: bool,
}

impl Target {
    /// The file.
    pub fn path(&self) -> PathBuf {
        self.folder.join(&self.name)
    }
}

/// After so many bytes they are sent to the disk, if they are to reach it bit by bit.
const SYNC_EVERY: usize = 4 << 20;

/// A file on its way. Dropped before [`Saving::publish`] it leaves nothing behind.
pub struct Saving<'d> {
    disk: &'d dyn Disk,
    target: Target,
    output: Option<Box<dyn Output>>,
    checksum: Option<Checksum>,
    unsynced: usize,
    bytes: u64,
}

impl fmt::Debug for Saving<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Saving").field("target", &self.target).finish_non_exhaustive()
    }
}

impl<'d> Saving<'d> {
    /// Begins a file.
    ///
    /// # Errors
    ///
    /// The temporary file cannot be made.
    pub fn begin(disk: &'d dyn Disk, target: Target) -> io::Result<Self> {
        let output = disk.create(&target.folder.join(&target.temporary))?;
        let checksum = target.checksum.then(Checksum::new);
        Ok(Saving { disk, target, output: Some(output), checksum, unsynced: 0, bytes: 0 })
    }

    /// Writes more of it.
    ///
    /// # Errors
    ///
    /// The disk is full or broken.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some(checksum) = &mut self.checksum {
            checksum.update(bytes);
        }
        self.write_raw(bytes)
    }

    fn write_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(output) = &mut self.output else { return Ok(()) };
        output.write_all(bytes)?;
        self.bytes += bytes.len() as u64;
        self.unsynced += bytes.len();
        if self.target.incremental && self.unsynced >= SYNC_EVERY {
            self.unsynced = 0;
            output.sync()?;
        }
        Ok(())
    }

    /// Ends the file: all of it reaches the disk, under its temporary name.
    ///
    /// # Errors
    ///
    /// It cannot reach the disk.
    pub fn settle(&mut self) -> io::Result<()> {
        self.write_raw(&trailer(self.checksum.as_ref()))?;
        match &mut self.output {
            Some(output) => output.sync(),
            None => Ok(()),
        }
    }

    /// Puts a settled file in its target's place.
    ///
    /// # Errors
    ///
    /// It cannot be renamed: the target is the old file. Or only the folder could not be told: then
    /// it may be either after the machine stops.
    pub fn publish(mut self) -> io::Result<()> {
        // The handle is closed before the file is renamed, which Windows asks for.
        self.output = None;
        let temporary = self.target.folder.join(&self.target.temporary);
        if let Err(cause) = self.disk.rename(&temporary, &self.target.path()) {
            self.discard();
            return Err(cause);
        }
        let folder = match self.target.folder.as_os_str().is_empty() {
            true => Path::new("."),
            false => &self.target.folder,
        };
        self.disk.sync_folder(folder)
    }

    /// How many bytes have been written.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    fn discard(&self) {
        // It may never have been made; there is nothing more to be done about it.
        let _ = self.disk.remove(&self.target.folder.join(&self.target.temporary));
    }
}

impl Drop for Saving<'_> {
    fn drop(&mut self) {
        if self.output.take().is_some() {
            self.discard();
        }
    }
}
