//! All that differs from platform to platform: Unix sockets, signals, descriptors, stdin.

use std::path::Path;

use tokio::sync::watch;

use super::listen::Host;
use crate::config::Signal;
use crate::error::Error;

/// The number of a socket, as CLIENT LIST shows it; -1 where sockets have none.
#[cfg(unix)]
pub(super) fn descriptor(stream: &impl std::os::fd::AsRawFd) -> i32 {
    stream.as_raw_fd()
}

/// The number of a socket, as CLIENT LIST shows it; -1 where sockets have none.
#[cfg(not(unix))]
pub(super) fn descriptor<S>(_: &S) -> i32 {
    -1
}

/// A Unix socket at which is listened; its file goes with it.
#[cfg(unix)]
#[derive(Debug)]
pub(super) struct UnixSocket {
    listener: tokio::net::UnixListener,
    path: std::path::PathBuf,
}

#[cfg(unix)]
impl UnixSocket {
    /// Listens at `path`, with these permissions if they are not 0.
    pub(super) fn bind(path: &Path, permissions: u32) -> Result<Self, Error> {
        use std::os::unix::fs::{FileTypeExt, PermissionsExt};
        let failed = |cause| Error::Listen { at: path.display().to_string(), cause };
        // A socket that an earlier server left behind answers nobody. Other files are not ours.
        let is_socket = std::fs::symlink_metadata(path).is_ok_and(|it| it.file_type().is_socket());
        if is_socket && std::os::unix::net::UnixStream::connect(path).is_err() {
            let _ = std::fs::remove_file(path);
        }
        let listener = tokio::net::UnixListener::bind(path).map_err(failed)?;
        if permissions != 0 {
            let permissions = std::fs::Permissions::from_mode(permissions);
            std::fs::set_permissions(path, permissions).map_err(failed)?;
        }
        Ok(UnixSocket { listener, path: path.to_owned() })
    }

    /// Accepts connections `until` its sender goes, and then those that have come before.
    pub(super) async fn accept(self, host: Host, mut until: watch::Receiver<()>) {
        let mut failures = super::listen::Failures::default();
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                _ = until.changed() => break,
            };
            if let Some((stream, _)) = failures.note(accepted).await {
                self.welcome(stream, &host);
            }
        }
        // The system is asked itself, since the runtime may not have noticed them yet.
        use std::os::fd::AsFd;
        let Ok(listener) = self.listener.as_fd().try_clone_to_owned() else { return };
        let listener = std::os::unix::net::UnixListener::from(listener);
        while let Ok((stream, _)) = listener.accept() {
            let stream = stream.set_nonblocking(true).map(|()| stream);
            if let Ok(stream) = stream.and_then(tokio::net::UnixStream::from_std) {
                self.welcome(stream, &host);
            }
        }
    }

    fn welcome(&self, stream: tokio::net::UnixStream, host: &Host) {
        let fd = descriptor(&stream);
        let transport = crate::session::Transport::Unix;
        let addr = format!("{}:0", self.path.display());
        super::listen::serve(stream, host, transport, true, addr.clone(), addr, fd);
    }
}

#[cfg(unix)]
impl Drop for UnixSocket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Platforms without Unix sockets refuse the setting.
#[cfg(not(unix))]
#[derive(Debug)]
pub(super) struct UnixSocket(std::convert::Infallible);

#[cfg(not(unix))]
impl UnixSocket {
    /// Refuses.
    pub(super) fn bind(path: &Path, _: u32) -> Result<Self, Error> {
        let cause = std::io::Error::other("this platform has no Unix sockets");
        Err(Error::Listen { at: path.display().to_string(), cause })
    }

    /// Never called.
    pub(super) async fn accept(self, _: Host, _: watch::Receiver<()>) {
        match self.0 {}
    }
}

/// The system's wish that the process stops: SIGTERM, SIGINT; Ctrl-C elsewhere. From the moment it
/// exists such a signal is heard and does nothing else.
#[cfg(unix)]
#[derive(Debug)]
pub struct StopSignal {
    terminate: Option<tokio::signal::unix::Signal>,
    interrupt: Option<tokio::signal::unix::Signal>,
}

#[cfg(unix)]
impl StopSignal {
    /// Listens from now on. Call it inside a tokio runtime.
    pub fn new() -> Self {
        use tokio::signal::unix::{SignalKind, signal};
        StopSignal {
            terminate: signal(SignalKind::terminate()).ok(),
            interrupt: signal(SignalKind::interrupt()).ok(),
        }
    }

    /// Waits for it.
    pub async fn recv(&mut self) -> Signal {
        async fn one(signal: &mut Option<tokio::signal::unix::Signal>) {
            match signal {
                Some(signal) => drop(signal.recv().await),
                None => std::future::pending().await,
            }
        }
        tokio::select! {
            () = one(&mut self.terminate) => Signal::Terminate,
            () = one(&mut self.interrupt) => Signal::Interrupt,
        }
    }
}

/// The system's wish that the process stops: SIGTERM, SIGINT; Ctrl-C elsewhere. From the moment it
/// exists such a signal is heard and does nothing else.
#[cfg(not(unix))]
#[derive(Debug)]
pub struct StopSignal(());

#[cfg(not(unix))]
impl StopSignal {
    /// Listens from now on. Call it inside a tokio runtime.
    pub fn new() -> Self {
        StopSignal(())
    }

    /// Waits for it.
    pub async fn recv(&mut self) -> Signal {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
        Signal::Interrupt
    }
}

impl Default for StopSignal {
    fn default() -> Self {
        StopSignal::new()
    }
}

/// Lets the process open at least `wanted` files, as far as the system allows; returns how many it
/// may open now.
#[cfg(unix)]
pub fn raise_open_files(wanted: u64) -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let (Some(now), most) = (current, maximum.unwrap_or(u64::MAX)) else { return u64::MAX };
    if now >= wanted {
        return now;
    }
    // Only the superuser may go beyond the maximum; everybody may go up to it.
    for (reached, maximum) in [(wanted, Some(most.max(wanted))), (most.min(wanted), maximum)] {
        let limit = Rlimit { current: Some(reached), maximum };
        if reached > now && setrlimit(Resource::Nofile, limit).is_ok() {
            return reached;
        }
    }
    now
}

/// Elsewhere nothing limits how many files a process opens.
#[cfg(not(unix))]
pub fn raise_open_files(_: u64) -> u64 {
    u64::MAX
}

/// Waits until standard input ends: whoever started the process is gone. A thread of its own
/// reads it, because not every standard input can be waited for.
pub async fn parent_gone() {
    let (gone, wait) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let mut stdin = std::io::stdin().lock();
        let mut buffer = [0; 256];
        while matches!(std::io::Read::read(&mut stdin, &mut buffer), Ok(1..)) {}
        let _ = gone.send(());
    });
    if wait.await.is_err() {
        std::future::pending::<()>().await;
    }
}
