//! All that differs from platform to platform: Unix sockets, signals, descriptors, stdin.

use std::path::Path;

use super::listen::Host;
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
        use std::os::unix::fs::PermissionsExt;
        let failed = |cause| Error::Listen { at: path.display().to_string(), cause };
        // A socket that an earlier server left behind answers nobody.
        if std::os::unix::net::UnixStream::connect(path).is_err() {
            let _ = std::fs::remove_file(path);
        }
        let listener = tokio::net::UnixListener::bind(path).map_err(failed)?;
        if permissions != 0 {
            let permissions = std::fs::Permissions::from_mode(permissions);
            std::fs::set_permissions(path, permissions).map_err(failed)?;
        }
        Ok(UnixSocket { listener, path: path.to_owned() })
    }

    /// Accepts connections until its task is dropped.
    pub(super) async fn accept(self, host: Host) {
        let addr = format!("{}:0", self.path.display());
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let fd = descriptor(&stream);
                    let transport = crate::session::Transport::Unix;
                    super::listen::serve(stream, &host, transport, addr.clone(), addr.clone(), fd);
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                }
            }
        }
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
    pub(super) async fn accept(self, _: Host) {
        match self.0 {}
    }
}

/// Waits until the system asks the process to stop (SIGTERM, SIGINT; Ctrl-C elsewhere).
#[cfg(unix)]
pub async fn stop_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut term), Ok(mut int)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
}

/// Waits until the system asks the process to stop (SIGTERM, SIGINT; Ctrl-C elsewhere).
#[cfg(not(unix))]
pub async fn stop_signal() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
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
