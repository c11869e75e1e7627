//! Clients that do what they should not: each is contained. Others are served while it is
//! connected, and the server's memory stays bounded.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicU64, Ordering};

use cloakroom_tests::watched::{OFFENDER, Watched, offender, read_to_end};
use cloakroom_tests::wire::{Value, encode};

const MIB: u64 = 1 << 20;

fn ok() -> Value {
    Value::Status(b"OK".to_vec())
}

fn text_of(value: &Value) -> String {
    String::from_utf8_lossy(&value.bytes().unwrap_or_default()).into_owned()
}

#[test]
fn half_a_request() {
    let mut server = Watched::start(&[]);
    let mut half = offender(&server);
    half.send_raw(b"*2\r\n$4\r\nECHO\r\n$10\r\nhalf").expect("it is sent");
    server.until_offender("qbuf", |bytes| bytes > Some(0));
    server.others_are_served();
    half.send_raw(b" done!\r\n").expect("it is still there");
    assert_eq!(half.read().expect("an answer"), Value::Bulk(b"half done!".to_vec()));
}

#[test]
fn a_request_byte_by_byte_from_many() {
    let mut server = Watched::start(&[]);
    let mut many: Vec<_> = (0..200).map(|_| server.connect()).collect();
    for byte in encode(&["ECHO", "slowly"]) {
        many.iter_mut().for_each(|one| one.send_raw(&[byte]).expect("it is sent"));
    }
    server.others_are_served();
    for mut one in many {
        assert_eq!(one.read().expect("an answer"), Value::Bulk(b"slowly".to_vec()));
    }
}

#[test]
fn gigabytes_of_replies_that_nobody_reads() {
    let mut server = Watched::start(&[]);
    server.must(&["SET", "big", &"x".repeat(MIB as usize)]);
    let mut deaf = offender(&server);
    deaf.send_raw(&encode(&["GET", "big"]).repeat(4096)).expect("the requests fit");
    server.until_offender("omem", |bytes| bytes > Some(0));
    server.others_are_served();
    // Redis has copied four gigabytes by now, and nobody else was answered meanwhile.
    let unsent = server.offender("omem").expect("it is still connected");
    assert!(unsent <= 2 * MIB, "{unsent} bytes wait for it");
    assert!(server.growth() < 48 * MIB, "{} bytes more", server.growth());
    for _ in 0..4096 {
        let reply = deaf.read().expect("who reads after all gets everything");
        assert_eq!(reply.bytes().map(|bytes| bytes.len() as u64), Some(MIB));
    }
}

#[test]
fn many_who_read_nothing() {
    let mut server = Watched::start(&[]);
    server.must(&["SET", "big", &"x".repeat(MIB as usize)]);
    let mut all: Vec<_> = (0..50).map(|_| server.connect()).collect();
    let requests = encode(&["GET", "big"]).repeat(1000);
    all.iter_mut().for_each(|one| one.send_raw(&requests).expect("the requests fit"));
    server.others_are_served();
    let each = server.growth() / 50;
    assert!(each < 3 * MIB, "{each} bytes each");
    assert_eq!(server.number("connected_clients"), 51);
}

#[test]
fn half_a_gigabyte_that_is_only_claimed() {
    let mut server = Watched::start(&[]);
    let claims: [&[u8]; 3] = [
        b"*2\r\n$4\r\nECHO\r\n$536870912\r\nabc",
        b"*1048576\r\n$536870912\r\n",
        b"*1048576\r\n$4\r\nMGET\r\n",
    ];
    let mut all = Vec::new();
    for claim in claims.iter().cycle().take(300) {
        let mut one = server.connect();
        one.send_raw(claim).expect("it is sent");
        all.push(one);
    }
    server.others_are_served();
    assert_eq!(server.number("connected_clients"), 301);
    assert!(server.growth() < 16 * MIB, "{} bytes more", server.growth());
}

#[test]
fn a_flood() {
    let mut server = Watched::start(&[]);
    let mut pour = server.stream();
    let mut drain = pour.try_clone().expect("a second handle");
    let answered = AtomicU64::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let requests = b"PING\r\n".repeat(10_000);
            // It ends when the socket is shut below.
            while pour.write_all(&requests).is_ok() {}
        });
        scope.spawn(|| {
            let mut buffer = [0; 64 * 1024];
            while let Ok(read @ 1..) = drain.read(&mut buffer) {
                answered.fetch_add(read as u64, Ordering::Relaxed);
            }
        });
        while answered.load(Ordering::Relaxed) == 0 {
            std::thread::yield_now();
        }
        let before = answered.load(Ordering::Relaxed);
        server.others_are_served();
        while answered.load(Ordering::Relaxed) == before {
            std::thread::yield_now();
        }
        let growth = server.growth();
        drain_end(&server, &answered);
        assert!(growth < 16 * MIB, "{growth} bytes more");
    });
}

/// Has the server end the flood, so that its threads do.
fn drain_end(server: &Watched, _: &AtomicU64) {
    let mut other = server.connect();
    let killed = other.call(&["CLIENT", "KILL", "TYPE", "normal"]).expect("an answer");
    assert!(!killed.is_error());
}

#[test]
fn a_flood_of_requests_that_take_long() {
    let mut server = Watched::start(&[]);
    server.must(&["DEBUG", "POPULATE", "50000"]);
    let mut busy = offender(&server);
    let many = 400;
    busy.send_raw(&encode(&["KEYS", "*nothing*"]).repeat(many)).expect("they are sent");
    server.until_offender("qbuf", |bytes| bytes > Some(0));
    for _ in 0..50 {
        server.must(&["PING"]);
    }
    // Had they been executed in one go, nothing would be left by now.
    assert!(server.offender("qbuf") > Some(0), "others were served only after it");
    for _ in 0..many {
        assert_eq!(busy.read().expect("an answer"), Value::Array(vec![]));
    }
}

#[test]
fn pathological_patterns() {
    let mut server = Watched::start(&[]);
    let nearly = "a".repeat(2_000);
    for n in 0..50 {
        server.must(&["SET", &format!("{nearly}{n}"), "v"]);
    }
    let class = format!("*[{}]!", "bcdefgh".repeat(100_000));
    let mut subscriber = server.connect();
    for pattern in ["a*".repeat(500) + "!", "*a".repeat(500) + "!", "*?".repeat(900) + "!", class] {
        assert_eq!(server.ask(&["KEYS", &pattern]), Value::Array(vec![]));
        let page = server.ask(&["SCAN", "0", "COUNT", "1000", "MATCH", &pattern]);
        assert_eq!(page.items().map(|page| page[1].clone()), Some(Value::Array(vec![])));
        subscriber.call(&["PSUBSCRIBE", &pattern]).expect("an answer");
        assert_eq!(server.ask(&["PUBLISH", &nearly, "m"]), Value::Integer(0));
        assert_eq!(server.ask(&["CONFIG", "GET", &pattern]).items().map(<[_]>::len), Some(0));
        assert_eq!(server.ask(&["PUBSUB", "CHANNELS", &pattern]), Value::Array(vec![]));
    }
    server.others_are_served();
}

#[test]
fn a_subscriber_that_does_not_read() {
    let mut server = Watched::start(&[]);
    let mut deaf = offender(&server);
    deaf.call(&["SUBSCRIBE", "news"]).expect("an answer");
    let message = "x".repeat(MIB as usize);
    let mut received = 0;
    // It is closed at 32 MiB; what the kernel holds for it comes on top.
    while server.ask(&["PUBLISH", "news", &message]) == Value::Integer(1) {
        received += 1;
        assert!(received < 200, "it is never closed");
    }
    assert!(received >= 32, "closed before its limit, after {received} MiB");
    server.until_offender("omem", |bytes| bytes.is_none());
    assert_eq!(server.number("client_output_buffer_limit_disconnections"), 1);
    server.others_are_served();
    assert!(server.growth() < 96 * MIB, "{} bytes more", server.growth());
}

#[test]
fn a_subscriber_that_reads_late_gets_everything() {
    let mut server = Watched::start(&["--client-output-buffer-limit", "pubsub 0 0 0"]);
    let mut late = offender(&server);
    late.call(&["SUBSCRIBE", "news"]).expect("an answer");
    for n in 0..24 {
        let message = n.to_string().repeat(MIB as usize);
        assert_eq!(server.must(&["PUBLISH", "news", &message]), Value::Integer(1));
    }
    assert!(server.offender("omem") > Some(0), "the kernel holds it all");
    for n in 0..24 {
        let message = late.read().expect("a message");
        let text = message.items().and_then(|items| items[2].bytes()).expect("its text");
        assert!(text.starts_with(n.to_string().as_bytes()), "message {n}");
    }
}

#[test]
fn a_monitor_that_does_not_read() {
    let mut server = Watched::start(&["--client-output-buffer-limit", "replica 8mb 0 0"]);
    let mut deaf = offender(&server);
    assert_eq!(deaf.call(&["MONITOR"]).expect("an answer"), ok());
    let mut echoed = 0;
    while server.client(OFFENDER).is_some() {
        server.must(&["ECHO", &"x".repeat(MIB as usize)]);
        echoed += 1;
        assert!(echoed < 100, "it is never closed");
    }
    assert!(echoed >= 8, "closed before its limit, after {echoed} MiB");
    server.others_are_served();
}

#[test]
fn a_script_without_end() {
    let mut server = Watched::start(&["--busy-reply-threshold", "20"]);
    for script in [
        "while true do end",
        "while true do pcall(function() while true do end end) end",
        "local function again() return again() end again()",
        // Tables that unfold, each to twice the one before, on the way to JSON and to a reply.
        "local t = {1} for i = 1, 60 do t = {t, t} end return cjson.encode(t)",
        "local t = {1} for i = 1, 60 do t = {t, t} end return t",
    ] {
        let mut looping = offender(&server);
        looping.send(&["EVAL", script, "0"]).expect("it is sent");
        while !text_of(&server.ask(&["GET", "k"])).starts_with("BUSY") {}
        // Whoever connects now is told too, instead of waiting.
        let told = server.connect().call(&["PING"]).expect("an answer");
        assert!(text_of(&told).starts_with("BUSY Redis is busy running a script."), "{told}");
        assert_eq!(server.ask(&["SCRIPT", "KILL"]), ok());
        let end = looping.read().expect("it is told");
        assert!(text_of(&end).contains("Script killed by user with SCRIPT KILL"), "{end}");
        server.others_are_served();
        // The next script runs as if nothing had been.
        assert_eq!(server.ask(&["EVAL", "return 7", "0"]), Value::Integer(7));
    }
}

/// Who has sent much waits in the queue for a turn instead of keeping a thread waiting, and has to hear
/// there that no turn comes.
#[test]
fn a_script_without_end_before_others_in_the_queue() {
    const REQUESTS: usize = 200;
    let mut server = Watched::start(&["--busy-reply-threshold", "100", "--io-threads", "3"]);
    let mut looping = offender(&server);
    looping.send(&["EVAL", "while true do end", "0"]).expect("it is sent");
    let mut waiting = [server.connect(), server.connect()];
    let batch = encode(&["GET", "k"]).repeat(REQUESTS);
    let mut is_busy = false;
    while !is_busy {
        for client in &mut waiting {
            client.send_raw(&batch).expect("it is sent");
        }
        is_busy = true;
        for client in &mut waiting {
            for _ in 0..REQUESTS {
                let reply = client.read().expect("an answer");
                is_busy &= text_of(&reply).starts_with("BUSY");
            }
        }
    }
    assert_eq!(server.ask(&["SCRIPT", "KILL"]), ok());
    server.others_are_served();
}

#[test]
fn a_script_that_eats_memory() {
    let mut server = Watched::start(&["--lua-memory-limit", "8mb", "--proto-max-reply-len", "1mb"]);
    let scripts = [
        "local t = {} while true do t[#t + 1] = string.rep('x', 1000) .. #t end",
        "return string.rep('x', 100000000000)",
        "local s = 'x' while true do s = s .. s end",
        "local t = string.rep('x', 1e4) for i = 1, 40 do t = {t, t} end return cjson.encode(t)",
        "local t = string.rep('x', 1e4) for i = 1, 15 do t = {t, t} end return cmsgpack.pack(t)",
        "return cjson.decode('[' .. string.rep('1,', 5000000) .. '1]')",
        "local a = string.rep('\\1', 5000000) return #cmsgpack.unpack('\\221\\0\\76\\75\\64' .. a)",
        "redis.call('SADD', 's', 'member') return redis.call('SRANDMEMBER', 's', -1000000000000)",
    ];
    for script in scripts {
        let reply = server.ask(&["EVAL", script, "0"]);
        assert!(reply.is_error(), "{script} was answered");
        server.others_are_served();
        assert!(server.growth() < 128 * MIB, "{script}: {} bytes more", server.growth());
    }
    // A small table that unfolds to much is too long a reply.
    let mut greedy = offender(&server);
    let unfolding = "local t = {string.rep('x', 1000)} for i = 1, 60 do t = {t, t} end return t";
    greedy.send(&["EVAL", unfolding, "0"]).expect("it is sent");
    assert_eq!(read_to_end(&mut greedy).expect("it is closed"), []);
    server.others_are_served();
}

#[test]
fn a_transaction_that_grows_without_end() {
    let mut server = Watched::start(&["--client-query-buffer-limit", "4mb"]);
    let mut endless = offender(&server);
    assert_eq!(endless.call(&["MULTI"]).expect("an answer"), ok());
    let mut queued = 0;
    while endless.call(&["SET", "k", "some value or other"]).is_ok() {
        queued += 1;
        assert!(queued < 1_000_000, "it is never closed");
    }
    assert!(queued > 10_000, "closed after {queued}");
    server.until_offender("multi", |queued| queued.is_none());
    assert_eq!(server.number("client_query_buffer_limit_disconnections"), 1);
    assert_eq!(server.ask(&["EXISTS", "k"]), Value::Integer(0));
    server.others_are_served();
    assert!(server.growth() < 32 * MIB, "{} bytes more", server.growth());
}

#[test]
fn labels_of_megabytes() {
    let mut server = Watched::start(&[]);
    let name = "n".repeat(8 << 20);
    let mut vain = server.connect();
    assert_eq!(vain.call(&["CLIENT", "SETNAME", &name]).expect("an answer"), ok());
    assert_eq!(vain.call(&["CLIENT", "SETINFO", "LIB-NAME", &name]).expect("an answer"), ok());
    for _ in 0..2_000 {
        vain.call(&["PING"]).expect("an answer");
    }
    server.others_are_served();
    let listed = server.must(&["CLIENT", "LIST"]).bytes().expect("text");
    assert!(listed.len() > 16 << 20);
    assert!(server.growth() < 160 * MIB, "{} bytes more", server.growth());
}

#[test]
fn an_inline_request_without_end() {
    let mut server = Watched::start(&[]);
    let mut endless = server.connect();
    // Those bytes that are under way when the server closes are lost.
    let _ = endless.send_raw(&vec![b'x'; 70_000]);
    let replies = read_to_end(&mut endless).expect("it is closed");
    let text: Vec<_> = replies.iter().map(text_of).collect();
    assert_eq!(text, ["ERR Protocol error: too big inline request"]);
    server.others_are_served();
}

#[test]
fn subscriptions_and_watches_without_end() {
    let mut server = Watched::start(&["--maxmemory-clients", "16mb"]);
    for command in ["SUBSCRIBE", "PSUBSCRIBE", "WATCH"] {
        let mut one = offender(&server);
        let mut asked = 0;
        while server.client(OFFENDER).is_some() {
            let names = (asked..asked + 1000).map(|n| format!("name:{n}"));
            let request: Vec<_> = std::iter::once(command.to_owned()).chain(names).collect();
            let _ = one.send(&request);
            let _ = one.read();
            asked += 1000;
            assert!(asked < 500_000, "it is never closed");
        }
        assert!(asked > 20_000, "closed after {asked}");
    }
    assert_eq!(server.number("evicted_clients"), 3);
    server.others_are_served();
}
