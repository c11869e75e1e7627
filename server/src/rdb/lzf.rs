//! LZF, the compression of strings in RDB files.
//!
//! A stream of two kinds of pieces. A byte below 32 says that so many bytes and one more follow as
//! they are. Any other begins a repetition: its upper three bits say how long (7: a further byte
//! adds to it), the lower five and the next byte how far back, less one.

/// The longest run of bytes as they are.
const LONGEST_RUN: usize = 32;
/// The shortest and the longest repetition.
const SHORTEST: usize = 3;
const LONGEST: usize = 264;
/// How far back a repetition can point.
const FARTHEST: usize = 1 << 13;
/// What one byte of a compressed string comes to at most: three say a repetition of 264.
pub(super) const MOST_EXPANSION: u64 = LONGEST as u64 / 3;

/// Undoes the compression of a string whose length is told to be `length`, in place of what is in
/// `out`. False: it is damaged. The caller has checked that the length is one that so many bytes can
/// have.
pub(super) fn decompress(input: &[u8], length: usize, out: &mut Vec<u8>) -> bool {
    out.clear();
    out.reserve(length.min(input.len() * 4));
    pieces(input, length, out).is_some() && out.len() == length
}

fn pieces(input: &[u8], length: usize, out: &mut Vec<u8>) -> Option<()> {
    let mut rest = input;
    while let [control, after @ ..] = rest {
        let control = usize::from(*control);
        if control < LONGEST_RUN {
            let (run, after) = after.split_at_checked(control + 1)?;
            out.extend_from_slice(run);
            rest = after;
        } else {
            let (mut repeat, mut after) = (control >> 5, after);
            if repeat == 7 {
                let (more, further) = after.split_first()?;
                repeat += usize::from(*more);
                after = further;
            }
            let (low, after) = after.split_first()?;
            let back = ((control & 31) << 8 | usize::from(*low)) + 1;
            repeat_back(out, back, repeat + 2)?;
            rest = after;
        }
        if out.len() > length {
            return None;
        }
    }
    Some(())
}

fn repeat_back(out: &mut Vec<u8>, back: usize, count: usize) -> Option<()> {
    let start = out.len().checked_sub(back)?;
    // A repetition may repeat what it is writing itself: then what is there doubles each time.
    let mut left = count;
    while left > 0 {
        let step = left.min(out.len() - start);
        out.extend_from_within(start..start + step);
        left -= step;
    }
    Some(())
}

/// A compressor: keeps its table from call to call, so that a call for a short string costs no more
/// than the string.
#[derive(Debug)]
pub(super) struct Compressor {
    /// Where three bytes of this hash were seen last, counted from `base` of that call on.
    seen: Box<[u32; TABLE]>,
    /// Numbers below this are of earlier calls.
    base: u32,
}

const TABLE: usize = 1 << 13;

impl Compressor {
    pub(super) fn new() -> Self {
        Compressor { seen: Box::new([0; TABLE]), base: 1 }
    }

    /// Appends the compressed string; false (and `out` as it was): it would not be shorter by at
    /// least `saving` bytes.
    pub(super) fn compress(&mut self, input: &[u8], saving: usize, out: &mut Vec<u8>) -> bool {
        let (start, Some(room)) = (out.len(), input.len().checked_sub(saving)) else {
            return false;
        };
        let Ok(length) = u32::try_from(input.len()) else { return false };
        if self.base.checked_add(length).is_none() {
            (*self.seen, self.base) = ([0; TABLE], 1);
        }
        let fits = match self.base.checked_add(length) {
            Some(next) => {
                let fits = self.pieces(input, start + room, out);
                self.base = next;
                fits
            }
            None => false,
        };
        if !fits {
            out.truncate(start);
        }
        fits
    }

    fn pieces(&mut self, input: &[u8], most: usize, out: &mut Vec<u8>) -> bool {
        let (mut at, mut literal) = (0, 0);
        while at + SHORTEST <= input.len() {
            let candidate = self.note(input, at);
            let Some(from) = candidate.filter(|from| input[*from..][..3] == input[at..][..3])
            else {
                at += 1;
                continue;
            };
            let length = common(&input[from..], &input[at..]);
            literals(&input[literal..at], out);
            repetition(at - from - 1, length - 2, out);
            at += length;
            literal = at;
            if out.len() > most {
                return false;
            }
            // The end of a repetition is where the next one often begins.
            for inside in at - 2..at {
                if inside + SHORTEST <= input.len() {
                    self.note(input, inside);
                }
            }
        }
        literals(&input[literal..], out);
        out.len() <= most
    }

    /// Notes the three bytes at `at`; returns where their like was seen last, if that is in reach.
    fn note(&mut self, input: &[u8], at: usize) -> Option<usize> {
        let [a, b, c] = [input[at], input[at + 1], input[at + 2]].map(u32::from);
        let hash = (a << 16 | b << 8 | c).wrapping_mul(0x9e37_79b1) >> (32 - TABLE.ilog2());
        let seen = std::mem::replace(&mut self.seen[hash as usize], self.base + at as u32);
        let from = seen.checked_sub(self.base)? as usize;
        (at - from <= FARTHEST).then_some(from)
    }
}

/// How many bytes both begin with in common; as many as a repetition can use.
fn common(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take(LONGEST).take_while(|(a, b)| a == b).count()
}

fn literals(bytes: &[u8], out: &mut Vec<u8>) {
    for run in bytes.chunks(LONGEST_RUN) {
        out.push(run.len() as u8 - 1);
        out.extend_from_slice(run);
    }
}

fn repetition(back: usize, count: usize, out: &mut Vec<u8>) {
    let far = (back >> 8) as u8;
    if count < 7 {
        out.push((count << 5) as u8 | far);
    } else {
        out.extend_from_slice(&[7 << 5 | far, (count - 7) as u8]);
    }
    out.push(back as u8);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decompressed(input: &[u8], length: usize) -> Option<Vec<u8>> {
        let mut out = b"what was there".to_vec();
        decompress(input, length, &mut out).then_some(out)
    }

    proptest! {
        #[test]
        fn what_is_compressed_comes_back(
            parts in prop::collection::vec((prop::collection::vec(any::<u8>(), 1..20), 1..60usize), 0..20),
        ) {
            let input: Vec<u8> = parts.iter().flat_map(|(part, times)| part.repeat(*times)).collect();
            let (mut compressor, mut out) = (Compressor::new(), b"before".to_vec());
            for _ in 0..3 {
                out.truncate(6);
                if compressor.compress(&input, 4, &mut out) {
                    prop_assert!(out.len() - 6 + 4 <= input.len());
                    prop_assert_eq!(decompressed(&out[6..], input.len()), Some(input.clone()));
                } else {
                    prop_assert_eq!(&out, b"before");
                }
            }
        }

        #[test]
        fn damaged_streams_are_refused_or_of_the_length_told(
            input in prop::collection::vec(any::<u8>(), 0..200),
            length in 0..4000usize,
        ) {
            let out = decompressed(&input, length);
            prop_assert!(out.is_none_or(|out| out.len() == length));
        }
    }

    #[test]
    fn long_repetitions_are_short() {
        let (mut compressor, mut out) = (Compressor::new(), Vec::new());
        assert!(compressor.compress(&[b'x'; 10_000], 4, &mut out));
        assert!(out.len() < 130, "{}", out.len());
        assert_eq!(decompressed(&out, 10_000), Some(vec![b'x'; 10_000]));
        assert!(out.len() as u64 * MOST_EXPANSION >= 10_000);
    }

    #[test]
    fn the_table_is_of_use_again_after_four_gigabytes() {
        let mut compressor = Compressor::new();
        compressor.base = u32::MAX - 100;
        for _ in 0..3 {
            let mut out = Vec::new();
            assert!(compressor.compress(&[b'x'; 60], 4, &mut out));
            assert_eq!(decompressed(&out, 60), Some(vec![b'x'; 60]));
        }
        assert!(compressor.base < 200);
    }
}
