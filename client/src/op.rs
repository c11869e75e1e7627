//! The operations of a store, as counters and traces name them, and whether one may happen twice.

/// One operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Ping,
    Create,
    Load,
    Touch,
    Get,
    Set,
    Remove,
    Incr,
    Update,
    Take,
    Move,
    Destroy,
    List,
    Sweep,
}

impl Op {
    /// Its name in counters and traces.
    #[cfg(any(feature = "metrics", feature = "tracing"))]
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Op::Ping => "ping",
            Op::Create => "create",
            Op::Load => "load",
            Op::Touch => "touch",
            Op::Get => "get",
            Op::Set => "set",
            Op::Remove => "remove",
            Op::Incr => "incr",
            Op::Update => "update",
            Op::Take => "take_flash",
            Op::Move => "regenerate",
            Op::Destroy => "destroy",
            Op::List => "sessions_of",
            Op::Sweep => "destroy_all_for",
        }
    }

    /// Whether it may be carried out twice when its first answer was lost: the second time changes
    /// nothing, or makes out that the first time was.
    pub(crate) const fn may_repeat(self) -> bool {
        !matches!(self, Op::Incr | Op::Update | Op::Take)
    }
}
