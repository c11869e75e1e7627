//! Every limit that a client can run into: its default or a setting of it, and what happens there.

use cloakroom_tests::watched::{OFFENDER, Watched, offender, read_to_end};
use cloakroom_tests::wire::is_end;
use cloakroom_tests::wire::{Value, Wire, encode};

const MIB: usize = 1 << 20;

fn ok() -> Value {
    Value::Status(b"OK".to_vec())
}

fn error(text: &str) -> Value {
    Value::Error(text.as_bytes().to_vec())
}

/// The server closes this connection without another word.
fn is_closed(wire: &mut Wire) {
    assert_eq!(read_to_end(wire).expect("it is closed"), []);
}

/// A server whose clock stands still.
fn frozen(args: &[&str]) -> Watched {
    let mut server = Watched::start(args);
    server.must(&["CLOAKROOM", "FREEZE"]);
    server
}

fn advance(server: &mut Watched, by: &str) {
    server.must(&["CLOAKROOM", "ADVANCE", by]);
}

#[test]
fn maxclients() {
    let mut server = Watched::start(&["--maxclients", "3"]);
    let mut second = server.connect();
    let mut third = server.connect();
    assert!(third.call(&["PING"]).is_ok());
    let mut fourth = server.connect();
    let told = read_to_end(&mut fourth).expect("it is closed");
    assert_eq!(told, [error("ERR max number of clients reached")]);
    assert_eq!(server.number("rejected_connections"), 1);
    assert_eq!(second.call(&["QUIT"]).expect("an answer"), ok());
    is_closed(&mut second);
    while server.number("connected_clients") > 2 {}
    assert!(server.connect().call(&["PING"]).is_ok(), "there is room again");
}

#[test]
fn timeout() {
    let mut server = frozen(&["--timeout", "10"]);
    let mut idle = server.connect();
    let mut half = server.connect();
    let mut subscriber = server.connect();
    let mut monitor = server.connect();
    let mut waiting = server.connect();
    idle.call(&["PING"]).expect("an answer");
    half.call(&["PING"]).expect("an answer");
    half.send_raw(b"*1\r\n$4\r\nPI").expect("it is sent");
    subscriber.call(&["SUBSCRIBE", "news"]).expect("an answer");
    monitor.call(&["MONITOR"]).expect("an answer");
    waiting.send(&["WAIT", "1", "0"]).expect("it is sent");
    while server.number("blocked_clients") == 0 {}
    advance(&mut server, "10s");
    assert_eq!(server.number("connected_clients"), 6);
    advance(&mut server, "1s");
    assert_eq!(server.number("connected_clients"), 4, "subscribers, monitors, waiters may be idle");
    is_closed(&mut idle);
    is_closed(&mut half);
    assert_eq!(server.must(&["PUBLISH", "news", "hello"]), Value::Integer(1));
}

#[test]
fn no_timeout_while_a_request_arrives() {
    let mut server = frozen(&["--timeout", "10"]);
    let mut slow = offender(&server);
    slow.send_raw(b"*2\r\n$4\r\nECHO\r\n$30\r\n").expect("it is sent");
    let mut sent = 0;
    for piece in ["0123456789"; 3] {
        server.until_offender("qbuf", |bytes| bytes >= Some(19 + sent));
        advance(&mut server, "9s");
        slow.send_raw(piece.as_bytes()).expect("it is still there");
        sent += 10;
    }
    slow.send_raw(b"\r\n").expect("it is still there");
    assert_eq!(slow.read().expect("an answer").bytes().map(|bytes| bytes.len()), Some(30));
}

#[test]
fn client_query_buffer_limit() {
    let mut server = Watched::start(&["--client-query-buffer-limit", "1mb"]);
    let mut long = server.connect();
    let value = "x".repeat(MIB / 2);
    assert_eq!(long.call(&["SET", "k", &value]).expect("an answer"), ok());
    // What is under way when the server closes is lost: the error is one of writing or of reading.
    let sent = long.send(&["MSET", "a", &value, "b", &value, "c", &value, "d", &value]);
    assert!(
        sent.is_err_and(|end| is_end(&end)) || read_to_end(&mut long).is_ok_and(|r| r.is_empty())
    );
    while server.number("client_query_buffer_limit_disconnections") == 0 {}
    assert_eq!(server.must(&["EXISTS", "a"]), Value::Integer(0));
}

#[test]
fn client_output_buffer_limit_of_normal_clients() {
    let mut server = Watched::start(&[]);
    server.must(&["SET", "big", &"x".repeat(3 * MIB)]);
    server.must(&["CONFIG", "SET", "client-output-buffer-limit", "normal 1mb 0 0"]);
    let mut reads_nothing = offender(&server);
    // More than the kernel takes: what is left is over the limit.
    let _ = reads_nothing.send_raw(&encode(&["GET", "big"]).repeat(20));
    server.until_offender("omem", |bytes| bytes.is_none());
    while server.number("client_output_buffer_limit_disconnections") == 0 {}
}

#[test]
fn soft_client_output_buffer_limit_of_normal_clients() {
    let mut server = frozen(&["--client-output-buffer-limit", "normal 0 100kb 10"]);
    server.must(&["SET", "big", &"x".repeat(MIB)]);
    let mut reads_nothing = offender(&server);
    reads_nothing.send_raw(&encode(&["GET", "big"]).repeat(100)).expect("the requests fit");
    server.until_offender("omem", |bytes| bytes > Some(200 * 1024));
    advance(&mut server, "10s");
    assert!(server.client(OFFENDER).is_some(), "it has ten seconds");
    advance(&mut server, "1s");
    server.until_offender("omem", |bytes| bytes.is_none());
}

#[test]
fn who_reads_in_time_is_under_the_soft_limit_again() {
    let mut server = frozen(&["--client-output-buffer-limit", "normal 0 100kb 10"]);
    server.must(&["SET", "big", &"x".repeat(MIB)]);
    let mut late = offender(&server);
    late.send_raw(&encode(&["GET", "big"]).repeat(50)).expect("the requests fit");
    server.until_offender("omem", |bytes| bytes > Some(200 * 1024));
    advance(&mut server, "10s");
    for _ in 0..50 {
        late.read().expect("a reply");
    }
    server.until_offender("omem", |bytes| bytes == Some(0));
    advance(&mut server, "60s");
    assert_eq!(late.call(&["PING"]).expect("an answer"), Value::Status(b"PONG".to_vec()));
}

#[test]
fn soft_client_output_buffer_limit_of_subscribers() {
    let mut server = frozen(&["--client-output-buffer-limit", "pubsub 64mb 1mb 10"]);
    let mut deaf = offender(&server);
    deaf.call(&["SUBSCRIBE", "news"]).expect("an answer");
    let message = "x".repeat(MIB);
    while server.offender("omem") < Some(2 * MIB as u64) {
        assert_eq!(server.must(&["PUBLISH", "news", &message]), Value::Integer(1));
    }
    advance(&mut server, "10s");
    assert_eq!(server.must(&["PUBLISH", "news", "still there"]), Value::Integer(1));
    advance(&mut server, "1s");
    assert_eq!(server.must(&["PUBLISH", "news", "gone"]), Value::Integer(0));
    while server.number("client_output_buffer_limit_disconnections") == 0 {}
}

/// A client that holds a query buffer of about so many bytes.
fn holding(server: &mut Watched, name: &str, bytes: usize) -> Wire {
    let wire = server.connect();
    hold(server, wire, name, bytes)
}

fn hold(server: &mut Watched, mut wire: Wire, name: &str, bytes: usize) -> Wire {
    wire.call(&["CLIENT", "SETNAME", name]).expect("an answer");
    let head = format!("*2\r\n$4\r\nECHO\r\n${}\r\n", 2 * bytes);
    wire.send_raw(head.as_bytes()).expect("it is sent");
    wire.send_raw(&vec![b'x'; bytes]).expect("it is sent");
    while figure(server, name, "qbuf") < Some(head.len() + bytes) {}
    wire
}

/// What CLIENT LIST says of a client in a field of this name.
fn figure(server: &mut Watched, client: &str, field: &str) -> Option<usize> {
    server.client(client)?.get(field)?.parse().ok()
}

#[test]
fn maxmemory_clients_ends_the_biggest() {
    let mut server = Watched::start(&[]);
    let _middle = holding(&mut server, "middle", 2 * MIB);
    let mut biggest = holding(&mut server, "biggest", 5 * MIB);
    let mut spared = server.connect();
    spared.call(&["CLIENT", "NO-EVICT", "ON"]).expect("an answer");
    let _spared = hold(&mut server, spared, "spared", 8 * MIB);
    // How much room a buffer has beyond what it holds depends on the pieces in which it came.
    let takes = |server: &mut Watched, name| figure(server, name, "tot-mem").expect("a client");
    let all: usize =
        ["middle", "biggest", "spared"].map(|name| takes(&mut server, name)).iter().sum();
    server.must(&["CONFIG", "SET", "maxmemory-clients", &(all + MIB).to_string()]);
    assert!(server.client("biggest").is_some(), "all fit");
    server.must(&["CONFIG", "SET", "maxmemory", &((all - MIB) * 100 / 14).to_string()]);
    server.must(&["CONFIG", "SET", "maxmemory-clients", "14%"]);
    assert!(read_to_end(&mut biggest).is_ok_and(|replies| replies.is_empty()));
    assert!(server.client("middle").is_some() && server.client("spared").is_some());
    while server.number("evicted_clients") == 0 {}
    assert_eq!(server.number("evicted_clients"), 1);
    let shown = server.must(&["CONFIG", "GET", "maxmemory-clients"]);
    assert_eq!(shown.items().map(|items| items[1].clone()), Some(Value::Bulk(b"14%".to_vec())));
}

#[test]
fn proto_max_bulk_len() {
    let mut server = Watched::start(&["--proto-max-bulk-len", "1mb"]);
    let mut long = server.connect();
    long.send_raw(b"*2\r\n$4\r\nECHO\r\n$1048577\r\n").expect("it is sent");
    let told = read_to_end(&mut long).expect("it is closed");
    assert_eq!(told, [error("ERR Protocol error: invalid bulk length")]);
    let whole = "x".repeat(MIB);
    assert_eq!(server.must(&["ECHO", &whole]), Value::Bulk(whole.into_bytes()));
    assert_eq!(
        server.ask(&["SETRANGE", "k", "1048576", "x"]),
        error("ERR string exceeds maximum allowed size (proto-max-bulk-len)")
    );
}

#[test]
fn arguments_of_a_request() {
    let mut server = Watched::start(&[]);
    let mut many = server.connect();
    many.send_raw(b"*1048577\r\n").expect("it is sent");
    let told = read_to_end(&mut many).expect("it is closed");
    assert_eq!(told, [error("ERR Protocol error: invalid multibulk length")]);
    let mut request = vec!["DEL"];
    request.resize(1 << 20, "k");
    assert_eq!(server.must(&request), Value::Integer(0));
}

#[test]
fn less_for_strangers() {
    let server = Watched::start(&[]);
    let mut guarded = server.connect();
    guarded.call(&["CONFIG", "SET", "requirepass", "secret"]).expect("an answer");
    let cases: [(&[u8], &str); 2] = [
        (b"*11\r\n", "ERR Protocol error: unauthenticated multibulk length"),
        (b"*2\r\n$4\r\nAUTH\r\n$16385\r\n", "ERR Protocol error: unauthenticated bulk length"),
    ];
    for (bytes, text) in cases {
        let mut stranger = server.connect();
        stranger.send_raw(bytes).expect("it is sent");
        assert_eq!(read_to_end(&mut stranger).expect("it is closed"), [error(text)]);
    }
    let mut known = server.connect();
    assert_eq!(known.call(&["AUTH", "secret"]).expect("an answer"), ok());
    let many = ["DEL"; 12];
    assert_eq!(known.call(&many).expect("an answer"), Value::Integer(0));
}

#[test]
fn proto_max_reply_len() {
    let mut server = Watched::start(&["--proto-max-reply-len", "1mb"]);
    server.must(&["SET", "string", &"x".repeat(MIB / 16)]);
    server.must(&["HSET", "hash", "field", &"x".repeat(MIB / 16)]);
    server.must(&["SADD", "set", "a", "b"]);
    let repeated = |head: &[&str], last: &str| -> Vec<String> {
        let head = head.iter().map(|word| (*word).to_owned());
        head.chain(std::iter::repeat_n(last.to_owned(), 100_000)).collect()
    };
    let far = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let greedy: Vec<Vec<String>> = vec![
        repeated(&["MGET"], "string"),
        repeated(&["HMGET", "hash"], "field"),
        repeated(&["HGETEX", "hash", "FIELDS", "100000"], "field"),
        repeated(&["COMMAND", "DOCS"], "set"),
        repeated(&["COMMAND", "INFO"], "set"),
        far(&["SRANDMEMBER", "set", "-9223372036854775807"]),
        far(&["HRANDFIELD", "hash", "-4611686018427387903", "WITHVALUES"]),
    ];
    for request in &greedy {
        let mut asking = server.connect();
        asking.send(request).expect("it is sent");
        is_closed(&mut asking);
        assert!(
            server.growth() < 64 * MIB as u64,
            "{}: {} bytes more",
            request[0],
            server.growth()
        );
    }
    let mut queued = server.connect();
    queued.call(&["MULTI"]).expect("an answer");
    for _ in 0..1000 {
        queued.call(&["GET", "string"]).expect("an answer");
    }
    queued.call(&["INCR", "done"]).expect("an answer");
    queued.send(&["EXEC"]).expect("it is sent");
    is_closed(&mut queued);
    assert_eq!(server.must(&["GET", "done"]), Value::Bulk(b"1".to_vec()), "EXEC is done whole");
    let fits = "x".repeat(MIB - 100);
    assert_eq!(server.must(&["ECHO", &fits]), Value::Bulk(fits.into_bytes()));
}

/// Lua lends the server but some thousand values at once: neither what a script is given nor what
/// it returns may end there, and nothing that nests may take the thread's stack.
#[test]
fn values_of_scripts() {
    const MANY: usize = 100_000;
    let mut server = Watched::start(&[]);
    let many = vec!["x"; MANY];
    let echo = [&["EVAL", "return {#ARGV, ARGV}", "0"][..], &many[..]].concat();
    let echoed = server.must(&echo);
    let Value::Array(parts) = &echoed else { panic!("{echoed}") };
    assert_eq!(parts[0], Value::Integer(MANY as i64));
    assert!(matches!(&parts[1], Value::Array(all) if all.len() == MANY));
    let map =
        "redis.setresp(3) local m = {} for i = 1, 20000 do m['f' .. i] = i end return {map = m}";
    assert!(matches!(server.must(&["EVAL", map, "0"]), Value::Array(all) if all.len() == 40_000));
    for deep in [
        "cjson.decode_max_depth(1e9) return cjson.decode(string.rep('[', 1e6))",
        "cjson.encode_max_depth(1e9) local t = {} for _ = 1, 1e5 do t = {t} end return cjson.encode(t)",
        "return cmsgpack.unpack(string.rep('\\145', 1e6))",
    ] {
        let mut wire = server.connect();
        let reply = wire.call(&["EVAL", deep, "0"]).expect("an answer");
        assert!(reply.is_error(), "{deep}: {reply}");
    }
    server.must(&["PING"]);
}
