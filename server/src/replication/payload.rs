//! The copy of the data that a full synchronization sends, as it stands on the wire: `$<size>`, or,
//! where the size is not known before, `$EOF:<mark>` and the mark again behind the last byte.

use memchr::memmem;

/// A mark's length.
pub const MARK: usize = 40;

/// Where a copy of the data ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    /// After so many more bytes.
    Sized(u64),
    /// At this mark; `held` may be its beginning.
    Marked {
        /// The mark.
        mark: [u8; MARK],
        /// The last bytes received, fewer than a mark has.
        held: Vec<u8>,
    },
}

/// What [`Payload::take_in`] made of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    /// How many of them belonged to the payload.
    pub used: usize,
    /// Whether it is complete.
    pub is_complete: bool,
}

impl Payload {
    /// Reads the header line, without its line end; None if it is none.
    pub fn parse(line: &[u8]) -> Option<Self> {
        let rest = line.strip_prefix(b"$")?;
        if let Some(mark) = rest.strip_prefix(b"EOF:") {
            let mark = mark.try_into().ok()?;
            return Some(Payload::Marked { mark, held: Vec::new() });
        }
        let digits = !rest.is_empty() && rest.iter().all(u8::is_ascii_digit);
        let size = std::str::from_utf8(rest).ok().filter(|_| digits)?.parse().ok()?;
        Some(Payload::Sized(size))
    }

    /// Its size, where the header says it.
    pub fn size(&self) -> Option<u64> {
        match self {
            Payload::Sized(left) => Some(*left),
            Payload::Marked { .. } => None,
        }
    }

    /// Takes in what has come next and shows `sink` the bytes of the copy itself.
    pub fn take_in(&mut self, bytes: &[u8], sink: &mut dyn FnMut(&[u8])) -> Taken {
        match self {
            Payload::Sized(left) => {
                let used = bytes.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= used as u64;
                sink(&bytes[..used]);
                Taken { used, is_complete: *left == 0 }
            }
            Payload::Marked { mark, held } => take_marked(mark, held, bytes, sink),
        }
    }
}

fn take_marked(
    mark: &[u8; MARK],
    held: &mut Vec<u8>,
    bytes: &[u8],
    sink: &mut dyn FnMut(&[u8]),
) -> Taken {
    // The mark may begin in what was held back: that and as much again is looked at together.
    let before = held.len();
    held.extend_from_slice(&bytes[..bytes.len().min(MARK)]);
    if let Some(at) = memmem::find(held, mark) {
        sink(&held[..at]);
        return Taken { used: at + MARK - before, is_complete: true };
    }
    if bytes.len() <= MARK {
        let settled = held.len().saturating_sub(MARK - 1);
        sink(&held[..settled]);
        held.drain(..settled);
        return Taken { used: bytes.len(), is_complete: false };
    }
    // No mark begins in what was held.
    sink(&held[..before]);
    held.clear();
    if let Some(at) = memmem::find(bytes, mark) {
        sink(&bytes[..at]);
        return Taken { used: at + MARK, is_complete: true };
    }
    let settled = bytes.len() - (MARK - 1);
    sink(&bytes[..settled]);
    held.extend_from_slice(&bytes[settled..]);
    Taken { used: bytes.len(), is_complete: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_strictly() {
        assert_eq!(Payload::parse(b"$12"), Some(Payload::Sized(12)));
        let mark = [b'a'; MARK];
        let line = [b"$EOF:".as_slice(), &mark].concat();
        assert_eq!(Payload::parse(&line), Some(Payload::Marked { mark, held: Vec::new() }));
        for bad in [&b"$"[..], b"$-1", b"$+1", b"12", b"$EOF:abc", b"+OK", b"$99999999999999999999"]
        {
            assert_eq!(Payload::parse(bad), None, "{}", String::from_utf8_lossy(bad));
        }
    }

    /// The payload's bytes, and what was left behind its end, when `wire` comes in random pieces.
    fn split(mut payload: Payload, wire: &[u8], rng: &mut fastrand::Rng) -> (Vec<u8>, Vec<u8>) {
        let (mut found, mut at) = (Vec::new(), 0);
        while at < wire.len() {
            let piece = &wire[at..wire.len().min(at + rng.usize(1..90))];
            let taken = payload.take_in(piece, &mut |bytes| found.extend_from_slice(bytes));
            at += taken.used;
            if taken.is_complete {
                return (found, wire[at..].to_vec());
            }
            assert_eq!(taken.used, piece.len(), "what is not the end is taken whole");
        }
        panic!("the end was not found");
    }

    #[test]
    fn a_payload_ends_where_it_ends_however_it_is_cut() {
        let mut rng = fastrand::Rng::with_seed(1);
        for round in 0..3_000 {
            let mark: [u8; MARK] = std::array::from_fn(|_| rng.u8(b'a'..=b'b'));
            // Pieces of the mark are all over the data.
            let mut data = Vec::new();
            for _ in 0..rng.usize(0..20) {
                data.extend_from_slice(&mark[..rng.usize(0..MARK)]);
                data.push(b'x');
            }
            let rest = vec![b'r'; rng.usize(0..50)];
            let marked = [&data[..], &mark, &rest].concat();
            let payload = Payload::Marked { mark, held: Vec::new() };
            let found = split(payload, &marked, &mut rng);
            assert!(found == (data.clone(), rest.clone()), "marked, round {round}");
            if !data.is_empty() {
                let sized = [&data[..], &rest].concat();
                let found = split(Payload::Sized(data.len() as u64), &sized, &mut rng);
                assert!(found == (data, rest), "sized, round {round}");
            }
        }
    }
}
