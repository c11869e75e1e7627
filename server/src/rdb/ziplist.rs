//! What small collections were packed in before listpacks: ziplists (Redis 2.6 to 6.2), zipmaps
//! (hashes up to 2.4) and intsets (sets of integers, to this day).

use super::listpack::{Entry, Unpacked};

const END: u8 = 0xff;

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

/// Calls `visit` with each entry of a ziplist.
///
/// Four bytes say how long the whole is, four where the last entry starts, two how many entries
/// there are (65,535: unknown), then come the entries, then 0xff. An entry is how long the one
/// before it is, its encoding and its bytes.
pub(super) fn each<'a>(
    ziplist: &'a [u8],
    mut visit: impl FnMut(Entry<'a>) -> Unpacked<()>,
) -> Unpacked<()> {
    let (head, mut rest) = ziplist.split_first_chunk::<10>().ok_or("a ziplist is too short")?;
    if number(&head[..4]) != ziplist.len() as u64 {
        return Err("a ziplist has another length than it says");
    }
    let (mut count, mut before) = (0, 0);
    loop {
        match rest {
            [END] => break,
            [END, ..] => return Err("a ziplist goes on behind its end"),
            _ => {
                let (entry, after) =
                    ziplist_entry(rest, before).ok_or("a ziplist's entry is damaged")?;
                before = rest.len() - after.len();
                visit(entry)?;
                (count, rest) = (count + 1, after);
            }
        }
    }
    let told = number(&head[8..]);
    if told != u64::from(u16::MAX) && told != count {
        return Err("a ziplist has another number of entries than it says");
    }
    Ok(())
}

/// The entry at the start of `bytes`, before which lies one of `before` bytes; and what follows.
fn ziplist_entry<'a>(bytes: &'a [u8], before: usize) -> Option<(Entry<'a>, &'a [u8])> {
    let (told, rest) = match bytes {
        [0xfe, rest @ ..] => {
            let (told, rest) = rest.split_at_checked(4)?;
            (number(told), rest)
        }
        [told, rest @ ..] => ((*told).into(), rest),
        [] => return None,
    };
    if told != before as u64 {
        return None;
    }
    let (first, after) = rest.split_first()?;
    let string = |size: u64, from: &'a [u8]| {
        let (string, rest) = from.split_at_checked(size.try_into().ok()?)?;
        Some((Entry::Bytes(string), rest))
    };
    let int = |count: usize| {
        let (bytes, rest) = after.split_at_checked(count)?;
        Some((Entry::Int(signed(bytes)), rest))
    };
    match first {
        0x00..=0x3f => string((*first).into(), after),
        0x40..=0x7f => {
            let (low, rest) = after.split_first()?;
            string(u64::from(first & 0x3f) << 8 | u64::from(*low), rest)
        }
        0x80 => {
            let (size, rest) = after.split_first_chunk::<4>()?;
            string(u32::from_be_bytes(*size).into(), rest)
        }
        0xc0 => int(2),
        0xd0 => int(4),
        0xe0 => int(8),
        0xf0 => int(3),
        0xfe => int(1),
        0xf1..=0xfd => Some((Entry::Int(i64::from(first & 0x0f) - 1), after)),
        _ => None,
    }
}

/// A signed number of up to eight bytes, the lowest first.
fn signed(bytes: &[u8]) -> i64 {
    let unused = 64 - 8 * bytes.len() as u32;
    ((number(bytes) << unused) as i64) >> unused
}

/// Calls `visit` with each field and value of a zipmap.
///
/// A byte says how many there are (254 and more: unknown), then come the pairs, then 0xff. A pair is
/// the field's length and bytes, the value's length, how many bytes lie unused behind the value, the
/// value and those. A length from 254 on is the byte 254 and four more.
pub(super) fn each_of_zipmap<'a>(
    zipmap: &'a [u8],
    mut visit: impl FnMut(Entry<'a>, Entry<'a>) -> Unpacked<()>,
) -> Unpacked<()> {
    let (told, mut rest) = zipmap.split_first().ok_or("a zipmap is too short")?;
    let mut count = 0usize;
    loop {
        match rest {
            [END] => break,
            [END, ..] => return Err("a zipmap goes on behind its end"),
            _ => {
                let (field, value, after) =
                    zipmap_pair(rest).ok_or("a zipmap's pair is damaged")?;
                visit(Entry::Bytes(field), Entry::Bytes(value))?;
                (count, rest) = (count + 1, after);
            }
        }
    }
    if *told < 254 && usize::from(*told) != count {
        return Err("a zipmap has another number of pairs than it says");
    }
    Ok(())
}

fn zipmap_pair(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (size, rest) = zipmap_length(bytes)?;
    let (field, rest) = rest.split_at_checked(size)?;
    let (size, rest) = zipmap_length(rest)?;
    let (unused, rest) = rest.split_first()?;
    let (value, rest) = rest.split_at_checked(size)?;
    let (_, rest) = rest.split_at_checked(usize::from(*unused))?;
    Some((field, value, rest))
}

fn zipmap_length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    match bytes.split_first()? {
        (254, rest) => {
            let (length, rest) = rest.split_at_checked(4)?;
            Some((number(length).try_into().ok()?, rest))
        }
        (255, _) => None,
        (length, rest) => Some((usize::from(*length), rest)),
    }
}

/// Calls `visit` with each member of an intset.
///
/// Four bytes say how many bytes a member has (2, 4 or 8), four how many members there are, then
/// come the members, the lowest first.
pub(super) fn each_of_intset(
    intset: &[u8],
    mut visit: impl FnMut(i64) -> Unpacked<()>,
) -> Unpacked<()> {
    let (head, members) = intset.split_first_chunk::<8>().ok_or("an intset is too short")?;
    let (width, count) = (number(&head[..4]), number(&head[4..]));
    if ![2, 4, 8].contains(&width) || width * count != members.len() as u64 {
        return Err("an intset has another length than it says");
    }
    let mut last = None;
    for member in members.chunks_exact(width as usize) {
        let member = signed(member);
        if last.is_some_and(|last| last >= member) {
            return Err("an intset's members are not in order");
        }
        last = Some(member);
        visit(member)?;
    }
    Ok(())
}

/// Writes an intset of these members, which are in ascending order, at the end of `out`.
pub(super) fn write_intset(members: &[i64], out: &mut Vec<u8>) {
    let fits = |least: i64, most: i64| members.iter().all(|value| (least..=most).contains(value));
    let width: usize = if fits(i16::MIN.into(), i16::MAX.into()) {
        2
    } else if fits(i32::MIN.into(), i32::MAX.into()) {
        4
    } else {
        8
    };
    out.extend_from_slice(&(width as u32).to_le_bytes());
    out.extend_from_slice(&(members.len() as u32).to_le_bytes());
    for member in members {
        out.extend_from_slice(&member.to_le_bytes()[..width]);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ziplist(bytes: &[u8]) -> Unpacked<Vec<Vec<u8>>> {
        let mut entries = Vec::new();
        each(bytes, |entry| {
            entries.push(entry.into_bytes().into_owned());
            Ok(())
        })?;
        Ok(entries)
    }

    /// A ziplist of these entries, each without the length of the one before it.
    fn made(entries: &[&[u8]]) -> Vec<u8> {
        let (mut out, mut before) = (vec![0; 10], 0);
        for entry in entries {
            let start = out.len();
            match u8::try_from(before) {
                Ok(short @ 0..254) => out.push(short),
                _ => {
                    out.push(0xfe);
                    out.extend_from_slice(&(before as u32).to_le_bytes());
                }
            }
            out.extend_from_slice(entry);
            before = out.len() - start;
        }
        let tail = (out.len() - before) as u32;
        out.push(END);
        let total = out.len() as u32;
        out[..4].copy_from_slice(&total.to_le_bytes());
        out[4..8].copy_from_slice(&tail.to_le_bytes());
        out[8..10].copy_from_slice(&(entries.len() as u16).to_le_bytes());
        out
    }

    #[test]
    fn a_ziplist_holds_strings_and_integers_of_all_sizes() {
        let long = [&[0x41, 0x2c][..], &[b'x'; 300]].concat();
        let longer = [&[0x80, 0, 0, 0x40, 0][..], &[b'y'; 0x4000]].concat();
        let entries: &[&[u8]] = &[
            b"\x03abc",
            &long,
            &longer,
            b"\xf1",
            b"\xfd",
            b"\xfe\x80",
            b"\xc0\x00\x80",
            b"\xf0\x00\x00\x80",
            b"\xd0\x00\x00\x00\x80",
            b"\xe0\x00\x00\x00\x00\x00\x00\x00\x80",
        ];
        let expected: Vec<Vec<u8>> = vec![
            b"abc".to_vec(),
            vec![b'x'; 300],
            vec![b'y'; 0x4000],
            b"0".to_vec(),
            b"12".to_vec(),
            b"-128".to_vec(),
            b"-32768".to_vec(),
            b"-8388608".to_vec(),
            b"-2147483648".to_vec(),
            b"-9223372036854775808".to_vec(),
        ];
        assert_eq!(ziplist(&made(entries)), Ok(expected));
        let good = made(&[b"\x01a", b"\x01b"]);
        assert!(ziplist(&good).is_ok());
        for at in (0..4).chain(8..good.len()).filter(|at| ![12, 15].contains(at)) {
            let mut bad = good.clone();
            bad[at] ^= 4;
            assert!(ziplist(&bad).is_err(), "byte {at}");
            assert!(ziplist(&good[..at]).is_err());
        }
    }

    #[test]
    fn a_zipmap_may_have_unused_bytes_and_long_values() {
        let mut bytes = b"\x02\x03foo\x03\x02bar__\x01a\xfe\x00\x01\x00\x00\x00".to_vec();
        bytes.extend_from_slice(&[b'v'; 256]);
        bytes.push(END);
        let mut pairs = Vec::new();
        let done = each_of_zipmap(&bytes, |field, value| {
            pairs.push((field.into_bytes().into_owned(), value.into_bytes().into_owned()));
            Ok(())
        });
        assert_eq!(done, Ok(()));
        assert_eq!(pairs[0], (b"foo".to_vec(), b"bar".to_vec()));
        assert_eq!(pairs[1], (b"a".to_vec(), vec![b'v'; 256]));
        for end in 0..bytes.len() {
            assert!(each_of_zipmap(&bytes[..end], |_, _| Ok(())).is_err());
        }
    }

    #[test]
    fn an_intset_is_as_wide_as_its_widest_member() {
        for (members, width) in
            [(&[][..], 2), (&[-5, 0, 32_767], 2), (&[-32_769, 1], 4), (&[i64::MIN, 0, i64::MAX], 8)]
        {
            let (mut bytes, mut read) = (Vec::new(), Vec::new());
            write_intset(members, &mut bytes);
            assert_eq!(bytes.len(), 8 + members.len() * width);
            let done = each_of_intset(&bytes, |member| {
                read.push(member);
                Ok(())
            });
            assert_eq!((done, &*read), (Ok(()), members));
        }
        let mut unordered = Vec::new();
        write_intset(&[2, 1], &mut unordered);
        assert!(each_of_intset(&unordered, |_| Ok(())).is_err());
        let bomb = b"\x08\0\0\0\xff\xff\xff\xff";
        assert!(each_of_intset(bomb, |_| Ok(())).is_err());
    }

    proptest! {
        #[test]
        fn noise_is_never_more_than_an_error(mut noise in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = each_of_zipmap(&noise, |_, _| Ok(()));
            let _ = each_of_intset(&noise, |_| Ok(()));
            if noise.len() >= 4 {
                let length = noise.len() as u32;
                noise[..4].copy_from_slice(&length.to_le_bytes());
            }
            let _ = ziplist(&noise);
        }
    }
}
