//! Packed pairs: a hash's fields in one allocation, in the order of their arrival.
//!
//! Each entry: a length of the field, a length of the value, the deadline if the length says that
//! there is one, then field and value. Lengths are LEB128 numbers.

/// Pairs with optional deadlines, one behind the other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Packed {
    bytes: Vec<u8>,
    len: usize,
}

/// A pair where it lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pair<'a> {
    pub(super) field: &'a [u8],
    pub(super) value: &'a [u8],
    /// 0 = none.
    pub(super) deadline: u64,
    start: usize,
    end: usize,
}

impl Packed {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Pair<'_>> {
        let mut at = 0;
        std::iter::from_fn(move || {
            let pair = self.pair(at)?;
            at = pair.end;
            Some(pair)
        })
    }

    pub(super) fn find(&self, field: &[u8]) -> Option<Pair<'_>> {
        self.iter().find(|pair| pair.field == field)
    }

    /// Adds a pair, or gives the field's pair this value and deadline where it lies.
    pub(super) fn set(&mut self, field: &[u8], value: &[u8], deadline: u64) -> bool {
        let place = self.find(field).map(|pair| (pair.start, pair.end, pair.value.len()));
        match place {
            None => {
                write_pair(&mut self.bytes, field, value, deadline);
                self.len += 1;
                true
            }
            Some((start, end, old)) => {
                let mut head = [0; 32];
                let length = head_of(&mut head, field, value, deadline);
                let needs = length + field.len() + value.len();
                if needs == end - start && old == value.len() {
                    self.bytes[end - old..end].copy_from_slice(value);
                    self.bytes[start..start + length].copy_from_slice(&head[..length]);
                } else {
                    let mut pair = Vec::with_capacity(needs);
                    write_pair(&mut pair, field, value, deadline);
                    self.bytes.splice(start..end, pair);
                }
                false
            }
        }
    }

    pub(super) fn remove(&mut self, field: &[u8]) -> bool {
        let Some((start, end)) = self.find(field).map(|pair| (pair.start, pair.end)) else {
            return false;
        };
        self.bytes.drain(start..end);
        self.len -= 1;
        if self.bytes.capacity() > 64 && self.bytes.len() * 2 < self.bytes.capacity() {
            self.bytes.shrink_to_fit();
        }
        true
    }

    fn pair(&self, start: usize) -> Option<Pair<'_>> {
        if start >= self.bytes.len() {
            return None;
        }
        let mut at = start;
        let field = read_number(&self.bytes, &mut at);
        let value = read_number(&self.bytes, &mut at);
        let mut deadline = 0;
        if field & 1 == 1 {
            let bytes = self.bytes[at..at + 8].try_into().unwrap_or_default();
            deadline = u64::from_le_bytes(bytes);
            at += 8;
        }
        let middle = at + (field >> 1) as usize;
        let end = middle + value as usize;
        let (field, value) = (&self.bytes[at..middle], &self.bytes[middle..end]);
        Some(Pair { field, value, deadline, start, end })
    }
}

/// Writes what stands before field and value; returns its length.
fn head_of(head: &mut [u8; 32], field: &[u8], value: &[u8], deadline: u64) -> usize {
    let mut at = 0;
    write_number(head, &mut at, (field.len() as u64) << 1 | u64::from(deadline != 0));
    write_number(head, &mut at, value.len() as u64);
    if deadline != 0 {
        head[at..at + 8].copy_from_slice(&deadline.to_le_bytes());
        at += 8;
    }
    at
}

fn write_pair(out: &mut Vec<u8>, field: &[u8], value: &[u8], deadline: u64) {
    let mut head = [0; 32];
    let length = head_of(&mut head, field, value, deadline);
    // Sessions are written once and read often: little room is left for what may never come.
    let needs = length + field.len() + value.len();
    if out.capacity() - out.len() < needs {
        out.reserve_exact(needs.max(out.len() / 16));
    }
    out.extend_from_slice(&head[..length]);
    out.extend_from_slice(field);
    out.extend_from_slice(value);
}

fn write_number(out: &mut [u8; 32], at: &mut usize, mut number: u64) {
    while number >= 0x80 {
        out[*at] = number as u8 | 0x80;
        number >>= 7;
        *at += 1;
    }
    out[*at] = number as u8;
    *at += 1;
}

#[inline]
fn read_number(bytes: &[u8], at: &mut usize) -> u64 {
    let (mut number, mut shift) = (0, 0);
    loop {
        let byte = bytes[*at];
        *at += 1;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return number;
        }
        shift += 7;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_keep_their_places() {
        let mut packed = Packed::default();
        let long = vec![b'v'; 300];
        assert!(packed.set(b"a", b"1", 0));
        assert!(packed.set(b"b", &long, 77));
        assert!(packed.set(b"c", b"", 0));
        assert!(!packed.set(b"a", b"22", 5));
        assert!(!packed.set(b"a", b"33", 6));
        let seen: Vec<_> = packed.iter().map(|p| (p.field, p.value, p.deadline)).collect();
        assert_eq!(seen, [(&b"a"[..], &b"33"[..], 6), (b"b", &long, 77), (b"c", b"", 0)]);
        assert!(packed.remove(b"b") && !packed.remove(b"b"));
        assert_eq!(packed.len(), 2);
        assert_eq!(packed.find(b"c").map(|p| p.value), Some(&b""[..]));
    }
}
