//! A replication ID: the name of one history of writes.

use std::fmt;

/// 40 hexadecimal digits. Two servers whose data come from the same writes share it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ReplicationId([u8; ReplicationId::LENGTH]);

impl ReplicationId {
    /// How many digits it has.
    pub const LENGTH: usize = 40;

    /// What stands where there is none.
    pub const NONE: ReplicationId = ReplicationId([b'0'; ReplicationId::LENGTH]);

    /// A new one.
    pub fn random(rng: &mut fastrand::Rng) -> Self {
        let mut digits = [0; ReplicationId::LENGTH];
        digits.fill_with(|| b"0123456789abcdef"[rng.usize(..16)]);
        ReplicationId(digits)
    }

    /// Reads one as it stands on the wire; None if it is not one.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let digits: [u8; ReplicationId::LENGTH] = text.to_ascii_lowercase().try_into().ok()?;
        digits.iter().all(u8::is_ascii_hexdigit).then_some(ReplicationId(digits))
    }

    /// Its digits.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for ReplicationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Debug for ReplicationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_as_it_is_written() {
        let id = ReplicationId::random(&mut fastrand::Rng::with_seed(1));
        assert_eq!(ReplicationId::parse(id.to_string().as_bytes()), Some(id));
        assert_eq!(ReplicationId::parse(id.to_string().to_uppercase().as_bytes()), Some(id));
        for bad in ["", "?", &"g".repeat(40), &"0".repeat(41)] {
            assert_eq!(ReplicationId::parse(bad.as_bytes()), None, "{bad}");
        }
    }
}
