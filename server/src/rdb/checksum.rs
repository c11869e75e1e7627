//! The checksum of files and DUMP payloads: a CRC of 64 bits with Redis's own polynomial.

use crc::{CRC_64_REDIS, Crc, Digest, Table};

/// Sixteen tables take sixteen bytes a step.
static CRC: Crc<u64, Table<16>> = Crc::<u64, Table<16>>::new(&CRC_64_REDIS);

/// The checksum of bytes that come in pieces.
#[derive(Clone)]
pub struct Checksum(Digest<'static, u64, Table<16>>);

impl Checksum {
    /// Of nothing.
    pub fn new() -> Self {
        Checksum(CRC.digest())
    }

    /// Takes more bytes in.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The checksum of all bytes so far.
    pub fn value(&self) -> u64 {
        self.0.clone().finalize()
    }

    /// The checksum of these bytes.
    pub fn of(bytes: &[u8]) -> u64 {
        CRC.checksum(bytes)
    }
}

impl Default for Checksum {
    fn default() -> Self {
        Checksum::new()
    }
}

impl std::fmt::Debug for Checksum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Checksum").field(&self.value()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_redis_own() {
        // The value that Redis's source names for this text.
        assert_eq!(Checksum::of(b"123456789"), 0xe9c6_d914_c4b8_d9ca);
        let mut pieces = Checksum::new();
        pieces.update(b"1234");
        pieces.update(b"56789");
        assert_eq!(pieces.value(), 0xe9c6_d914_c4b8_d9ca);
    }
}
