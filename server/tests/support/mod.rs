//! An engine without sockets, for tests: commands in, replies out, its clock standing still.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use cloakroom::commands::Session;
use cloakroom::engine::{Engine, Flow, request};
use cloakroom::persistence::{self, Disk, SystemDisk};
use cloakroom::session::{Client, Identity, Transport};
use cloakroom::{Clock, Config, Error};

/// The present: some day in 2027.
pub(crate) const NOW: u64 = 1_800_000_000_000;

/// An engine, and the one session that talks to it.
pub(crate) struct Node {
    pub(crate) engine: Arc<Engine>,
    pub(crate) disk: Arc<dyn Disk>,
    session: Session,
}

#[allow(dead_code, reason = "each test uses what it needs")]
impl Node {
    /// An engine that keeps its file in this folder, after what is there has been loaded.
    pub(crate) fn start(folder: &Path, change: impl FnOnce(&mut Config)) -> Result<Node, Error> {
        Node::start_on(folder, Arc::new(SystemDisk), change)
    }

    /// [`Node::start`] on another disk.
    pub(crate) fn start_on(
        folder: &Path,
        disk: Arc<dyn Disk>,
        change: impl FnOnce(&mut Config),
    ) -> Result<Node, Error> {
        let mut config = Config {
            dir: folder.display().to_string(),
            enable_debug_command: "yes".to_owned(),
            enable_protected_configs: "yes".to_owned(),
            ..Config::default()
        };
        change(&mut config);
        let engine = Engine::new(config, Arc::new(Clock::frozen_at(NOW)));
        let engine = Arc::new(engine.expect("the settings are right"));
        persistence::load_at_start(&engine, &mut (), &AtomicBool::new(false))?;
        let client = Client::new(1, Transport::Embedded, String::new(), String::new(), -1, NOW);
        let session = Session::new(Arc::new(client), Identity::stranger(true));
        Ok(Node { engine, disk, session })
    }

    /// Executes a command; the reply as on the wire.
    pub(crate) fn call<A: AsRef<[u8]>>(&mut self, args: impl IntoIterator<Item = A>) -> String {
        let request = request(args);
        let (engine, mut out) = (Arc::clone(&self.engine), Vec::new());
        let mut turn = engine.turn();
        let flow = turn.execute(&mut self.session, request.args(), &mut out);
        if let Flow::Act(action) = flow {
            persistence::act(&mut turn, &*self.disk, &self.session, action, &mut out);
        }
        String::from_utf8_lossy(&out).into_owned()
    }

    /// Executes a command whose words are separated by blanks.
    pub(crate) fn say(&mut self, line: &str) -> String {
        self.call(line.split(' '))
    }

    /// Tells equal data with equal deadlines: equal.
    pub(crate) fn digest(&mut self) -> String {
        self.engine.turn().as_server(|ctx| cloakroom::commands::digest(ctx))
    }

    /// A field of INFO.
    pub(crate) fn info(&mut self, field: &str) -> String {
        let text = self.say("INFO everything");
        let start = format!("{field}:");
        let found = text.lines().find_map(|line| line.strip_prefix(start.as_str()));
        found.unwrap_or_else(|| panic!("INFO has no {field}")).to_owned()
    }
}

/// A folder that goes with its value.
pub(crate) struct Folder(std::path::PathBuf);

#[allow(dead_code, reason = "each test uses what it needs")]
impl Folder {
    /// An empty one; `name` tells it from those of other tests.
    pub(crate) fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("cloakroom-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).expect("a folder can be made");
        Folder(path)
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
