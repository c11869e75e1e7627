//! A session as web frameworks keep it: one string of JSON, of 300 to 2,000 bytes.
//!
//! Its parts are those of session middleware (a cookie, a user, a token against forged requests) and
//! of a shop; what identifies somebody is random, so that nothing is there twice that would not be.

use std::io::Write as _;

const NAMES: [&str; 6] = ["Ada", "Benedikt", "Chloe", "Dmitri", "Esperanza", "Farid"];
const ITEMS: [&str; 5] = ["Blue shirt", "Coffee mug", "Desk lamp", "Notebook, ruled", "Travel bag"];
const ROLES: [&str; 3] = [r#"["user"]"#, r#"["user","editor"]"#, r#"["user","billing","admin"]"#];
const TOKEN: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Things in a cart at most.
const MOST_ITEMS: u32 = 17;

/// Appends the session of this number.
pub fn write(number: u32, out: &mut Vec<u8>) {
    let mut rng = fastrand::Rng::with_seed(number.into());
    let pick = |from: &[&'static str], rng: &mut fastrand::Rng| from[rng.usize(..from.len())];
    let (month, day, hour, second) = (rng.u8(1..13), rng.u8(1..29), rng.u8(..24), rng.u8(..60));
    let _ = write!(
        out,
        r#"{{"cookie":{{"originalMaxAge":1800000,"expires":"2026-{month:02}-{day:02}T{hour:02}:{second:02}:00Z","httpOnly":true,"path":"/"}},"csrf":""#
    );
    out.extend((0..24).map(|_| TOKEN[rng.usize(..TOKEN.len())]));
    let (id, name, role) = (rng.u32(..10_000_000), pick(&NAMES, &mut rng), pick(&ROLES, &mut rng));
    let _ = write!(
        out,
        r#"","user":{{"id":{id},"name":"{name}","email":"{name}{id}@example.com","roles":{role},"locale":"en-GB","theme":"light"}},"cart":["#
    );
    for item in 0..rng.u32(0..MOST_ITEMS) {
        let (title, sku) = (pick(&ITEMS, &mut rng), rng.u32(..100_000_000));
        let (quantity, cents, added) =
            (rng.u8(1..5), rng.u32(100..20_000), rng.u32(..1_000_000_000));
        let comma = if item == 0 { "" } else { "," };
        let _ = write!(
            out,
            r#"{comma}{{"sku":"{sku:08}","title":"{title}","quantity":{quantity},"cents":{cents},"added":179{added:010}}}"#
        );
    }
    let _ =
        write!(out, r#"],"seen":{},"flash":{{"notice":null,"error":null}}}}"#, rng.u32(..100_000));
}

/// Bytes of such a session on average.
pub fn mean_len() -> u32 {
    const ASKED: u32 = 2_000;
    let mut out = Vec::new();
    (0..ASKED).for_each(|number| write(number, &mut out));
    out.len() as u32 / ASKED
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_are_json_of_the_sizes_promised() {
        for number in 0..2_000 {
            let mut out = Vec::new();
            write(number, &mut out);
            assert!((300..=2_000).contains(&out.len()), "{} bytes", out.len());
            assert!(out.starts_with(b"{") && out.ends_with(b"}"));
        }
        assert!((1_000..1_300).contains(&mean_len()), "{}", mean_len());
    }
}
