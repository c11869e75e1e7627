//! Compressed strings: an application's sessions resemble each other, so what some of them consist of
//! becomes a dictionary, and the others say only how they differ.
//!
//! A compressed string is the number of its dictionary, its own length and an LZF stream (see
//! `lzf.rs`). The first strings that come are the first dictionary; the later ones are tried with a
//! new one now and then, which takes over if they become shorter by it. A dictionary goes with the
//! last string that needs it.

use super::segment::LONGEST_ENTRY;
use crate::lzf::{self, Compressor, Dictionary};

/// Bytes of a string at least, whatever is set: shorter ones have nothing to save.
const SHORTEST: usize = 32;

/// Bytes of a string at most: longer ones seldom become short enough for an entry.
const LONGEST: usize = 8 * LONGEST_ENTRY;

/// A string is compressed if this part of it is saved.
const WORTH_IT: usize = 8;

/// How many dictionaries there are at most.
const MOST: usize = 16;

/// A dictionary is gathered from so many strings at least.
const SAMPLES: usize = 4;

/// Strings after which another dictionary is tried.
const TRIED_AFTER: u32 = 1 << 12;

/// Strings that are compressed both ways then.
const TRIALS: u32 = 64;

/// A new dictionary has to make strings shorter by this part.
const BETTER_BY: usize = 8;

/// Where the number of a string's dictionary stands: there is none.
const NONE: u8 = u8::MAX;

/// Bytes before the stream: the dictionary's number, the string's length.
const HEAD: usize = 3;

/// The dictionaries of a database, and what compresses with them; nothing until a string is to be
/// compressed.
#[derive(Debug, Default)]
pub(super) struct Dictionaries {
    all: Vec<Known>,
    worker: Option<Box<Worker>>,
    bytes: usize,
}

/// What a dictionary consists of; nothing: its place is free.
#[derive(Debug, Default)]
struct Known {
    bytes: Box<[u8]>,
    /// Strings that need it.
    uses: u32,
}

#[derive(Debug)]
struct Worker {
    compressor: Compressor,
    /// What is compressed with, and its number.
    current: Option<(u8, Dictionary)>,
    /// Strings since the last one was tried.
    since: u32,
    next: Next,
    spare: Vec<u8>,
}

/// What becomes of the next dictionary.
#[derive(Debug)]
enum Next {
    /// It is gathered from strings as they come.
    Gathered(Vec<u8>),
    /// It is tried: the bytes of the same strings with the current one and with this.
    Tried { dictionary: Dictionary, strings: u32, now: usize, then: usize },
    /// None is wanted for some time.
    Later,
}

/// A compressed string where it lies.
#[derive(Debug, Clone, Copy)]
pub(super) struct Compressed<'a> {
    dictionary: &'a [u8],
    length: u16,
    stream: &'a [u8],
}

impl Compressed<'_> {
    /// Bytes of the string.
    pub(super) fn len(self) -> usize {
        self.length.into()
    }

    /// The string.
    pub(super) fn bytes(self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let whole = lzf::decompress_with(self.dictionary, self.stream, self.len(), &mut bytes);
        debug_assert!(whole, "what was compressed here can be read");
        bytes
    }
}

impl Dictionaries {
    /// Puts a string, compressed to `room` bytes or less, in place of what is in `out`. False: that
    /// cannot be, or is not worth it. A string that is compressed has to be released at its end.
    pub(super) fn compress(&mut self, text: &[u8], room: usize, out: &mut Vec<u8>) -> bool {
        out.clear();
        if !(SHORTEST..=LONGEST).contains(&text.len()) {
            return false;
        }
        if self.worker.is_none() {
            self.worker = Some(Box::new(Worker::new()));
        }
        let Dictionaries { all, worker: Some(worker), .. } = self else { return false };
        out.push(worker.current.as_ref().map_or(NONE, |(number, _)| *number));
        out.extend_from_slice(&(text.len() as u16).to_le_bytes());
        let dictionary = worker.current.as_ref().map(|(_, dictionary)| dictionary);
        let most = room.min(text.len() - text.len() / WORTH_IT).saturating_sub(HEAD);
        let saving = text.len() - most;
        let is_shorter = worker.compressor.compress(dictionary, text, saving, out);
        if is_shorter && let Some(known) = all.get_mut(usize::from(out[0])) {
            known.uses += 1;
        }
        let length = if is_shorter { out.len() - HEAD } else { text.len() };
        if worker.is_better_known(text, length) {
            self.renew();
        }
        is_shorter
    }

    /// A string that was compressed here.
    pub(super) fn read<'a>(&'a self, payload: &'a [u8]) -> Compressed<'a> {
        let dictionary = self.all.get(usize::from(payload[0]));
        Compressed {
            dictionary: dictionary.map_or(&[], |known| &known.bytes),
            length: u16::from_le_bytes([payload[1], payload[2]]),
            stream: &payload[HEAD..],
        }
    }

    /// A string that was compressed here is gone.
    pub(super) fn release(&mut self, payload: &[u8]) {
        let number = payload[0];
        let Some(known) = self.all.get_mut(usize::from(number)) else { return };
        known.uses -= 1;
        if known.uses == 0 {
            self.forget_if_unused(number);
        }
    }

    /// Bytes on the heap.
    pub(super) fn heap_bytes(&self) -> usize {
        let worker = self.worker.as_ref().map_or(0, |worker| worker.heap_bytes());
        worker + self.bytes + self.all.capacity() * size_of::<Known>()
    }

    /// The dictionary that was tried, or the first, is that of the strings to come.
    fn renew(&mut self) {
        let Some(mut worker) = self.worker.take() else { return };
        let place = self.all.iter().position(|known| known.bytes.is_empty());
        let place = place.unwrap_or(self.all.len());
        if let Some(dictionary) = worker.take_next()
            && place < MOST
        {
            self.all.resize_with(self.all.len().max(place + 1), Known::default);
            self.all[place].bytes = dictionary.bytes().into();
            self.bytes += dictionary.bytes().len();
            let old = worker.current.replace((place as u8, dictionary));
            self.worker = Some(worker);
            if let Some((number, _)) = old {
                self.forget_if_unused(number);
            }
        } else {
            self.worker = Some(worker);
        }
    }

    /// Gives back a dictionary that no string needs and none will.
    fn forget_if_unused(&mut self, number: u8) {
        let current = self.worker.as_ref().and_then(|worker| worker.current.as_ref());
        let known = &mut self.all[usize::from(number)];
        if known.uses == 0 && current.is_none_or(|(other, _)| *other != number) {
            self.bytes -= known.bytes.len();
            known.bytes = Box::default();
        }
    }
}

impl Worker {
    fn new() -> Self {
        let (compressor, next) = (Compressor::new(), Next::Gathered(Vec::new()));
        Worker { compressor, current: None, since: 0, next, spare: Vec::new() }
    }

    fn heap_bytes(&self) -> usize {
        let next = match &self.next {
            Next::Gathered(bytes) => bytes.capacity(),
            Next::Tried { dictionary, .. } => dictionary.heap_bytes(),
            Next::Later => 0,
        };
        let current = self.current.as_ref().map_or(0, |(_, dictionary)| dictionary.heap_bytes());
        size_of::<Worker>() + self.compressor.heap_bytes() + current + next + self.spare.capacity()
    }

    /// Learns from a string that has just been compressed to so many bytes. True: the next dictionary
    /// is ready, and better than the current one.
    fn is_better_known(&mut self, text: &[u8], length: usize) -> bool {
        self.since = self.since.saturating_add(1);
        match &mut self.next {
            Next::Later => {
                if self.since >= TRIED_AFTER {
                    self.next = Next::Gathered(Vec::new());
                }
                false
            }
            Next::Gathered(bytes) => {
                let part = &text[..text.len().min(Dictionary::LONGEST / SAMPLES)];
                bytes.extend_from_slice(part);
                if bytes.len() < Dictionary::LONGEST {
                    return false;
                }
                let dictionary = Dictionary::new(bytes);
                self.next = Next::Tried { dictionary, strings: 0, now: 0, then: 0 };
                self.current.is_none()
            }
            Next::Tried { dictionary, strings, now, then } => {
                self.spare.clear();
                let is_shorter =
                    self.compressor.compress(Some(dictionary), text, 0, &mut self.spare);
                *strings += 1;
                *now += length;
                *then += if is_shorter { self.spare.len() } else { text.len() };
                if *strings < TRIALS {
                    return false;
                }
                let is_better = *then < *now - *now / BETTER_BY;
                if !is_better {
                    self.take_next();
                }
                is_better
            }
        }
    }

    /// The dictionary that was tried; none is wanted for some time.
    fn take_next(&mut self) -> Option<Dictionary> {
        self.since = 0;
        self.spare = Vec::new();
        match std::mem::replace(&mut self.next, Next::Later) {
            Next::Tried { dictionary, .. } => Some(dictionary),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A session of an application, and of the one that takes its place.
    fn session(application: u32, number: u32) -> Vec<u8> {
        let mut rng = fastrand::Rng::with_seed(number.into());
        let (id, token) = (rng.u32(..), rng.u64(..));
        let text = match application {
            0 => format!(
                r#"{{"cookie":{{"originalMaxAge":1800000,"path":"/"}},"user":{id},"csrf":"{token}"}}"#
            ),
            other => format!(
                "_auth_user_id|{id}|_auth_user_hash|{token}|application {other}, language en-GB"
            ),
        };
        text.into_bytes()
    }

    fn put(dictionaries: &mut Dictionaries, text: &[u8]) -> Vec<u8> {
        let mut payload = Vec::new();
        match dictionaries.compress(text, 2000, &mut payload) {
            true => {
                assert_eq!(dictionaries.read(&payload).bytes(), text);
                assert_eq!(dictionaries.read(&payload).len(), text.len());
                payload
            }
            false => text.to_vec(),
        }
    }

    #[test]
    fn strings_become_short_as_soon_as_others_like_them_are_known() {
        let mut dictionaries = Dictionaries::default();
        let lengths: Vec<usize> =
            (0..200).map(|number| put(&mut dictionaries, &session(0, number)).len()).collect();
        assert!(lengths[..40].iter().all(|length| *length > 75), "{lengths:?}");
        assert!(lengths[100..].iter().all(|length| *length < 55), "{lengths:?}");
    }

    #[test]
    fn another_application_gets_a_dictionary_of_its_own_and_the_old_one_goes() {
        let mut dictionaries = Dictionaries::default();
        let mut old: Vec<Vec<u8>> = Vec::new();
        for number in 0..1_000 {
            let text = session(0, number);
            let payload = put(&mut dictionaries, &text);
            if payload != text {
                old.push(payload);
            }
        }
        let with_one = dictionaries.bytes;
        let mut come_and_gone = |number| {
            let text = session(1, number);
            let payload = put(&mut dictionaries, &text);
            if payload != text {
                dictionaries.release(&payload);
            }
            payload.len()
        };
        let lengths: Vec<usize> = (0..TRIED_AFTER + 1_000).map(&mut come_and_gone).collect();
        let (first, last) = (lengths[0], lengths[lengths.len() - 1]);
        assert!(last * 4 < first * 3, "{first} and then {last}");
        assert!(dictionaries.bytes > with_one);
        let (last, others) = old.split_last().expect("some were compressed");
        others.iter().for_each(|payload| dictionaries.release(payload));
        assert_eq!(dictionaries.read(last).bytes(), session(0, 999));
        assert!(dictionaries.bytes > with_one);
        dictionaries.release(last);
        assert!(dictionaries.bytes <= with_one);
    }

    #[test]
    fn when_all_places_are_taken_the_last_dictionary_stays() {
        let mut dictionaries = Dictionaries::default();
        let mut kept = Vec::new();
        for application in 1..MOST as u32 + 4 {
            for number in 0..TRIED_AFTER + 200 {
                let text = session(application, number).repeat(1 + application as usize % 3);
                let payload = put(&mut dictionaries, &text);
                match payload == text || number % 100 != 0 {
                    true if payload != text => dictionaries.release(&payload),
                    true => {}
                    false => kept.push((text, payload)),
                }
            }
        }
        assert!(dictionaries.all.len() <= MOST);
        assert!(kept.iter().all(|(text, payload)| dictionaries.read(payload).bytes() == *text));
    }

    #[test]
    fn what_does_not_become_shorter_or_is_too_long_stays_as_it_is() {
        let (mut dictionaries, mut payload) = (Dictionaries::default(), Vec::new());
        let mut rng = fastrand::Rng::with_seed(3);
        let random: Vec<u8> = (0..1_000).map(|_| rng.u8(..)).collect();
        for text in [&random[..], b"", b"short", &[b'x'; SHORTEST - 1], &[b'x'; LONGEST + 1]] {
            assert!(!dictionaries.compress(text, 2000, &mut payload), "{} bytes", text.len());
        }
        assert!(!dictionaries.compress(&random.repeat(3), 900, &mut payload), "no room");
        assert!(dictionaries.compress(&[b'x'; LONGEST], 2000, &mut payload));
        assert_eq!(dictionaries.read(&payload).bytes(), [b'x'; LONGEST]);
    }
}
