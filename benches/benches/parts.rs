//! The server's parts one by one: the request parser beside the crate `redis-protocol`, the keyspace
//! beside a `DashMap`, the deadline wheel.

use std::hint::black_box;

use bytes::Bytes;
use cloakroom::resp::{Limits, Parsed, RequestParser};
use cloakroom::store::{Access, Db, Hash, Keyspace, Kind, Order, Popped, Str, StrLimits, Wheel};
use cloakroom_benches::document;
use cloakroom_benches::mix::{Key, Mix, NAMES, log_in};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use dashmap::DashMap;

const SESSIONS: u32 = 100_000;

/// An owned name and value.
type Field = (Vec<u8>, Vec<u8>);

fn parsing(criterion: &mut Criterion) {
    for mix in [Mix::Hget, Mix::Login] {
        let (mut rng, mut batch) = (fastrand::Rng::with_seed(1), Vec::new());
        let requests: u32 = (0..32).map(|_| mix.write(&mut rng, SESSIONS, &mut batch)).sum();
        let mut group = criterion.benchmark_group(format!("parse 32 × {}", mix.name()));
        group.throughput(Throughput::Elements(requests.into()));
        group.bench_function("ours", |bench| {
            let (mut parser, limits) = (RequestParser::new(), Limits::default());
            bench.iter(|| {
                let mut rest = &batch[..];
                while let Ok(Parsed::Complete(length)) = parser.parse(rest, &limits) {
                    black_box(parser.args(rest));
                    rest = &rest[length..];
                }
            });
        });
        group.bench_function("redis-protocol, ranges", |bench| {
            bench.iter(|| {
                let mut rest = &batch[..];
                while let Ok(Some((frame, length))) =
                    redis_protocol::resp2::decode::decode_range(rest)
                {
                    black_box(frame);
                    rest = &rest[length..];
                }
            });
        });
        let batch = Bytes::from(batch.clone());
        group.bench_function("redis-protocol, bytes", |bench| {
            bench.iter(|| {
                let mut rest = batch.clone();
                while let Ok(Some((frame, length))) =
                    redis_protocol::resp2::decode::decode_bytes(&rest)
                {
                    black_box(frame);
                    rest = rest.slice(length..);
                }
            });
        });
        group.finish();
    }
}

fn filled() -> Db {
    let mut db = Db::default();
    for number in 0..SESSIONS {
        log_in(&mut db, number);
    }
    db
}

fn keyspace(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("keyspace");
    let (mut db, mut rng) = (filled(), fastrand::Rng::with_seed(2));
    group.bench_function("read a field", |bench| {
        bench.iter(|| {
            let key = Key::new(rng.u32(..SESSIONS));
            let hash = db.get(key.name(), 0).and_then(|object| Hash::of(object.value()));
            black_box(hash.and_then(|hash| hash.get(b"field:5", 0)).map(<[u8]>::len))
        });
    });
    group.bench_function("refresh a deadline", |bench| {
        let mut at = 1_000_000;
        bench.iter(|| {
            at += 1;
            db.set_deadline(Key::new(rng.u32(..SESSIONS)).name(), Some(at), 0)
        });
    });
    group.bench_function("log in", |bench| {
        let mut number = SESSIONS;
        bench.iter(|| {
            number += 1;
            log_in(&mut db, number);
            db.remove(Key::new(number - SESSIONS).name(), 0)
        });
    });
    // What a concurrent map of owned fields would cost, without deadlines or accounting.
    let session = || NAMES.map(|field| (field.to_vec(), vec![b'v'; 32])).to_vec();
    let map: DashMap<Vec<u8>, Vec<Field>> =
        (0..SESSIONS).map(|number| (Key::new(number).name().to_vec(), session())).collect();
    group.bench_function("read a field, dashmap", |bench| {
        bench.iter(|| {
            let found = map.get(Key::new(rng.u32(..SESSIONS)).name());
            let fields = found.as_ref().map(|found| found.value());
            black_box(fields.and_then(|all| all.iter().find(|(f, _)| f == b"field:5")).is_some())
        });
    });
    group.bench_function("log in, dashmap", |bench| {
        let mut number = SESSIONS;
        bench.iter(|| {
            number += 1;
            map.insert(Key::new(number).name().to_vec(), session());
            map.remove(Key::new(number - SESSIONS).name())
        });
    });
    group.finish();
}

/// Sessions that are one string of JSON, kept as they are and compressed.
fn strings(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("strings");
    let mut sessions = vec![Vec::new(); 1000];
    let numbered = sessions.iter_mut().zip(0..);
    numbered.for_each(|(session, number)| document::write(number, session));
    for (name, compress_from) in [("as they are", 0), ("compressed", 256)] {
        let (limits, mut rng) = (StrLimits { compress_from }, fastrand::Rng::with_seed(3));
        let mut db = Db::default();
        let mut put = |db: &mut Db, number: u32| {
            let session = &sessions[rng.usize(..sessions.len())];
            db.insert_text(Key::new(number).name(), session, Access::used_at(0), limits);
        };
        (0..SESSIONS).for_each(|number| put(&mut db, number));
        let mut number = 0;
        group.bench_function(format!("set, {name}"), |bench| {
            bench.iter(|| {
                number = (number + 7_919) % SESSIONS;
                put(&mut db, number);
            });
        });
        group.bench_function(format!("get, {name}"), |bench| {
            bench.iter(|| {
                number = (number + 7_919) % SESSIONS;
                let object = db.get(Key::new(number).name(), 0);
                let text = object.and_then(|object| Str::of(object.value()));
                black_box(text.map(|text| text.bytes().len()))
            });
        });
    }
    group.finish();
}

fn deadlines(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("deadlines");
    group.throughput(Throughput::Elements(100_000));
    group.bench_function("arm and reach 100,000", |bench| {
        let mut rng = fastrand::Rng::with_seed(3);
        bench.iter_batched(
            Wheel::new,
            |mut wheel| {
                (0..100_000).for_each(|hash| wheel.arm(rng.u64(1..2_000_000), hash));
                while !matches!(wheel.pop_due(2_000_000), Popped::Nothing) {}
                wheel
            },
            BatchSize::LargeInput,
        );
    });
    group.finish();
}

/// Half a million sessions that end in the same second, in an order that no memory has.
fn ending(criterion: &mut Criterion) {
    const ENDING: u32 = 500_000;
    let mut group = criterion.benchmark_group("ending");
    group.throughput(Throughput::Elements(ENDING.into())).sample_size(10);
    group.bench_function("a session's deadline", |bench| {
        let mut rng = fastrand::Rng::with_seed(4);
        let setup = || {
            let mut keyspace = Keyspace::new(1);
            for number in 0..ENDING {
                let db = keyspace.db_mut(0);
                log_in(db, number);
                db.set_deadline(Key::new(number).name(), Some(1_000 + rng.u64(..1_000)), 0);
            }
            keyspace
        };
        let end_all = |mut keyspace: Keyspace| {
            (1_000..=2_000).for_each(|now| while keyspace.pop_due(now, Order::Place).is_some() {});
            keyspace
        };
        bench.iter_batched(setup, end_all, BatchSize::LargeInput);
    });
    group.finish();
}

criterion_group!(parts, parsing, keyspace, strings, deadlines, ending);
criterion_main!(parts);
