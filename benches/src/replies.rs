//! Counts whole replies in a stream of bytes, without keeping them.

/// Where in a reply the stream stands.
#[derive(Debug, Default)]
pub(crate) struct Counter {
    /// Elements that still belong to the reply at hand.
    open: u64,
    /// Bytes of a bulk that are still to come, its line end included.
    skip: usize,
    /// The beginning of a line whose end has not come yet.
    line: Vec<u8>,
    /// Replies that were errors.
    pub(crate) errors: u64,
}

impl Counter {
    /// Takes in `bytes`; returns how many replies they complete.
    pub(crate) fn take_in(&mut self, mut bytes: &[u8]) -> u64 {
        let mut whole = 0;
        while !bytes.is_empty() {
            if self.skip > 0 {
                let skipped = self.skip.min(bytes.len());
                self.skip -= skipped;
                bytes = &bytes[skipped..];
                if self.skip == 0 {
                    whole += self.element(0);
                }
                continue;
            }
            let Some(end) = memchr::memchr(b'\n', bytes) else {
                self.line.extend_from_slice(bytes);
                break;
            };
            let (line, rest) = bytes.split_at(end + 1);
            bytes = rest;
            whole += if self.line.is_empty() {
                self.header(line)
            } else {
                let mut whole_line = std::mem::take(&mut self.line);
                whole_line.extend_from_slice(line);
                self.header(&whole_line)
            };
        }
        whole
    }

    fn header(&mut self, line: &[u8]) -> u64 {
        let number = || {
            let digits = &line[1..line.len() - 2];
            std::str::from_utf8(digits).ok().and_then(|text| text.parse::<i64>().ok()).unwrap_or(-1)
        };
        match line[0] {
            b'$' => match number() {
                length if length >= 0 => {
                    self.skip = length as usize + 2;
                    0
                }
                _ => self.element(0),
            },
            b'*' | b'~' | b'>' => self.element(number().max(0) as u64),
            b'%' => self.element(2 * number().max(0) as u64),
            b'-' => {
                self.errors += 1;
                self.element(0)
            }
            _ => self.element(0),
        }
    }

    /// One element has come, which has `inner` elements of its own.
    fn element(&mut self, inner: u64) -> u64 {
        self.open = self.open.saturating_sub(1) + inner;
        u64::from(self.open == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_counted_however_they_are_split() {
        let stream: &[u8] =
            b"+OK\r\n:1\r\n$-1\r\n*2\r\n$1\r\na\r\n*1\r\n$4\r\n\r\n\r\n\r\n-ERR no\r\n*0\r\n%1\r\n+a\r\n:1\r\n$0\r\n\r\n";
        for piece in 1..=stream.len() {
            let mut counter = Counter::default();
            let whole: u64 = stream.chunks(piece).map(|bytes| counter.take_in(bytes)).sum();
            assert_eq!((whole, counter.errors), (8, 1), "in pieces of {piece}");
        }
    }
}
