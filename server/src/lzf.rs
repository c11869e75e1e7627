//! LZF, the compression of strings in RDB files and, where that is wanted, in the keyspace.
//!
//! A stream of two kinds of pieces. A byte below 32 says that so many bytes and one more follow as
//! they are. Any other begins a repetition: its upper three bits say how long (7: a further byte
//! adds to it), the lower five and the next byte how far back, less one.
//!
//! Beyond Redis's LZF, strings that resemble each other can share a *dictionary*: bytes that are taken
//! to stand before each of them, so that their first repetitions have something to point back to.

/// The longest run of bytes as they are.
const LONGEST_RUN: usize = 32;
/// The shortest and the longest repetition.
const SHORTEST: usize = 3;
const LONGEST: usize = 264;
/// How far back a repetition can point.
const FARTHEST: usize = 1 << 13;
/// What one byte of a compressed string comes to at most: three say a repetition of 264.
pub(crate) const MOST_EXPANSION: u64 = LONGEST as u64 / 3;

/// Undoes the compression of a string whose length is told to be `length`, in place of what is in
/// `out`. False: it is damaged. The caller has checked that the length is one that so many bytes can
/// have.
pub(crate) fn decompress(input: &[u8], length: usize, out: &mut Vec<u8>) -> bool {
    decompress_with(&[], input, length, out)
}

/// The same for a string that was compressed with this dictionary.
pub(crate) fn decompress_with(
    dictionary: &[u8],
    input: &[u8],
    length: usize,
    out: &mut Vec<u8>,
) -> bool {
    out.clear();
    out.resize(length, 0);
    pieces(dictionary, input, out) == Some(length)
}

/// Writes what the pieces say from the start of `out` on; returns how many bytes they are.
fn pieces(dictionary: &[u8], input: &[u8], out: &mut [u8]) -> Option<usize> {
    let (mut rest, mut at) = (input, 0);
    while let [control, after @ ..] = rest {
        let control = usize::from(*control);
        if control < LONGEST_RUN {
            let length = control + 1;
            copy(after, length, out.get_mut(at..)?)?;
            at += length;
            rest = &after[length..];
        } else {
            let (mut repeat, mut after) = (control >> 5, after);
            if repeat == 7 {
                let (more, further) = after.split_first()?;
                repeat += usize::from(*more);
                after = further;
            }
            let (low, after) = after.split_first()?;
            let back = ((control & 31) << 8 | usize::from(*low)) + 1;
            repeat_back(dictionary, out, at, Repetition { back, length: repeat + 2 })?;
            at += repeat + 2;
            rest = after;
        }
    }
    Some(at)
}

/// Copies the first `length` bytes. Where there is room for it, as many as a piece mostly has at
/// once: what is too much is written over.
#[inline]
fn copy(from: &[u8], length: usize, to: &mut [u8]) -> Option<()> {
    match (from.first_chunk::<LONGEST_RUN>(), to.first_chunk_mut::<LONGEST_RUN>()) {
        (Some(from), Some(to)) if length <= LONGEST_RUN => *to = *from,
        _ => to.get_mut(..length)?.copy_from_slice(from.get(..length)?),
    }
    Some(())
}

#[inline]
fn repeat_back(dictionary: &[u8], out: &mut [u8], at: usize, found: Repetition) -> Option<()> {
    let Repetition { back, length } = found;
    let end = at + length;
    let mut done = at;
    if back > at {
        let from = &dictionary[dictionary.len().checked_sub(back - at)?..];
        let shared = length.min(from.len());
        copy(from, shared, &mut out[at..])?;
        done += shared;
    }
    if out.len() < end {
        return None;
    }
    // A repetition may repeat what it is writing itself: then what is there doubles each time.
    while done < end {
        let start = done - back;
        let step = (end - done).min(done - start);
        let (before, behind) = out.split_at_mut(done);
        copy(&before[start..], step, behind)?;
        done += step;
    }
    Some(())
}

/// A compressor: keeps its table from call to call, so that a call for a short string costs no more
/// than the string.
#[derive(Debug)]
pub(crate) struct Compressor {
    /// Where three bytes of this hash were seen last, counted from `base` of that call on.
    seen: Box<[u32; TABLE]>,
    /// Numbers below this are of earlier calls.
    base: u32,
}

/// A dictionary made ready to compress with.
#[derive(Debug)]
pub(crate) struct Dictionary {
    bytes: Box<[u8]>,
    /// Where three bytes of this hash stand last, counted from 1; 0 = nowhere.
    seen: Box<[u16; TABLE]>,
}

/// A repetition that could be written.
#[derive(Debug, Clone, Copy)]
struct Repetition {
    back: usize,
    length: usize,
}

const TABLE: usize = 1 << 13;

impl Repetition {
    /// What `rest` has in common with `like`, which begins `back` bytes before it, if that is near
    /// and long enough to be written.
    fn new(back: usize, like: &[u8], rest: &[u8]) -> Option<Self> {
        let length = common(like, rest);
        (back <= FARTHEST && length >= SHORTEST).then_some(Repetition { back, length })
    }
}

impl Dictionary {
    /// Bytes that a dictionary has at most: a string has to reach back over itself too.
    pub(crate) const LONGEST: usize = FARTHEST / 2;

    /// A dictionary of these bytes, or of the first that it can have.
    pub(crate) fn new(bytes: &[u8]) -> Self {
        let bytes = &bytes[..bytes.len().min(Dictionary::LONGEST)];
        let mut seen = Box::new([0; TABLE]);
        for (at, three) in bytes.windows(SHORTEST).enumerate() {
            seen[hash(three)] = at as u16 + 1;
        }
        Dictionary { bytes: bytes.into(), seen }
    }

    /// What it consists of, to decompress with.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Bytes on the heap.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.bytes.len() + size_of_val(&*self.seen)
    }

    /// What of it `rest` begins with, which stands `at` bytes behind it.
    fn find(&self, hash: usize, rest: &[u8], at: usize) -> Option<Repetition> {
        let from = usize::from(self.seen[hash]).checked_sub(1)?;
        Repetition::new(at + self.bytes.len() - from, &self.bytes[from..], rest)
    }
}

impl Compressor {
    pub(crate) fn new() -> Self {
        Compressor { seen: Box::new([0; TABLE]), base: 1 }
    }

    /// Bytes on the heap.
    pub(crate) fn heap_bytes(&self) -> usize {
        size_of_val(&*self.seen)
    }

    /// Appends the compressed string; false (and `out` as it was): it would not be shorter by at
    /// least `saving` bytes.
    pub(crate) fn compress(
        &mut self,
        dictionary: Option<&Dictionary>,
        input: &[u8],
        saving: usize,
        out: &mut Vec<u8>,
    ) -> bool {
        let (start, Some(room)) = (out.len(), input.len().checked_sub(saving)) else {
            return false;
        };
        let Ok(length) = u32::try_from(input.len()) else { return false };
        if self.base.checked_add(length).is_none() {
            (*self.seen, self.base) = ([0; TABLE], 1);
        }
        let fits = match self.base.checked_add(length) {
            Some(next) => {
                let fits = self.pieces(dictionary, input, start + room, out);
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

    fn pieces(
        &mut self,
        dictionary: Option<&Dictionary>,
        input: &[u8],
        most: usize,
        out: &mut Vec<u8>,
    ) -> bool {
        let (mut at, mut literal) = (0, 0);
        while at + SHORTEST <= input.len() {
            let hash = hash(&input[at..]);
            let own = self.note(input, hash, at);
            let shared = dictionary.and_then(|it| it.find(hash, &input[at..], at));
            let longest = own.into_iter().chain(shared).max_by_key(|found| found.length);
            let Some(Repetition { back, length }) = longest else {
                at += 1;
                continue;
            };
            literals(&input[literal..at], out);
            repetition(back - 1, length - 2, out);
            at += length;
            literal = at;
            if out.len() > most {
                return false;
            }
            // The end of a repetition is where the next one often begins.
            for inside in at - 2..at {
                if let Some(three) = input.get(inside..inside + SHORTEST) {
                    self.seen[self::hash(three)] = self.base + inside as u32;
                }
            }
        }
        literals(&input[literal..], out);
        out.len() <= most
    }

    /// Notes the bytes at `at`, whose hash this is; returns what their like, seen last, has in common
    /// with them.
    fn note(&mut self, input: &[u8], hash: usize, at: usize) -> Option<Repetition> {
        let seen = std::mem::replace(&mut self.seen[hash], self.base + at as u32);
        let from = seen.checked_sub(self.base)? as usize;
        Repetition::new(at - from, &input[from..], &input[at..])
    }
}

/// Where the first three of these bytes are noted.
fn hash(bytes: &[u8]) -> usize {
    let [a, b, c] = [bytes[0], bytes[1], bytes[2]].map(u32::from);
    ((a << 16 | b << 8 | c).wrapping_mul(0x9e37_79b1) >> (32 - TABLE.ilog2())) as usize
}

/// How many bytes both begin with in common; as many as a repetition can use.
fn common(a: &[u8], b: &[u8]) -> usize {
    let (a, b) = (&a[..a.len().min(LONGEST)], &b[..b.len().min(LONGEST)]);
    let (a_words, b_words) = (a.as_chunks::<8>().0, b.as_chunks::<8>().0);
    for (at, (a, b)) in a_words.iter().zip(b_words).enumerate() {
        let differ = u64::from_le_bytes(*a) ^ u64::from_le_bytes(*b);
        if differ != 0 {
            return at * 8 + differ.trailing_zeros() as usize / 8;
        }
    }
    let words = a_words.len().min(b_words.len()) * 8;
    words + a[words..].iter().zip(&b[words..]).take_while(|(a, b)| a == b).count()
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
                if compressor.compress(None, &input, 4, &mut out) {
                    prop_assert!(out.len() - 6 + 4 <= input.len());
                    prop_assert_eq!(decompressed(&out[6..], input.len()), Some(input.clone()));
                } else {
                    prop_assert_eq!(&out, b"before");
                }
            }
        }

        #[test]
        fn what_is_compressed_with_a_dictionary_comes_back(
            shared in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 1..40),
            order in prop::collection::vec((any::<prop::sample::Index>(), 0..3u8), 0..200),
        ) {
            let dictionary = Dictionary::new(&shared.concat());
            let part = |(index, byte): &(prop::sample::Index, u8)| {
                [&index.get(&shared)[..], &[*byte]].concat()
            };
            let input = order.iter().flat_map(part).collect::<Vec<u8>>();
            let (mut compressor, mut out) = (Compressor::new(), Vec::new());
            if compressor.compress(Some(&dictionary), &input, 4, &mut out) {
                let mut back = Vec::new();
                prop_assert!(decompress_with(dictionary.bytes(), &out, input.len(), &mut back));
                prop_assert_eq!(back, input);
            }
        }

        #[test]
        fn damaged_streams_are_refused_or_of_the_length_told(
            input in prop::collection::vec(any::<u8>(), 0..200),
            dictionary in prop::collection::vec(any::<u8>(), 0..100),
            length in 0..4000usize,
        ) {
            let mut out = Vec::new();
            for dictionary in [&dictionary[..], &[]] {
                let is_whole = decompress_with(dictionary, &input, length, &mut out);
                prop_assert!(!is_whole || out.len() == length);
            }
        }
    }

    #[test]
    fn long_repetitions_are_short() {
        let (mut compressor, mut out) = (Compressor::new(), Vec::new());
        assert!(compressor.compress(None, &[b'x'; 10_000], 4, &mut out));
        assert!(out.len() < 130, "{}", out.len());
        assert_eq!(decompressed(&out, 10_000), Some(vec![b'x'; 10_000]));
        assert!(out.len() as u64 * MOST_EXPANSION >= 10_000);
    }

    #[test]
    fn a_string_that_resembles_the_dictionary_is_short() {
        let session =
            br#"{"cookie":{"path":"/","httpOnly":true},"user":{"id":17,"roles":["editor"]}}"#;
        let (mut compressor, mut out) = (Compressor::new(), Vec::new());
        let dictionary = Dictionary::new(session);
        assert!(!compressor.compress(None, session, 20, &mut out));
        assert!(compressor.compress(Some(&dictionary), session, 20, &mut out));
        assert!(out.len() <= 4, "{}", out.len());
        // A repetition that begins in the dictionary goes on in the string itself.
        let (mut back, stream) = (Vec::new(), [1 << 5, 1, 4 << 5, 1]);
        assert!(decompress_with(b"ab", &stream, 9, &mut back));
        assert_eq!(back, b"ababababa");
    }

    #[test]
    fn a_dictionary_is_no_longer_than_a_string_can_reach_back() {
        let long: Vec<u8> = (0..10_000u32).map(|at| (at * at / 7) as u8).collect();
        let dictionary = Dictionary::new(&long);
        assert_eq!(dictionary.bytes().len(), Dictionary::LONGEST);
        let (mut compressor, mut out, mut back) = (Compressor::new(), Vec::new(), Vec::new());
        assert!(compressor.compress(Some(&dictionary), &long, 1, &mut out));
        assert!(decompress_with(dictionary.bytes(), &out, long.len(), &mut back) && back == long);
    }

    #[test]
    fn the_table_is_of_use_again_after_four_gigabytes() {
        let mut compressor = Compressor::new();
        compressor.base = u32::MAX - 100;
        for _ in 0..3 {
            let mut out = Vec::new();
            assert!(compressor.compress(None, &[b'x'; 60], 4, &mut out));
            assert_eq!(decompressed(&out, 60), Some(vec![b'x'; 60]));
        }
        assert!(compressor.base < 200);
    }
}
