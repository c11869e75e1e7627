//! Where the data at hand stand in a history: files and copies say it, and whoever loads one can go
//! on from there.

use crate::replication::Role;
use crate::state::Server;

/// What a file says of it. None: no stream says what the data are.
pub(in super::super) fn place(server: &Server) -> Option<[(&'static str, String); 3]> {
    let (replication, stream) = (&server.replication, &server.effects.stream);
    let db = match &replication.role {
        Role::Primary => stream.backlog().map(|_| stream.db().unwrap_or(0)),
        Role::Replica(upstream) => upstream.can_resume.then_some(upstream.db),
    };
    Some([
        // What comes next in the stream may not say for which database it is.
        ("repl-stream-db", db?.to_string()),
        ("repl-id", replication.history.id().to_string()),
        ("repl-offset", stream.offset().to_string()),
    ])
}
