//! `notify-keyspace-events`: which events are published, by letters.

/// A set of event classes and channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NotifyFlags(u32);

impl NotifyFlags {
    /// `K`: channels by key.
    pub const KEYSPACE: NotifyFlags = NotifyFlags(1);
    /// `E`: channels by event.
    pub const KEYEVENT: NotifyFlags = NotifyFlags(1 << 1);
    /// `g`: DEL, EXPIRE, RENAME...
    pub const GENERIC: NotifyFlags = NotifyFlags(1 << 2);
    /// `$`: strings.
    pub const STRING: NotifyFlags = NotifyFlags(1 << 3);
    /// `l`: lists.
    pub const LIST: NotifyFlags = NotifyFlags(1 << 4);
    /// `s`: sets.
    pub const SET: NotifyFlags = NotifyFlags(1 << 5);
    /// `h`: hashes.
    pub const HASH: NotifyFlags = NotifyFlags(1 << 6);
    /// `z`: sorted sets.
    pub const ZSET: NotifyFlags = NotifyFlags(1 << 7);
    /// `x`: keys whose time is over.
    pub const EXPIRED: NotifyFlags = NotifyFlags(1 << 8);
    /// `e`: keys evicted for memory.
    pub const EVICTED: NotifyFlags = NotifyFlags(1 << 9);
    /// `t`: streams.
    pub const STREAM: NotifyFlags = NotifyFlags(1 << 10);
    /// `d`: module types.
    pub const MODULE: NotifyFlags = NotifyFlags(1 << 11);
    /// `n`: new keys.
    pub const NEW: NotifyFlags = NotifyFlags(1 << 12);
    /// `m`: reads that found nothing.
    pub const KEY_MISS: NotifyFlags = NotifyFlags(1 << 13);

    /// What `A` stands for: all classes but new keys and misses.
    const ALL: u32 = 0b1111_1111_1100;

    const LETTERS: [(u8, NotifyFlags); 14] = [
        (b'g', NotifyFlags::GENERIC),
        (b'$', NotifyFlags::STRING),
        (b'l', NotifyFlags::LIST),
        (b's', NotifyFlags::SET),
        (b'h', NotifyFlags::HASH),
        (b'z', NotifyFlags::ZSET),
        (b'x', NotifyFlags::EXPIRED),
        (b'e', NotifyFlags::EVICTED),
        (b't', NotifyFlags::STREAM),
        (b'd', NotifyFlags::MODULE),
        (b'n', NotifyFlags::NEW),
        (b'K', NotifyFlags::KEYSPACE),
        (b'E', NotifyFlags::KEYEVENT),
        (b'm', NotifyFlags::KEY_MISS),
    ];

    /// Whether all of `other` are in this set.
    pub fn contains(self, other: NotifyFlags) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether events of this class go anywhere.
    #[inline]
    pub fn wants(self, class: NotifyFlags) -> bool {
        self.0 & (NotifyFlags::KEYSPACE.0 | NotifyFlags::KEYEVENT.0) != 0 && self.contains(class)
    }

    /// Reads letters in any order; None: one of them means nothing.
    pub fn parse(letters: &str) -> Option<NotifyFlags> {
        let mut flags = 0;
        for letter in letters.bytes() {
            flags |= match letter {
                b'A' => NotifyFlags::ALL,
                _ => NotifyFlags::LETTERS.iter().find(|(known, _)| *known == letter)?.1.0,
            };
        }
        Some(NotifyFlags(flags))
    }

    /// Letters in Redis's order, `A` where all are in the set.
    pub fn letters(self) -> String {
        let all = self.0 & NotifyFlags::ALL == NotifyFlags::ALL;
        let mut letters = String::from(if all { "A" } else { "" });
        for (letter, flag) in NotifyFlags::LETTERS {
            // As in Redis, new keys are not shown beside `A`.
            let hidden = flag.0 & NotifyFlags::ALL != 0 || flag == NotifyFlags::NEW;
            if self.contains(flag) && !(all && hidden) {
                letters.push(char::from(letter));
            }
        }
        letters
    }
}

#[cfg(test)]
mod tests {
    use super::NotifyFlags;

    #[test]
    fn letters_are_normalised_as_in_redis() {
        for (given, shown) in
            [("", ""), ("KEA", "AKE"), ("Ex", "xE"), ("AKEmn", "AKEm"), ("Kn", "nK")]
        {
            assert_eq!(NotifyFlags::parse(given).map(NotifyFlags::letters).as_deref(), Some(shown));
        }
        assert_eq!(NotifyFlags::parse("KQ"), None);
    }
}
