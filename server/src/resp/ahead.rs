//! Which keys the next requests are about, told at a glance before any of them is executed.

use super::request::short_length;

/// How many keys are looked for at once: what is fetched for them must fit a core's own cache.
const MOST_KEYS: usize = 32;

/// What a look at the next requests shows. It is a hint: nothing is checked, and a request that is
/// not whole or not in the usual form ends the look.
#[derive(Debug)]
pub struct Glance<'b> {
    keys: [&'b [u8]; MOST_KEYS],
    count: usize,
    bytes: usize,
}

impl<'b> Glance<'b> {
    /// Looks at the requests at the start of `buf`. `key_of` tells which argument of a command is
    /// its first key, from the command's name; 0: none is.
    #[inline]
    pub fn at(buf: &'b [u8], key_of: impl Fn(&[u8]) -> usize) -> Self {
        let mut glance = Glance { keys: [&[]; MOST_KEYS], count: 0, bytes: 0 };
        while let Some((key, end)) = first_key(buf, glance.bytes, &key_of) {
            // Requests often come in twos: a change, and its deadline.
            if !key.is_empty() && glance.keys().last() != Some(&key) {
                if glance.count == MOST_KEYS {
                    break;
                }
                glance.keys[glance.count] = key;
                glance.count += 1;
            }
            glance.bytes = end;
        }
        glance
    }

    /// The requests' first keys in order; of neighbours that are equal, one.
    pub fn keys(&self) -> &[&'b [u8]] {
        &self.keys[..self.count]
    }

    /// How many bytes the requests have that were looked at.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

/// The first key of the request at `at`, empty if it has none, and where the request ends.
#[inline]
fn first_key<'b>(
    buf: &'b [u8],
    at: usize,
    key_of: &impl Fn(&[u8]) -> usize,
) -> Option<(&'b [u8], usize)> {
    let (count, mut at) = short_length(buf, at, b'*')?;
    let mut key: &[u8] = &[];
    let mut wanted = 0;
    for index in 0..count {
        let (length, start) = short_length(buf, at, b'$')?;
        if index == 0 {
            wanted = key_of(buf.get(start..start + length)?);
        } else if index == wanted {
            key = buf.get(start..start + length)?;
        }
        at = start + length + 2;
    }
    (at <= buf.len()).then_some((key, at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::OwnedRequest;

    /// The first argument is a key, but of EVAL the third, and PING has none.
    fn key_of(name: &[u8]) -> usize {
        match name {
            b"PING" => 0,
            b"EVAL" => 3,
            _ => 1,
        }
    }

    fn bytes(requests: &[&[&str]]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for request in requests {
            OwnedRequest::new(*request).encode(&mut bytes);
        }
        bytes
    }

    #[test]
    fn shows_the_first_key_of_each_request_once() {
        let bytes = bytes(&[
            &["HINCRBY", "a", "visits", "1"],
            &["EXPIRE", "a", "1800"],
            &["PING", "not a key"],
            &["EVAL", "return 1", "1", "b"],
            &["GET", "a"],
            &["GET"],
        ]);
        let glance = Glance::at(&bytes, key_of);
        assert_eq!(glance.keys(), [b"a", b"b", b"a"]);
        assert_eq!(glance.bytes(), bytes.len());
    }

    #[test]
    fn ends_at_what_is_not_whole_and_at_what_is_unusual() {
        let whole = bytes(&[&["GET", "a"]]);
        for rest in [&b"*2\r\n$3\r\nGET\r\n$1\r\nb"[..], b"*2\r\n$3", b"GET b\r\n", b"*-1\r\n", b""]
        {
            let all = [&whole[..], rest].concat();
            let glance = Glance::at(&all, key_of);
            assert_eq!(
                (glance.keys(), glance.bytes()),
                (&[&b"a"[..]][..], whole.len()),
                "{rest:?}"
            );
        }
        for end in 0..whole.len() {
            assert_eq!(Glance::at(&whole[..end], key_of).bytes(), 0);
        }
    }

    #[test]
    fn looks_no_further_than_for_as_many_keys_as_it_has_room_for() {
        let names: Vec<String> = (0..100).map(|number| format!("key:{number}")).collect();
        let requests: Vec<Vec<&str>> = names.iter().map(|name| vec!["GET", name]).collect();
        let requests: Vec<&[&str]> = requests.iter().map(Vec::as_slice).collect();
        let bytes = bytes(&requests);
        let (mut at, mut seen) = (0, Vec::new());
        while at < bytes.len() {
            let glance = Glance::at(&bytes[at..], key_of);
            assert!(glance.keys().len() <= MOST_KEYS);
            seen.extend(glance.keys().iter().map(|key| key.to_vec()));
            at += glance.bytes();
        }
        assert_eq!(seen, names.iter().map(|name| name.as_bytes().to_vec()).collect::<Vec<_>>());
    }
}
