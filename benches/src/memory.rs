//! Resident bytes a session.

use std::io;

use crate::Bench;
use crate::goals::{Figure, Goal};
use crate::load;
use crate::plot::Bars;
use crate::report::{Plot, Report};
use crate::table::{Table, progress};
use crate::target::{Kind, Target};
use crate::throughput::round;
use cloakroom_benches::mix::{self, Key, Mix, Shape};

pub(crate) fn run(bench: &Bench, churn: u32, report: &mut Report) -> io::Result<()> {
    let mut head = vec!["sessions".to_owned(), "own bytes".to_owned()];
    head.extend(bench.kinds.iter().map(Kind::name));
    head.push("ratio".to_owned());
    let mut table = Table::new(head);
    let (mut groups, mut strings) = (Vec::new(), Vec::new());
    let (mut common, mut others) = (Vec::new(), Vec::new());
    for shape in Shape::ALL {
        let count = shape.share(bench.sessions);
        let mut each = Vec::new();
        for kind in &bench.kinds {
            each.push(
                measure(bench, kind, &[], count, |number, out| shape.write(number, out)).ok(),
            );
        }
        table.row(row(&format!("{}, {count}", shape.name()), shape.own_bytes(), &each));
        let values = each.iter().map(|each| each.unwrap_or(0.0) / f64::from(shape.own_bytes()));
        match shape {
            Shape::Common => {
                common.extend(figure("filled", &each, 0.65));
                common.extend(each[0].map(|bytes| {
                    (format!("{bytes:.0} bytes"), bytes <= f64::from(shape.own_bytes()))
                }));
            }
            // Redis 7.0 has none.
            Shape::FieldDeadlines => {}
            _ => others.extend(figure(shape.name(), &each, 0.80)),
        }
        if shape == Shape::Strings {
            strings = each.clone();
        }
        groups.push((shape.name().to_owned(), values.collect()));
    }
    let each = compressed(bench, &strings);
    table.row(row(
        &format!("the same, compressed, {}", Shape::Strings.share(bench.sessions)),
        Shape::Strings.own_bytes(),
        &each,
    ));
    others.extend(figure("the same, compressed", &each, 0.80));
    if churn > 0 {
        let count = bench.sessions;
        let mut each = Vec::new();
        for kind in &bench.kinds {
            each.push(churned(bench, kind, count, churn * 1_000_000).ok());
        }
        let name = format!("common, after {churn} million of churn");
        table.row(row(&name, Shape::Common.own_bytes(), &each));
        common.extend(figure("after churn", &each, 0.65));
    }
    let bars = Bars {
        title: "Resident bytes for each byte of a session".to_owned(),
        unit: "times the session's own bytes",
        servers: bench.kinds.iter().map(Kind::name).collect(),
        groups,
    };
    let plots = vec![Plot::Bars("memory", bars)];
    report.add("memory", "Resident bytes a session, over the empty server", table, plots);
    if bench.kinds.len() > 1 {
        report.reach(Goal::Memory, common);
        report.reach(Goal::OtherSessions, others);
    }
    Ok(())
}

/// The first server's bytes as a share of the second's, and whether that is within the limit.
fn figure(name: &str, each: &[Option<f64>], limit: f64) -> Option<Figure> {
    let ratio = ratio(each)?;
    Some((format!("{name} {ratio:.2}"), round(ratio) <= limit))
}

fn ratio(each: &[Option<f64>]) -> Option<f64> {
    match each {
        [Some(ours), Some(other), ..] => Some(ours / other),
        _ => None,
    }
}

fn row(name: &str, own: u32, each: &[Option<f64>]) -> Vec<String> {
    let mut row = vec![name.to_owned(), own.to_string()];
    row.extend(each.iter().map(|each| each.map_or("–".to_owned(), |bytes| format!("{bytes:.0}"))));
    row.push(ratio(each).map_or_else(String::new, |ratio| format!("{ratio:.2}")));
    row
}

/// Fills a new server with `count` sessions; their resident bytes each.
fn measure(
    bench: &Bench,
    kind: &Kind,
    flags: &[&str],
    count: u32,
    write: impl FnMut(u32, &mut Vec<u8>) -> u32,
) -> io::Result<f64> {
    let target = bench.start(kind, flags)?;
    let empty = resident(&target)?;
    let bar = progress(&format!("memory: {}", kind.name()), u64::from(count));
    load::fill(&target, count, write, &bar)?;
    bar.finish_and_clear();
    Ok((resident(&target)? - empty) / f64::from(count))
}

/// The strings once more, compressed by the server that can: beside what others take for them.
fn compressed(bench: &Bench, plain: &[Option<f64>]) -> Vec<Option<f64>> {
    let (shape, flags) = (Shape::Strings, ["--string-compression-threshold", "256"]);
    let count = shape.share(bench.sessions);
    let write = |number, out: &mut Vec<u8>| shape.write(number, out);
    let ours = measure(bench, &bench.kinds[0], &flags, count, write).ok();
    std::iter::once(ours).chain(plain[1..].iter().copied()).collect()
}

/// The same after `rounds` random logins, visits, field deletions and expiries.
fn churned(bench: &Bench, kind: &Kind, count: u32, rounds: u32) -> io::Result<f64> {
    let target = bench.start(kind, &[])?;
    let empty = resident(&target)?;
    let bar = progress(&format!("churn: {}", kind.name()), u64::from(count + rounds));
    load::fill(&target, count, |number, out| Shape::Common.write(number, out), &bar)?;
    let mut rng = fastrand::Rng::with_seed(7);
    load::fill(
        &target,
        rounds,
        |_, out| {
            let number = rng.u32(0..count);
            match rng.u32(0..10) {
                0..3 => Shape::Common.write(number, out),
                3..8 => Mix::Visit.write(&mut rng, count, out),
                8 => {
                    let field = [b'f', b'i', b'e', b'l', b'd', b':', b'0' + rng.u8(0..8)];
                    request_with_key(b"HDEL", number, &field, out);
                    1
                }
                _ => {
                    request_with_key(b"PEXPIRE", number, b"1", out);
                    1
                }
            }
        },
        &bar,
    )?;
    bar.finish_and_clear();
    let alive = target.dbsize()? as f64;
    Ok((resident(&target)? - empty) / alive)
}

fn request_with_key(name: &[u8], number: u32, arg: &[u8], out: &mut Vec<u8>) {
    let key = Key::new(number);
    mix::request(&[name, key.name(), arg], out);
}

fn resident(target: &Target) -> io::Result<f64> {
    let unknown = || io::Error::other("the server's memory is not known");
    target.resident().map(|bytes| bytes as f64).ok_or_else(unknown)
}
