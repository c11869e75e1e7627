//! What changes: the one place through which every effect on the data passes, to the replication stream.

use crate::replication::Stream;

/// Effects as they are stated.
#[derive(Debug, Default)]
pub struct Effects {
    /// How many were stated since the start.
    stated: u64,
    /// The replication stream.
    pub stream: Stream,
    /// What commands say of themselves is kept from listeners (`redis.set_repl`).
    is_withheld: bool,
}

impl Effects {
    /// Whether somebody listens: only then must effects be made.
    #[inline]
    pub fn is_wanted(&self) -> bool {
        self.stream.is_open()
    }

    /// States that database `db` changed as the request of these arguments says.
    #[inline]
    pub fn state<'a, I>(&mut self, db: usize, args: I)
    where
        I: IntoIterator<Item = &'a [u8]>,
        I::IntoIter: Clone,
    {
        self.count();
        if self.is_wanted() {
            self.tell(db, args);
        }
    }

    /// Tells what a command says of itself, if anybody is to hear it.
    #[inline]
    pub fn tell_own<'a, I>(&mut self, db: usize, args: I)
    where
        I: IntoIterator<Item = &'a [u8]>,
        I::IntoIter: Clone,
    {
        if self.own_are_wanted() {
            self.tell(db, args);
        }
    }

    /// Whether somebody listens to what commands say of themselves.
    #[inline]
    pub fn own_are_wanted(&self) -> bool {
        self.is_wanted() && !self.is_withheld
    }

    /// Withholds from now on what commands say of themselves, or no longer. What ends meanwhile is
    /// told all the same.
    pub fn withhold(&mut self, withheld: bool) {
        self.is_withheld = withheld;
    }

    /// Counts a change whose effect is told apart.
    #[inline]
    pub fn count(&mut self) {
        self.stated += 1;
    }

    /// Counts further changes of an effect that is stated as one.
    #[inline]
    pub fn count_more(&mut self, changes: u64) {
        self.stated += changes;
    }

    /// Tells listeners of a request that they are to execute too; no data changed here by it, or
    /// the change is counted.
    pub fn tell<'a, I>(&mut self, db: usize, args: I)
    where
        I: IntoIterator<Item = &'a [u8]>,
        I::IntoIter: Clone,
    {
        self.stream.write(db, args);
    }

    /// What follows belongs together, until [`Effects::end_group`].
    pub fn begin_group(&mut self) {
        self.stream.begin_group();
    }

    /// Ends what [`Effects::begin_group`] began.
    pub fn end_group(&mut self) {
        self.stream.end_group();
    }

    /// How many changes were stated since the start (INFO's changes since the last save).
    pub fn stated(&self) -> u64 {
        self.stated
    }
}
