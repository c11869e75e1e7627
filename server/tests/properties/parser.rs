//! Requests: the same however they are split, and the same as the crate `redis-protocol` finds.

use cloakroom::resp::{Limits, Parsed, ProtocolError, RequestParser};
use proptest::prelude::*;
use redis_protocol::resp2::decode::decode;
use redis_protocol::resp2::types::OwnedFrame;

type Request = Vec<Vec<u8>>;

/// What a parser finds in bytes that come in pieces.
fn feed<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Request>, Option<ProtocolError>) {
    let (mut parser, mut buf, mut found) = (RequestParser::new(), Vec::new(), Vec::new());
    for piece in pieces {
        buf.extend_from_slice(piece);
        loop {
            match parser.parse(&buf, &Limits::default()) {
                Ok(Parsed::Incomplete) => break,
                Ok(Parsed::Complete(used)) => {
                    found.push(parser.args(&buf).iter().map(<[u8]>::to_vec).collect());
                    buf.drain(..used);
                }
                Err(error) => return (found, Some(error)),
            }
        }
    }
    (found, None)
}

/// Bytes cut at these places.
fn cut<'a>(bytes: &'a [u8], places: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut places: Vec<usize> = places.iter().map(|place| place.index(bytes.len() + 1)).collect();
    places.sort_unstable();
    let ends = places.iter().copied().chain([bytes.len()]);
    let mut from = 0;
    ends.map(|to| &bytes[std::mem::replace(&mut from, to)..to]).collect()
}

/// An argument: often short, sometimes with line ends or quotes in it.
fn argument() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => prop::collection::vec(any::<u8>(), 0..24),
        1 => prop::collection::vec(prop::sample::select(b"\r\n*$\"'\\ 0".to_vec()), 0..12),
        1 => prop::collection::vec(any::<u8>(), 900..1100),
    ]
}

fn request() -> impl Strategy<Value = Request> {
    prop::collection::vec(argument(), 1..6)
}

fn encode(request: &[Vec<u8>]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", request.len()).into_bytes();
    for argument in request {
        out.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
        out.extend_from_slice(argument);
        out.extend_from_slice(b"\r\n");
    }
    out
}

/// A request on a line of its own, every argument quoted one way or the other.
fn inline(request: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Vec::new();
    for (at, argument) in request.iter().enumerate() {
        let is_plain =
            !argument.is_empty() && argument.iter().all(|byte| byte.is_ascii_alphanumeric());
        match (is_plain, at % 2) {
            (true, _) => out.extend_from_slice(argument),
            // Apostrophes keep everything but themselves; line ends and zeros end the line.
            (_, 1) if !argument.iter().any(|byte| b"\r\n\0\\".contains(byte)) => {
                out.push(b'\'');
                for byte in argument {
                    out.extend_from_slice(if *byte == b'\'' {
                        b"\\'"
                    } else {
                        std::slice::from_ref(byte)
                    });
                }
                out.push(b'\'');
            }
            _ => {
                let escaped =
                    argument.iter().flat_map(|byte| format!("\\x{byte:02X}").into_bytes());
                out.push(b'"');
                out.extend(escaped);
                out.push(b'"');
            }
        }
        out.extend_from_slice([&b" "[..], b"\t", b"  "][at % 3]);
    }
    out.extend_from_slice(if request.len().is_multiple_of(2) { b"\r\n" } else { b"\n" });
    out
}

/// Bytes that look like requests without being careful about it.
fn garbage() -> impl Strategy<Value = Vec<u8>> {
    let words: Vec<&[u8]> = vec![
        b"*",
        b"$",
        b"\r",
        b"\n",
        b"\r\n",
        b"0",
        b"1",
        b"-1",
        b"07",
        b"+3",
        b"1048577",
        b"536870913",
        b"*1\r\n",
        b"$4\r\n",
        b"PING",
        b" ",
        b"\"",
        b"'",
        b"\\",
        b"\\x4",
        b"\0",
        b":",
        b"\xff",
        b"99999999999999999999",
        b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n",
        b"",
    ];
    prop::collection::vec(prop::sample::select(words), 0..14).prop_map(|words| words.concat())
}

/// The oracle's view of one request at the start of bytes: None where it is no array of bulk
/// strings, or not yet whole.
fn oracle(bytes: &[u8]) -> Option<(Request, usize)> {
    let (OwnedFrame::Array(frames), used) = decode(bytes).ok()?? else { return None };
    let argument = |frame| match frame {
        OwnedFrame::BulkString(bytes) => Some(bytes),
        _ => None,
    };
    Some((frames.into_iter().map(argument).collect::<Option<_>>()?, used))
}

/// Whether the lengths in a whole request are written as Redis writes and wants them, and every
/// argument is followed by a line end, which Redis does not look at.
fn is_canonical(bytes: &[u8], request: &[Vec<u8>]) -> bool {
    bytes.starts_with(&encode(request))
}

proptest! {
    #[test]
    fn requests_are_found_however_they_are_split(
        requests in prop::collection::vec((request(), any::<bool>()), 1..6),
        places in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let bytes: Vec<u8> = requests
            .iter()
            .flat_map(|(request, is_inline)| if *is_inline { inline(request) } else { encode(request) })
            .collect();
        let requests: Vec<Request> = requests.into_iter().map(|(request, _)| request).collect();
        prop_assert_eq!(feed(cut(&bytes, &places)), (requests, None));
    }

    #[test]
    fn garbage_is_the_same_however_it_is_split(
        bytes in garbage(),
        places in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        prop_assert_eq!(feed(cut(&bytes, &places)), feed([bytes.as_slice()]));
    }

    #[test]
    fn another_implementation_finds_the_same_in_a_pipeline(
        requests in prop::collection::vec(request(), 1..6),
        end in any::<prop::sample::Index>(),
    ) {
        let whole: Vec<u8> = requests.iter().flat_map(|request| encode(request)).collect();
        let bytes = &whole[..end.index(whole.len() + 1)];
        let (mut theirs, mut rest) = (Vec::new(), bytes);
        while let Some((request, used)) = oracle(rest) {
            theirs.push(request);
            rest = &rest[used..];
        }
        prop_assert_eq!(feed([bytes]), (theirs, None));
    }

    #[test]
    fn another_implementation_finds_the_same_in_what_is_damaged(
        request in request(),
        at in any::<prop::sample::Index>(),
        damage in prop::sample::select(b"\r\n*$+-:0159a\0\xff".to_vec()),
        removed in 0usize..3,
    ) {
        let mut bytes = encode(&request);
        // What does not begin with a star is an inline request, which they do not know.
        let at = 1 + at.index(bytes.len() - 1);
        bytes.splice(at..(at + removed).min(bytes.len()), [damage]);
        let mut parser = RequestParser::new();
        let ours = parser.parse(&bytes, &Limits::default());
        match (ours, oracle(&bytes)) {
            (Ok(Parsed::Complete(used)), Some((theirs, theirs_used))) => {
                let ours: Request = parser.args(&bytes).iter().map(<[u8]>::to_vec).collect();
                prop_assert_eq!((ours, used), (theirs, theirs_used));
            }
            (Ok(Parsed::Complete(_)), None) => {
                let ours: Request = parser.args(&bytes).iter().map(<[u8]>::to_vec).collect();
                prop_assert!(
                    ours.is_empty() || !is_canonical(&bytes, &ours),
                    "they do not find {ours:?} in {bytes:?}"
                );
            }
            (Ok(Parsed::Incomplete) | Err(_), Some((theirs, _))) => {
                prop_assert!(
                    !is_canonical(&bytes, &theirs),
                    "only they find {theirs:?} in {bytes:?}"
                );
            }
            (_, None) => {}
        }
    }

    #[test]
    fn what_is_held_is_bounded_by_what_came(bytes in garbage()) {
        let mut parser = RequestParser::new();
        let _ = parser.parse(&bytes, &Limits::default());
        prop_assert!(parser.heap_bytes() <= 64 * (bytes.len() + 1));
    }
}
