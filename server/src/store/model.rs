//! The keyspace held against a plain model: ordered maps, searched from end to end.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::clock::Millis;

/// Values and deadlines by field.
type Fields = BTreeMap<Vec<u8>, (Vec<u8>, Millis)>;

#[derive(Debug, Clone, PartialEq)]
enum Plain {
    Text(Vec<u8>),
    Hash(Fields),
    Set(BTreeSet<Vec<u8>>),
}

#[derive(Debug, Default)]
struct Model(BTreeMap<Vec<u8>, (Plain, Millis)>);

impl Model {
    fn hash(&mut self, key: &[u8]) -> Option<&mut Fields> {
        match self.0.entry(key.to_vec()).or_insert((Plain::Hash(BTreeMap::new()), 0)) {
            (Plain::Hash(hash), _) => Some(hash),
            _ => None,
        }
    }

    /// What falls due by `now`, each with its moment.
    fn end(&mut self, now: Millis) -> Vec<(Millis, Vec<u8>, usize)> {
        let mut ended = Vec::new();
        self.0.retain(|key, (value, deadline)| {
            let whole = *deadline != 0 && *deadline <= now;
            let until = if whole { *deadline - 1 } else { now };
            if let Plain::Hash(hash) = value {
                let moments: BTreeSet<Millis> = hash
                    .values()
                    .map(|(_, at)| *at)
                    .filter(|at| *at != 0 && *at <= until)
                    .collect();
                for at in moments {
                    let count = hash.values().filter(|(_, other)| *other == at).count();
                    ended.push((at, key.clone(), count));
                    hash.retain(|_, (_, other)| *other != at);
                }
            }
            let is_empty = matches!(value, Plain::Hash(hash) if hash.is_empty());
            if whole && !is_empty {
                ended.push((*deadline, key.clone(), 0));
            }
            !whole && !is_empty
        });
        ended.sort();
        ended
    }
}

fn plain(value: ValueRef<'_>) -> Plain {
    match value {
        ValueRef::Str(text) => Plain::Text(text.bytes().into_owned()),
        ValueRef::Hash(hash) => {
            let at = |field| hash.deadline(field).unwrap_or(0);
            let fields = hash.pairs(0).into_iter();
            Plain::Hash(fields.map(|(f, v)| (f.to_vec(), (v.to_vec(), at(f)))).collect())
        }
        ValueRef::Set(set) => Plain::Set(set.iter().map(|member| member.into_owned()).collect()),
        ValueRef::SortedSet(_) => unreachable!("the model has none"),
    }
}

const LIMITS: HashLimits = HashLimits { entries: 8, value: 64 };

/// Half the rounds compress strings.
const TEXTS: [StrLimits; 2] = [StrLimits { compress_from: 0 }, StrLimits { compress_from: 64 }];

/// One step of random work on both.
fn step(keyspace: &mut Keyspace, model: &mut Model, rng: &mut fastrand::Rng, now: Millis) {
    let length = if rng.u32(..40) == 0 { 300 } else { rng.usize(..3) };
    let key = [vec![b'k'; length], rng.u32(..1500).to_string().into_bytes()].concat();
    let field = format!("field:{}", rng.u32(..12)).into_bytes();
    let sizes = [0, 1, 5, 32, 32, 32, 70, 300, 3000];
    let value = vec![rng.u8(..); sizes[rng.usize(..sizes.len())]];
    let soon = now + rng.u64(1..400);
    let deadline = [None, Some(soon), Some(soon), Some(1 << 50)][rng.usize(..4)];
    let db = keyspace.db_mut(0);
    let used = |_| None;
    let texts = TEXTS[rng.usize(..2)];
    match rng.u32(..15) {
        0 => {
            db.insert_text(&key, &value, Access::used_at(now), texts);
            model.0.insert(key, (Plain::Text(value), 0));
        }
        1..=5 => {
            let done = db.create::<Hash>(&key, used, Access::used_at(now)).map(|mut hash| {
                let is_new = hash.insert_keep_deadline(&field, &value, &LIMITS);
                assert!(!hash.insert_keep_deadline(&field, &value, &LIMITS));
                is_new
            });
            let expected = model.hash(&key).map(|hash| {
                let at = hash.get(&field).map_or(0, |(_, at)| *at);
                hash.insert(field, (value, at)).is_none()
            });
            assert_eq!(done.ok(), expected);
        }
        6 | 7 => {
            let done = db.write::<Hash>(&key, now, used);
            let found = model.0.get_mut(&key);
            match (done, found) {
                (Ok(Some(mut hash)), Some((Plain::Hash(expected), _))) => {
                    let known = expected.get_mut(&field);
                    let until = deadline.filter(|at| *at < 1 << 48);
                    assert_eq!(hash.set_deadline(&field, until), known.is_some());
                    known.into_iter().for_each(|entry| entry.1 = until.unwrap_or(0));
                }
                (Ok(None), None) => {}
                (Err(WrongType), Some((Plain::Text(_) | Plain::Set(_), _))) => {}
                (done, found) => panic!("{done:?} where the model has {found:?}"),
            }
        }
        8 => {
            if let Ok(Some(mut hash)) = db.write::<Hash>(&key, now, used) {
                let expected = model.hash(&key).expect("it is a hash there too");
                assert_eq!(hash.remove(&field), expected.remove(&field).is_some());
                assert_eq!(hash.len(), expected.len());
            }
        }
        9 => {
            if let Ok(mut set) = db.create::<Set>(&key, used, Access::used_at(now)) {
                let set_in_model =
                    model.0.entry(key.clone()).or_insert((Plain::Set(BTreeSet::new()), 0));
                let Plain::Set(expected) = &mut set_in_model.0 else { panic!("no set there") };
                let is_new = set.add(&field, &SetLimits::default());
                assert_eq!(is_new, expected.insert(field));
            }
        }
        10 | 11 => {
            let found = model.0.get_mut(&key);
            assert_eq!(db.set_deadline(&key, deadline, now), found.is_some());
            found.into_iter().for_each(|entry| entry.1 = deadline.unwrap_or(0));
        }
        12 => {
            if let Ok(Some(mut text)) = db.write::<Str>(&key, now, used) {
                let expected = model.0.get_mut(&key).map(|(value, _)| value);
                let Some(Plain::Text(expected)) = expected else { panic!("no string there") };
                text.append(b"more");
                expected.extend_from_slice(b"more");
            }
        }
        13 => assert_eq!(db.remove(&key, now), model.0.remove(&key).is_some()),
        _ => {
            let taken = db.take(&key, now);
            let expected = model.0.remove(&key);
            assert_eq!(taken.is_some(), expected.is_some());
            if let (Some(object), Some(expected)) = (taken, expected) {
                db.adopt(b"moved", object, texts);
                model.0.insert(b"moved".to_vec(), expected);
            }
        }
    }
    model.0.retain(|_, (value, _)| !matches!(value, Plain::Hash(hash) if hash.is_empty()));
}

fn settle(keyspace: &mut Keyspace, model: &mut Model, now: Millis, order: Order) {
    let mut ended: Vec<(Vec<u8>, usize)> = Vec::new();
    while let Some(due) = keyspace.pop_due(now, order) {
        ended.push(match due {
            Due::Key { key, .. } => (key.into(), 0),
            Due::Fields { key, fields, .. } => (key.into(), fields.len()),
        });
    }
    let expected = model.end(now);
    let times: BTreeMap<_, Vec<_>> = expected.iter().fold(BTreeMap::new(), |mut times, entry| {
        times.entry((entry.1.clone(), entry.2)).or_insert_with(Vec::new).push(entry.0);
        times
    });
    assert_eq!(ended.len(), expected.len());
    // What ends at the same moment may come in any order, and nothing else may unless all may.
    for (got, moment) in ended.iter().zip(expected.iter().map(|(at, _, _)| *at)) {
        let moments = times.get(got).expect("it has ended");
        let is_in_turn = order == Order::Place || moments.contains(&moment);
        assert!(is_in_turn, "{got:?} at {moment}: {times:?}");
    }
    assert!(keyspace.next_due().is_none_or(|at| at > now));
}

fn compare(keyspace: &Keyspace, model: &Model) {
    let db = keyspace.db(0);
    assert_eq!(db.len(), model.0.len());
    let at = |object: &ObjectRef<'_>| object.deadline().unwrap_or(0);
    let all: BTreeMap<_, _> = db
        .iter()
        .map(|object| (object.key().to_vec(), (plain(object.value()), at(&object))))
        .collect();
    assert_eq!(all, model.0);
    let mut seen = BTreeSet::new();
    let mut cursor = 0;
    loop {
        cursor = db.scan(cursor, 7, &mut |object| {
            seen.insert(object.key().to_vec());
        });
        if cursor == 0 {
            break;
        }
    }
    assert!(seen.iter().eq(model.0.keys()));
    let figures = db.figures(0);
    let fields =
        |value: &Plain| matches!(value, Plain::Hash(hash) if hash.values().any(|(_, at)| *at != 0));
    assert_eq!(figures.volatile, model.0.values().filter(|(_, at)| *at != 0).count());
    assert_eq!(figures.volatile_fields, model.0.values().filter(|(v, _)| fields(v)).count());
    assert_eq!(db.bytes(), db.recounted());
}

#[test]
fn the_keyspace_behaves_like_plain_maps() {
    for seed in 0..4 {
        let order = if seed % 2 == 0 { Order::Deadlines } else { Order::Place };
        let mut rng = fastrand::Rng::with_seed(seed);
        let (mut keyspace, mut model, mut now) = (Keyspace::new(2), Model::default(), 1_000_000);
        for round in 0..320 {
            // Time stands still for long now and then, so that the keyspace grows.
            let steps = if round % 40 < 20 { 200 } else { 20 };
            (0..steps).for_each(|_| step(&mut keyspace, &mut model, &mut rng, now));
            if round % 40 == 19 {
                compare(&keyspace, &model);
            }
            now += if round % 40 < 20 { rng.u64(..3) } else { rng.u64(..60) };
            settle(&mut keyspace, &mut model, now, order);
        }
        compare(&keyspace, &model);
        settle(&mut keyspace, &mut model, 1 << 51, order);
        for key in model.0.keys() {
            assert!(keyspace.db_mut(0).remove(key, 0));
        }
        assert_eq!(keyspace.db(0).bytes(), keyspace.db(0).recounted());
        assert!(keyspace.bytes() < 200_000, "{} bytes for nothing", keyspace.bytes());
    }
}

#[test]
fn a_scan_loses_nothing_that_stays() {
    let mut keyspace = Keyspace::new(1);
    let db = keyspace.db_mut(0);
    let put = |db: &mut Db, number: u32| {
        db.insert_text(
            format!("key:{number}").as_bytes(),
            b"v",
            Access::used_at(0),
            StrLimits::default(),
        );
    };
    (0..3_000).for_each(|number| put(db, number));
    let (mut seen, mut cursor, mut next) = (BTreeSet::new(), 0, 3_000);
    loop {
        cursor = db.scan(cursor, 10, &mut |object| {
            seen.insert(object.key().to_vec());
        });
        if cursor == 0 {
            break;
        }
        // Much comes and goes meanwhile, so that segments split and merge.
        for _ in 0..400 {
            put(db, next);
            next += 1;
        }
        for gone in (next - 450).max(3_000)..next - 50 {
            db.remove(format!("key:{gone}").as_bytes(), 0);
        }
    }
    assert!((0..3_000).all(|number| seen.contains(format!("key:{number}").as_bytes())));
}

#[test]
fn sessions_of_one_application_take_less_than_their_own_bytes() {
    let mut keyspace = Keyspace::new(1);
    let count = 50_000;
    for number in 0..count {
        let key = format!("session:{number:010}");
        let db = keyspace.db_mut(0);
        let mut hash =
            db.create::<Hash>(key.as_bytes(), |_| None, Access::used_at(0)).expect("a hash");
        for field in 0..8 {
            let name = format!("field:{field}");
            hash.insert(name.as_bytes(), &[b'v'; 32], &HashLimits::default());
        }
        drop(hash);
        db.set_deadline(key.as_bytes(), Some(1_800_000 + number), 0);
    }
    let each = keyspace.bytes() / count as usize;
    assert!(each < 330, "{each} bytes a session of 330 bytes");
}

#[test]
fn short_deadlines_among_long_ones_leave_nothing_behind() {
    let mut keyspace = Keyspace::new(1);
    let db = keyspace.db_mut(0);
    let put = |db: &mut Db, key: &str, at: Millis| {
        db.insert_text(key.as_bytes(), b"v", Access::used_at(0), StrLimits::default());
        db.set_deadline(key.as_bytes(), Some(at), 0);
    };
    put(db, "long", 1_800_000);
    let mut ended = 0;
    for now in (0..10_000).step_by(10) {
        put(db, "short", now + 5);
        put(db, "shorter", now + 2);
        while db.next_due().is_some_and(|at| at <= now + 5) {
            ended += usize::from(db.pop_due(0, now + 5, Order::Deadlines).is_some());
        }
        assert!(db.wheel.len() <= 8, "{} entries for three keys", db.wheel.len());
    }
    assert_eq!(ended, 2_000);
    while db.next_due().is_some_and(|at| at <= 1_800_000) {
        ended += usize::from(db.pop_due(0, 1_800_000, Order::Deadlines).is_some());
    }
    assert_eq!(ended, 2_001);
}
