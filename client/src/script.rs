//! The atomic steps, each one Lua script, so that no session is ever seen between two of them.
//!
//! A script names all its keys, which lie in one slot, and reads the server's clock, never ours.

/// A script's text, after what all begin with.
macro_rules! with_prologue {
    ($name:literal) => {
        Script::new(concat!(include_str!("scripts/prologue.lua"), include_str!($name)))
    };
}

/// A script and the name under which a server that has seen it knows it.
#[derive(Debug)]
pub(crate) struct Script {
    pub(crate) text: &'static str,
    pub(crate) sha: String,
}

impl Script {
    fn new(text: &'static str) -> Script {
        Script { text, sha: sha1_smol::Sha1::from(text).digest().to_string() }
    }
}

/// All scripts of a store.
#[derive(Debug)]
pub(crate) struct Scripts {
    pub(crate) slide: Script,
    pub(crate) look: Script,
    pub(crate) create: Script,
    pub(crate) get: Script,
    pub(crate) write: Script,
    pub(crate) incr: Script,
    pub(crate) take: Script,
    pub(crate) move_to: Script,
    pub(crate) destroy: Script,
    pub(crate) sessions_of: Script,
    pub(crate) sweep: Script,
    #[cfg(feature = "tower-sessions")]
    pub(crate) save_whole: Script,
}

impl Scripts {
    pub(crate) fn new() -> Scripts {
        Scripts {
            slide: with_prologue!("scripts/slide.lua"),
            look: with_prologue!("scripts/look.lua"),
            create: with_prologue!("scripts/create.lua"),
            get: with_prologue!("scripts/get.lua"),
            write: with_prologue!("scripts/write.lua"),
            incr: with_prologue!("scripts/incr.lua"),
            take: with_prologue!("scripts/take.lua"),
            move_to: with_prologue!("scripts/move.lua"),
            destroy: with_prologue!("scripts/destroy.lua"),
            sessions_of: Script::new(include_str!("scripts/sessions_of.lua")),
            sweep: Script::new(include_str!("scripts/sweep.lua")),
            #[cfg(feature = "tower-sessions")]
            save_whole: Script::new(include_str!("scripts/save_whole.lua")),
        }
    }
}
