//! Tables in tables, built from the outside inwards without a call in a call: what a text nests
//! costs memory, never the thread's stack.

use mlua::{Lua, Table, Value};

/// How deep tables may nest where no setting says less: each open one is lent by the interpreter,
/// which lends but some thousand values at once.
pub(super) const DEEPEST: usize = 4000;

/// A table that is being filled.
pub(super) struct Open {
    pub(super) table: Table,
    place: Place,
}

/// Where the next value goes.
enum Place {
    /// Behind so many elements.
    Element(usize),
    /// Under a key.
    Key(Value),
    /// It is a key itself.
    NoKey,
}

impl Open {
    pub(super) fn array(lua: &Lua) -> mlua::Result<Self> {
        Ok(Open { table: lua.create_table()?, place: Place::Element(0) })
    }

    pub(super) fn map(lua: &Lua) -> mlua::Result<Self> {
        Ok(Open { table: lua.create_table()?, place: Place::NoKey })
    }

    pub(super) fn is_map(&self) -> bool {
        !matches!(self.place, Place::Element(_))
    }

    /// Takes an element; of a map, a key and then its value.
    pub(super) fn put(&mut self, value: Value) -> mlua::Result<()> {
        match std::mem::replace(&mut self.place, Place::NoKey) {
            Place::Element(before) => {
                self.place = Place::Element(before + 1);
                self.table.raw_set(before + 1, value)
            }
            Place::Key(key) => self.table.raw_set(key, value),
            Place::NoKey => {
                self.place = Place::Key(value);
                Ok(())
            }
        }
    }
}
