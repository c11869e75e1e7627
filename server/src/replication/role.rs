//! What a server is to others: a primary, or a replica of one.

use crate::clock::Millis;

/// What a server is.
#[derive(Debug, Default)]
pub enum Role {
    /// It decides by itself what its data are.
    #[default]
    Primary,
    /// Its data are another server's.
    Replica(Upstream),
}

/// A replica's primary, and how the link to it stands.
#[derive(Debug)]
pub struct Upstream {
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the link stands.
    pub stage: LinkStage,
    /// Whether the data at hand are the primary's up to the stream's offset, so that the stream can
    /// go on from there.
    pub can_resume: bool,
    /// The database that the primary's stream had selected there.
    pub db: usize,
    /// When something came over the link last.
    pub last_io: Option<Millis>,
    /// Since when the link has been down; None: there was none since this server became a replica.
    pub down_since: Option<Millis>,
    /// A copy of the data is under way: its size, if it is known, and how much of it has come.
    pub copied: (Option<u64>, u64),
}

/// How a replica's link to its primary stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkStage {
    /// It is to be connected.
    Connect,
    /// It is being connected.
    Connecting,
    /// The two introduce themselves.
    Handshake,
    /// A copy of the data comes.
    Copy,
    /// The stream comes.
    Connected,
}

impl LinkStage {
    /// Its name as ROLE answers it.
    pub fn name(self) -> &'static str {
        match self {
            LinkStage::Connect => "connect",
            LinkStage::Connecting => "connecting",
            LinkStage::Handshake => "handshake",
            LinkStage::Copy => "sync",
            LinkStage::Connected => "connected",
        }
    }
}

impl Upstream {
    /// A primary that is still to be connected to.
    pub fn new(host: String, port: u16) -> Self {
        Upstream {
            host,
            port,
            stage: LinkStage::Connect,
            can_resume: false,
            db: 0,
            last_io: None,
            down_since: None,
            copied: (None, 0),
        }
    }

    /// Whether the stream comes.
    pub fn is_connected(&self) -> bool {
        self.stage == LinkStage::Connected
    }

    /// Whether a copy of the data comes.
    pub fn is_copying(&self) -> bool {
        self.stage == LinkStage::Copy
    }
}

impl Role {
    /// The primary, of a replica.
    pub fn upstream(&self) -> Option<&Upstream> {
        match self {
            Role::Primary => None,
            Role::Replica(upstream) => Some(upstream),
        }
    }

    /// The primary, of a replica, to change how things stand.
    pub fn upstream_mut(&mut self) -> Option<&mut Upstream> {
        match self {
            Role::Primary => None,
            Role::Replica(upstream) => Some(upstream),
        }
    }

    /// Whether it is a replica.
    pub fn is_replica(&self) -> bool {
        matches!(self, Role::Replica(_))
    }
}
