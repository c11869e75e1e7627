//! What is written is read again; what real servers wrote is read; what is damaged is told.

use proptest::prelude::*;

use super::*;

type Bytes = Vec<u8>;

/// A key as it is written, and as it is to be read again.
#[derive(Debug, Clone)]
struct Written {
    entry: Entry,
    layout: Layout,
}

fn bytes() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        4 => prop::collection::vec(any::<u8>(), 0..40),
        1 => (any::<u8>(), 1..400usize).prop_map(|(byte, times)| vec![byte; times]),
        2 => any::<i64>().prop_map(|value| value.to_string().into_bytes()),
        2 => (-40_000..40_000i64).prop_map(|value| value.to_string().into_bytes()),
        1 => "[a-c]{0,300}".prop_map(String::into_bytes),
    ]
}

fn score() -> impl Strategy<Value = f64> {
    prop_oneof![
        (-5000..5000i32).prop_map(f64::from),
        any::<f64>().prop_filter("a score is a number", |score| !score.is_nan()),
        Just(f64::INFINITY),
        Just(-0.0),
        Just(1e15),
        Just(9_007_199_254_740_993.0),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    let deadline = prop::option::of(1..2_000_000_000_000u64);
    let field = (bytes(), bytes(), deadline);
    let hash = prop::collection::vec(field, 1..12).prop_map(|fields| {
        let fields = fields.iter().map(|(name, value, at)| (&**name, &**value, *at));
        Value::Hash(fields.collect())
    });
    prop_oneof![
        bytes().prop_map(Value::Str),
        hash,
        prop::collection::vec(bytes(), 1..12).prop_map(Value::Set),
        prop::collection::vec((bytes(), score()), 1..12).prop_map(Value::SortedSet),
    ]
}

fn written() -> impl Strategy<Value = Written> {
    let layout = prop_oneof![Just(Layout::Packed), Just(Layout::Plain)];
    (bytes(), prop::option::of(1..=i64::MAX as u64), value(), layout).prop_map(
        |(key, deadline, value, layout)| {
            let entry = Entry { key, deadline, usage: None, value };
            Written { entry, layout }
        },
    )
}

fn write_key(writer: &mut Writer, out: &mut Bytes, place: Place<'_>, written: &Written) {
    match &written.entry.value {
        Value::Str(value) => writer.string(out, place, value),
        Value::Hash(fields) => {
            let first = fields.iter().filter_map(|(.., deadline)| deadline).min();
            writer.hash(out, place, (written.layout, fields.len()), first, fields.iter());
        }
        Value::Set(members) => writer.set(out, place, members.len(), members.iter()),
        Value::SortedSet(members) => {
            let all = members.iter().map(|(member, score)| (&**member, *score));
            writer.sorted_set(out, place, (written.layout, members.len()), all);
        }
    }
}

/// What a reader of this version's file finds of a key.
fn expected(written: &Written, version: Version) -> Entry {
    let mut entry = written.entry.clone();
    match &mut entry.value {
        Value::Hash(fields) if !version.holds_field_deadlines() => {
            *fields = fields.iter().map(|(name, value, _)| (name, value, None)).collect();
        }
        Value::SortedSet(members) if written.layout == Layout::Plain => members.reverse(),
        _ => {}
    }
    entry
}

fn file(version: Version, compress: bool, keys: &[Written]) -> Bytes {
    let (mut writer, mut out) = (Writer::new(version, compress), Vec::new());
    writer.begin(&mut out);
    writer.aux(&mut out, "redis-ver", b"7.0.15");
    writer.select(&mut out, 5);
    writer.resize(&mut out, keys.len() as u64, 70_000);
    for written in keys {
        let Entry { key, deadline, .. } = &written.entry;
        let place = Place::Key { key, deadline: *deadline };
        write_key(&mut writer, &mut out, place, written);
    }
    writer.end(&mut out);
    let checksum = trailer(Some(&{
        let mut checksum = Checksum::new();
        checksum.update(&out);
        checksum
    }));
    out.extend_from_slice(&checksum);
    out
}

/// All records of a file that comes in pieces of these sizes.
fn read(file: &[u8], options: ReadOptions, sizes: &[usize]) -> Result<Vec<Record>, ReadError> {
    let (mut reader, mut records, mut rest) = (Reader::new(options), Vec::new(), file);
    let mut sizes = sizes.iter().cycle();
    loop {
        while let Some(record) = reader.read()? {
            records.push(record.clone());
            if let Record::Key(entry) = record {
                reader.recycle(entry);
            }
        }
        if rest.is_empty() {
            break;
        }
        let size = sizes.next().map_or(rest.len(), |size| *size).clamp(1, rest.len());
        reader.feed(&rest[..size]);
        rest = &rest[size..];
    }
    reader.finish()?;
    assert_eq!(reader.position(), file.len() as u64);
    Ok(records)
}

const ALL: [Version; 4] = [Version::V10, Version::V11, Version::V12, Version::Valkey80];

proptest! {
    #[test]
    fn what_is_written_is_read_however_it_comes(
        keys in prop::collection::vec(written(), 0..6),
        version in prop::sample::select(&ALL[..]),
        compress in any::<bool>(),
        sizes in prop::collection::vec(1..200usize, 1..8),
    ) {
        let file = file(version, compress, &keys);
        let records = read(&file, ReadOptions::default(), &sizes).map_err(|e| e.to_string());
        let dialect = Dialect { version: version.number(), valkey: version == Version::Valkey80 };
        let mut due = vec![
            Record::Begin(dialect),
            Record::Aux { name: b"redis-ver".to_vec(), value: b"7.0.15".to_vec() },
            Record::Select(5),
            Record::Resize { keys: keys.len() as u64, volatile: 70_000 },
        ];
        due.extend(keys.iter().map(|written| Record::Key(expected(written, version))));
        due.push(Record::End);
        prop_assert_eq!(records, Ok(due));
    }

    #[test]
    fn a_dumped_value_is_restored(
        written in written(),
        version in prop::sample::select(&ALL[..]),
        flipped in any::<prop::sample::Index>(),
    ) {
        let (mut writer, mut out) = (Writer::new(version, true), b"before".to_vec());
        write_key(&mut writer, &mut out, Place::Dump, &written);
        writer.end_dump(&mut out, 6);
        let options = DumpOptions { longest: ReadOptions::LONGEST, checksum: true };
        let due = expected(&written, version).value;
        prop_assert_eq!(read_dump(&out[6..], options), Ok(due));
        let at = 6 + flipped.index(out.len() - 6);
        out[at] ^= 1;
        prop_assert_eq!(read_dump(&out[6..], options), Err(DumpError::Footer));
    }

    #[test]
    fn a_cut_file_ends_too_early_and_a_changed_one_is_told(
        keys in prop::collection::vec(written(), 1..4),
        place in any::<prop::sample::Index>(),
        bit in 0..8u8,
    ) {
        let mut file = file(Version::Valkey80, true, &keys);
        let at = place.index(file.len());
        let cut = read(&file[..at], ReadOptions::default(), &[50]);
        prop_assert!(cut.is_err());
        file[at] ^= 1 << bit;
        let changed = read(&file, ReadOptions::default(), &[50]);
        // A checksum of zeros says that there is none, and cannot come of one changed bit here.
        prop_assert!(changed.is_err(), "byte {at}");
    }
}

#[test]
fn deadlines_of_fields_that_have_no_place_are_counted() {
    let fields: [FieldRef<'_>; 3] = [(b"a", b"", Some(9)), (b"b", b"", None), (b"c", b"", Some(7))];
    let value = Value::Hash(Fields::from_iter(fields));
    let entry = Entry { key: b"h".to_vec(), deadline: None, usage: None, value };
    for (version, dropped) in ALL.into_iter().zip([2, 2, 0, 0]) {
        let written = Written { entry: entry.clone(), layout: Layout::Packed };
        let (mut writer, mut out) = (Writer::new(version, true), Vec::new());
        write_key(&mut writer, &mut out, Place::Dump, &written);
        assert_eq!(writer.dropped_deadlines(), dropped);
    }
}

#[test]
fn what_follows_the_end_is_left_for_others() {
    let file = file(Version::V10, true, &[]);
    let mut reader = Reader::new(ReadOptions::default());
    reader.feed(&file);
    reader.feed(b"*1\r\n$4\r\nPING\r\n");
    while reader.read().expect("the file is whole").is_some() {}
    assert!(reader.is_over());
    assert_eq!(reader.take_rest(), b"*1\r\n$4\r\nPING\r\n");
}

#[test]
fn an_error_names_place_key_and_reason() {
    let entry = Entry {
        key: b"queue:1".to_vec(),
        deadline: None,
        usage: None,
        value: Value::Str(b"x".to_vec()),
    };
    let mut file = file(Version::V10, true, &[Written { entry, layout: Layout::Plain }]);
    let at = file.windows(7).position(|window| window == b"queue:1").expect("it is there") - 2;
    file[at] = 1;
    let error = read(&file, ReadOptions::default(), &[]).expect_err("a list is not read");
    assert_eq!(
        error.to_string(),
        format!(
            "at byte {}, key \"queue:1\": the value is a list, a type that is not known here; \
             rdb-skip-unknown-types yes leaves such keys out",
            at + 9
        )
    );
    file[at] = 99;
    let error = read(&file, ReadOptions::default(), &[]).expect_err("nor is this");
    assert_eq!(error.to_string(), format!("at byte {}: type 99 is not known here", at + 1));
    let error = read(b"REDIS0010", ReadOptions::default(), &[]).expect_err("it is cut");
    assert_eq!(error.to_string(), "at byte 9: the file ends too early");
}

#[test]
fn old_files_end_without_a_checksum_and_count_deadlines_in_seconds() {
    let file = b"REDIS0003\xfe\x00\xfd\x10\x00\x00\x00\x09\x01z\x07\x01\x01a\x01\x00b\xff\
        \xf9\x05\x00\x01k\xc0\x07\x03\x01s\x02\x01a\xff\x01b\x031.5\xff";
    let records = read(file, ReadOptions::default(), &[1]).expect("it is whole");
    let key = |key: &[u8], deadline, usage, value| {
        Record::Key(Entry { key: key.to_vec(), deadline, usage, value })
    };
    let field: FieldRef<'_> = (b"a", b"b", None);
    let scores = vec![(b"a".to_vec(), f64::NEG_INFINITY), (b"b".to_vec(), 1.5)];
    assert_eq!(
        records[2..],
        [
            key(b"z", Some(16_000), None, Value::Hash(Fields::from_iter([field]))),
            key(b"k", None, Some(Usage::Frequency(5)), Value::Str(b"7".to_vec())),
            key(b"s", None, None, Value::SortedSet(scores)),
            Record::End,
        ]
    );
}
