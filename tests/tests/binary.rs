//! The binary as operators and fixtures use it: flags, files, the ready line, its end, its errors.

use std::io::{Read, Write};
use std::net::TcpListener;

use cloakroom_tests::process::{Folder, Process, run};
use cloakroom_tests::wire::{Value, Wire, encode};

/// A connection to the URL of a ready line.
fn connect(url: &str) -> Wire {
    let address = url.strip_prefix("redis://").expect("a URL of TCP");
    Wire::connect(address.parse().expect("an address")).expect("it accepts")
}

fn ask(wire: &mut Wire, args: &[&str]) -> Value {
    wire.call(args).expect("an answer")
}

/// What CONFIG GET shows of a setting.
fn setting(wire: &mut Wire, name: &str) -> String {
    let reply = ask(wire, &["CONFIG", "GET", name]);
    let value = reply.items().and_then(|items| items.get(1)?.bytes()).unwrap_or_default();
    String::from_utf8_lossy(&value).into_owned()
}

/// The binary refuses these arguments: exit code 1, nothing on standard output, and one line that
/// holds all these parts.
fn is_refused(folder: &Folder, args: &[&str], parts: &[&str]) {
    let ended = run(folder.path(), args);
    assert_eq!(ended.code, Some(1), "{args:?}: {ended:?}");
    assert_eq!(ended.out, "", "{args:?}");
    let line = ended.err.strip_suffix('\n').expect("a line");
    assert!(!line.contains('\n'), "{args:?} was told in more than a line: {line}");
    assert!(line.starts_with("cloakroom: ") && !line.contains("panicked"), "{line}");
    for part in parts {
        assert!(line.contains(part), "{args:?}: no {part:?} in {line:?}");
    }
}

#[test]
fn one_line_says_where_it_is_ready() {
    let folder = Folder::new();
    let mut server = Process::start(folder.path(), &["--port", "0"]);
    let url = server.ready();
    assert!(url.starts_with("redis://127.0.0.1:"), "{url}");
    assert_eq!(ask(&mut connect(&url), &["PING"]), Value::Status(b"PONG".to_vec()));
    server.signal("TERM");
    let ended = server.end();
    assert_eq!((ended.code, ended.out.as_str()), (Some(0), ""));
    assert!(ended.err.contains("ready at") && ended.err.contains("stopped"), "{}", ended.err);
}

#[test]
fn settings_may_come_by_standard_input() {
    let folder = Folder::new();
    let mut server = Process::start(folder.path(), &["-", "--maxmemory", "2mb"]);
    server.write_stdin("port 0\nmaxmemory 1mb\ntimeout 7\n");
    let mut client = connect(&server.ready());
    let set = ["maxmemory", "timeout"].map(|name| setting(&mut client, name));
    assert_eq!(set, ["2097152", "7"]);
    server.signal("TERM");
    assert_eq!(server.end().code, Some(0));
}

#[test]
fn signals_end_it_when_what_is_in_flight_is_answered() {
    for signal in ["TERM", "INT"] {
        let folder = Folder::new();
        let mut server = Process::start(folder.path(), &["--port", "0"]);
        let url = server.ready();
        let mut client = connect(&url);
        client
            .send_raw(&encode(&["HINCRBY", "session", "visits", "1"]).repeat(1000))
            .expect("sent");
        server.signal(signal);
        for visits in 1..=1000 {
            assert_eq!(client.read().expect("an answer"), Value::Integer(visits), "{signal}");
        }
        assert!(client.read().is_err(), "then it closes");
        assert_eq!(server.end().code, Some(0), "{signal}");
        let address = url.strip_prefix("redis://").expect("a URL of TCP");
        assert!(TcpListener::bind(address).is_ok(), "nothing listens there any more");
    }
}

#[test]
fn a_signal_at_once_is_heard() {
    let folder = Folder::new();
    for _ in 0..10 {
        let mut server = Process::start(folder.path(), &["--port", "0"]);
        server.ready();
        server.signal("TERM");
        assert_eq!(server.end().code, Some(0));
    }
}

#[test]
fn a_script_without_end_does_not_keep_it() {
    let folder = Folder::new();
    let mut server =
        Process::start(folder.path(), &["--port", "0", "--busy-reply-threshold", "20"]);
    let url = server.ready();
    let mut client = connect(&url);
    client.send(&["EVAL", "while true do pcall(redis.sha1hex, 'x') end", "0"]).expect("it is sent");
    while !ask(&mut connect(&url), &["PING"]).is_error() {}
    server.signal("TERM");
    assert_eq!(server.end().code, Some(0));
}

#[test]
fn it_ends_with_its_parent() {
    let folder = Folder::new();
    let args = ["--port", "0", "--exit-with-parent"];
    let mut server = Process::start(folder.path(), &args);
    let url = server.ready();
    assert!(ask(&mut connect(&url), &["PING"]) == Value::Status(b"PONG".to_vec()));
    server.close_stdin();
    assert_eq!(server.end().code, Some(0));
    // Without the flag, a closed standard input means nothing.
    let mut server = Process::start(folder.path(), &["--port", "0"]);
    let url = server.ready();
    server.close_stdin();
    assert!(ask(&mut connect(&url), &["PING"]) == Value::Status(b"PONG".to_vec()));
}

#[test]
fn shutdown_ends_it() {
    let folder = Folder::new();
    let mut server = Process::start(folder.path(), &["--port", "0"]);
    let mut client = connect(&server.ready());
    client.send(&["SHUTDOWN", "NOSAVE"]).expect("it is sent");
    assert!(client.read().is_err());
    assert_eq!(server.end().code, Some(0));
}

#[test]
fn mistakes_in_flags() {
    let folder = Folder::new();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("an address").port().to_string();
    let cases: &[(&[&str], &[&str])] = &[
        (&["--port", &port], &["cannot listen at 127.0.0.1:", "something else", "--port"]),
        (&["--prot", "1"], &["--prot", "--port"]),
        (&["--port", "70000"], &["--port", "\"70000\"", "between 0 and 65535"]),
        (&["--port", "seven"], &["--port", "\"seven\"", "integer"]),
        (&["--port"], &["--port", "a value is required"]),
        (&["--maxmemory", "1tb"], &["--maxmemory", "\"1tb\"", "memory value"]),
        (&["--maxmemory-policy", "lru"], &["--maxmemory-policy", "volatile-lru", "noeviction"]),
        (&["--exit-with-parent", "perhaps"], &["'yes' or 'no'"]),
        (&["--bind", "192.0.2.1"], &["cannot listen at 192.0.2.1:", "--bind"]),
        (&["--bind", "-192.0.2.1"], &["cannot listen at 192.0.2.1:", "--bind"]),
        (&["--bind", "no such host"], &["cannot listen at no:", "--bind"]),
        (&["--bind", ""], &["nothing to listen at", "--bind", "--unixsocket"]),
        (&["--dir", "nowhere"], &["cannot work in nowhere", "--dir"]),
        (&["--logfile", "nowhere/log"], &["cannot write the log file nowhere/log", "--logfile"]),
        (&["--unixsocket", "nowhere/s"], &["cannot listen at nowhere/s", "--unixsocket"]),
        (&["nowhere.conf"], &["cannot read the config file nowhere.conf", "name one that exists"]),
        (&["."], &["cannot read the config file ."]),
        (&["one.conf", "two.conf"], &["two.conf"]),
    ];
    for (args, parts) in cases {
        is_refused(&folder, args, parts);
    }
}

#[test]
fn mistakes_in_files() {
    let folder = Folder::new();
    folder.write("included.conf", "# fine\nmaxmemry 1mb\n");
    let cases: &[(&str, &[&str])] = &[
        ("port 0\n\nappendonyl yes\n", &["x.conf, line 3", "\"appendonyl\"", "\"appendonly\""]),
        ("maxclients many\n", &["x.conf, line 1", "maxclients", "\"many\"", "integer"]),
        ("requirepass \"open\n", &["x.conf, line 1", "quotes do not close"]),
        ("requirepass \"a\"b\n", &["x.conf, line 1", "quotes"]),
        ("include included.conf\n", &["included.conf, line 2", "\"maxmemory\""]),
        ("include missing.conf\n", &["cannot read the config file missing.conf"]),
        ("include\n", &["x.conf, line 1", "include"]),
        ("requirepass two words\n", &["x.conf, line 1", "requirepass", "one value"]),
        ("timeout\n", &["x.conf, line 1", "timeout", "one value"]),
        ("include x.conf\n", &["include each other without end"]),
        ("\u{fffd}\u{0}", &["x.conf, line 1"]),
    ];
    for (text, parts) in cases {
        folder.write("x.conf", text);
        is_refused(&folder, &["x.conf", "--port", "0"], parts);
    }
    folder.write("x.conf", b"\xff\xfe");
    is_refused(&folder, &["x.conf"], &["cannot read the config file x.conf", "UTF-8"]);
}

#[test]
fn a_file_is_read_as_redis_reads_it() {
    let folder = Folder::new();
    folder.write("conf.d/1.conf", "maxclients 77\nTIMEOUT 11\n");
    folder.write("conf.d/2.conf", "timeout 22\ninclude deeper.conf\n");
    folder.write("conf.d/deeper.conf", "databases 4\n");
    folder.write(
        "redis.conf",
        "# a comment, then an empty line\n\n\tport   6379  \n\
         include conf.d/[12].conf\ninclude none/*.conf\n\
         requirepass \"a \\\"secret\\\" \\x41\\n\"\nmaxmemory 100mb\nMaxMemory-Policy 'volatile-lru'\n\
         client-output-buffer-limit normal 1mb 0 0\nclient-output-buffer-limit pubsub 2mb 1k 5\n\
         save \"\"\nappendonly yes\nrename-command FLUSHALL \"\"\nbind 127.0.0.1 -::1\n",
    );
    let args =
        ["redis.conf", "--port", "0", "--lfu-decay-time", "3", "--bind", "127.0.0.1", "-::1"];
    let mut server = Process::start(folder.path(), &args);
    let mut client = connect(&server.ready());
    assert_eq!(ask(&mut client, &["AUTH", "a \"secret\" A\n"]), Value::Status(b"OK".to_vec()));
    for (name, value) in [
        ("maxclients", "77"),
        ("timeout", "22"),
        ("databases", "4"),
        ("maxmemory", "104857600"),
        ("maxmemory-policy", "volatile-lru"),
        ("lfu-decay-time", "3"),
        ("save", ""),
        ("bind", "127.0.0.1 -::1"),
        (
            "client-output-buffer-limit",
            "normal 1048576 0 0 slave 268435456 67108864 60 pubsub 2097152 1000 5",
        ),
    ] {
        assert_eq!(setting(&mut client, name), value, "{name}");
    }
    let info = ask(&mut client, &["INFO", "server"]).bytes().expect("text");
    let file = folder.path().canonicalize().expect("it is there").join("redis.conf");
    assert!(String::from_utf8_lossy(&info).contains(&format!("config_file:{}", file.display())));
    server.signal("TERM");
    let ended = server.end();
    assert_eq!(ended.code, Some(0));
    let warning = "redis.conf, line 12: appendonly is accepted";
    assert!(ended.err.contains(warning), "no {warning:?} in {}", ended.err);
}

#[test]
fn config_get_and_set_take_globs_and_several_names() {
    let folder = Folder::new();
    let mut server = Process::start(folder.path(), &["--port", "0", "--loglevel", "warning"]);
    let mut client = connect(&server.ready());
    let set = ["CONFIG", "SET", "maxmemory", "1gb", "timeout", "5"];
    assert_eq!(ask(&mut client, &set), Value::Status(b"OK".to_vec()));
    let found = ask(&mut client, &["CONFIG", "GET", "maxmem?ry", "time*", "TIMEOUT"]);
    let words: Vec<_> = found.items().unwrap_or_default().iter().filter_map(Value::bytes).collect();
    assert_eq!(words, [&b"maxmemory"[..], b"1073741824", b"timeout", b"5"]);
    // All or none.
    let set = ["CONFIG", "SET", "timeout", "7", "maxmemory", "much"];
    assert!(ask(&mut client, &set).is_error());
    assert_eq!(setting(&mut client, "timeout"), "5");
}

#[test]
fn help_and_version() {
    let folder = Folder::new();
    let help = run(folder.path(), &["--help"]);
    assert_eq!((help.code, help.err.as_str()), (Some(0), ""));
    for part in ["Usage: cloakroom", "--port", "--maxmemory-policy", "--test-control", "redis.conf"]
    {
        assert!(help.out.contains(part), "no {part} in {}", help.out);
    }
    let version = run(folder.path(), &["--version"]);
    assert_eq!(version.code, Some(0));
    assert!(version.out.starts_with("cloakroom ") && version.out.ends_with('\n'));
}

#[test]
fn logs_in_json() {
    let folder = Folder::new();
    let args = ["--port", "0", "--log-format", "json", "--appendonly", "yes"];
    let mut server = Process::start(folder.path(), &args);
    server.ready();
    server.signal("TERM");
    let ended = server.end();
    assert!(ended.err.lines().count() >= 3, "{}", ended.err);
    for line in ended.err.lines() {
        let line: serde_json::Value = serde_json::from_str(line).expect("each line is JSON");
        let has = |field: &str| line.get(field).is_some_and(|value| !value.is_null());
        assert!(has("timestamp") && has("level") && line["fields"]["message"].is_string());
    }
}

#[test]
fn logs_go_to_a_file_in_its_folder_and_change_their_level() {
    let folder = Folder::new();
    std::fs::create_dir(folder.path().join("data")).expect("it can be made");
    let args = ["--port", "0", "--dir", "data", "--logfile", "log", "--loglevel", "warning"];
    let mut server = Process::start(folder.path(), &args);
    let mut client = connect(&server.ready());
    let log = |client: &mut Wire, text: &str| {
        let script = format!("redis.log(redis.LOG_NOTICE, '{text}')");
        assert!(!ask(client, &["EVAL", &script, "0"]).is_error());
    };
    log(&mut client, "too quiet");
    let set = ["CONFIG", "SET", "loglevel", "notice"];
    assert_eq!(ask(&mut client, &set), Value::Status(b"OK".to_vec()));
    log(&mut client, "loud enough");
    server.signal("TERM");
    assert_eq!(server.end().err, "");
    let written = std::fs::read_to_string(folder.path().join("data/log")).expect("it is there");
    assert!(written.contains("loud enough") && !written.contains("too quiet"), "{written}");
}

#[cfg(unix)]
mod on_unix {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::{UnixListener, UnixStream};
    use std::process::{Command, Stdio};

    use super::*;
    use cloakroom_tests::process::command;

    #[test]
    fn a_unix_socket() {
        let folder = Folder::new();
        let path = folder.path().join("socket");
        // What an earlier server left behind is no obstacle.
        drop(UnixListener::bind(&path).expect("a socket"));
        let socket = path.display().to_string();
        let args = ["--bind", "", "--unixsocket", &socket, "--unixsocketperm", "700"];
        let mut server = Process::start(folder.path(), &args);
        assert_eq!(server.ready(), format!("unix://{socket}"));
        let mode = std::fs::metadata(&path).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        let mut client = Wire::new(UnixStream::connect(&path).expect("it accepts"));
        assert_eq!(ask(&mut client, &["PING"]), Value::Status(b"PONG".to_vec()));
        is_refused(&folder, &["--bind", "", "--unixsocket", &socket], &["--unixsocket"]);
        server.signal("TERM");
        assert_eq!(server.end().code, Some(0));
        assert!(!path.exists(), "its file goes with it");
    }

    #[test]
    fn a_file_that_is_no_socket_is_left_alone() {
        let folder = Folder::new();
        let path = folder.write("precious", "data");
        is_refused(&folder, &["--port", "0", "--unixsocket", &path], &["--unixsocket"]);
        assert_eq!(std::fs::read(&path).expect("it is there"), b"data");
    }

    /// A shell that limits what it becomes.
    fn limited(folder: &Folder, files: u32, args: &[&str]) -> Process {
        let inner = command(folder.path(), args);
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(format!("ulimit -S -n 64; ulimit -H -n {files}; exec \"$0\" \"$@\""));
        shell.arg(inner.get_program()).args(inner.get_args()).current_dir(folder.path());
        Process::spawn(shell)
    }

    #[test]
    fn the_limit_of_open_files_is_raised() {
        let folder = Folder::new();
        let mut server = limited(&folder, 600, &["--port", "0", "--maxclients", "200"]);
        let url = server.ready();
        let mut all: Vec<_> = (0..200).map(|_| connect(&url)).collect();
        for client in &mut all {
            assert_eq!(ask(client, &["PING"]), Value::Status(b"PONG".to_vec()));
        }
        assert_eq!(setting(&mut all[0], "maxclients"), "200");
    }

    #[test]
    fn a_limit_of_open_files_that_holds_is_maxclients() {
        let folder = Folder::new();
        let mut server = limited(&folder, 100, &["--port", "0"]);
        let url = server.ready();
        let mut all = vec![connect(&url)];
        // The superuser may raise even the hard limit.
        let fits: usize = setting(&mut all[0], "maxclients").parse().expect("a number");
        if fits == 10_000 {
            return;
        }
        assert_eq!(fits, 68);
        all.extend((1..fits).map(|_| connect(&url)));
        for client in &mut all {
            assert_eq!(ask(client, &["PING"]), Value::Status(b"PONG".to_vec()));
        }
        let told = connect(&url).read().expect("an answer");
        assert_eq!(told, Value::Error(b"ERR max number of clients reached".to_vec()));
        server.signal("TERM");
        assert!(server.end().err.contains("maxclients is 68 instead of 10000"));
    }

    #[test]
    fn nobody_at_its_outputs() {
        let folder = Folder::new();
        for args in [&["--help"][..], &["--version"], &["--no-such-flag"]] {
            let mut child = command(folder.path(), args);
            child.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
            let mut child = child.spawn().expect("it can be run");
            drop((child.stdout.take(), child.stderr.take()));
            let code = child.wait().expect("it ends").code();
            assert_eq!(code, Some(i32::from(args[0] == "--no-such-flag")), "{args:?}");
        }
    }

    #[test]
    fn from_an_address_that_is_not_this_machines() {
        let folder = Folder::new();
        let mut server = Process::start(folder.path(), &["--port", "0", "--bind", "0.0.0.0"]);
        let url = server.ready();
        let port: u16 = url.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
        let mut inside = Wire::connect(([127, 0, 0, 1], port).into()).expect("it accepts");
        // The address by which this machine is known to others, if it has any.
        let known = std::net::UdpSocket::bind("0.0.0.0:0")
            .and_then(|socket| socket.connect("192.0.2.1:9").map(|()| socket))
            .and_then(|socket| socket.local_addr());
        let Some(known) = known.ok().filter(|known| !known.ip().is_loopback()) else { return };
        let told = Wire::connect((known.ip(), port).into()).expect("it accepts").read();
        let told = String::from_utf8_lossy(&told.expect("an answer").bytes().unwrap_or_default())
            .into_owned();
        assert!(told.starts_with("DENIED Redis is running in protected mode"), "{told}");
        for settings in [["requirepass", "secret"], ["protected-mode", "no"]] {
            let mut outside = Wire::connect((known.ip(), port).into()).expect("it accepts");
            assert!(outside.read().is_ok_and(|told| told.is_error()));
            assert!(!ask(&mut inside, &["CONFIG", "SET", settings[0], settings[1]]).is_error());
            let mut outside = Wire::connect((known.ip(), port).into()).expect("it accepts");
            let hello =
                String::from_utf8_lossy(&ask(&mut outside, &["PING"]).bytes().unwrap_or_default())
                    .into_owned();
            assert!(["PONG", "NOAUTH Authentication required."].contains(&hello.as_str()));
            let _ = ask(&mut inside, &["AUTH", "secret"]);
            assert!(!ask(&mut inside, &["CONFIG", "SET", "requirepass", ""]).is_error());
        }
    }
}

#[test]
fn several_addresses_share_a_free_port() {
    let folder = Folder::new();
    let args = ["--port", "0", "--bind", "127.0.0.1", "127.0.0.2", "--bind", "-::1"];
    let mut server = Process::start(folder.path(), &args);
    let url = server.ready();
    let port = url.rsplit(':').next().expect("a port");
    let mut second = connect(&format!("redis://127.0.0.2:{port}"));
    assert_eq!(ask(&mut second, &["PING"]), Value::Status(b"PONG".to_vec()));
}

#[test]
fn bytes_that_are_no_requests_are_answered_and_end_the_connection() {
    let folder = Folder::new();
    let mut server = Process::start(folder.path(), &["--port", "0"]);
    let url = server.ready();
    let address = url.strip_prefix("redis://").expect("a URL of TCP");
    let mut stream = std::net::TcpStream::connect(address).expect("it accepts");
    stream.write_all(b"*1\r\n:4\r\nPING\r\n").expect("it is sent");
    let mut told = String::new();
    let _ = stream.read_to_string(&mut told);
    assert_eq!(told, "-ERR Protocol error: expected '$', got ':'\r\n");
}

/// A port that is free at an address which nobody else uses.
fn free_port(at: &str) -> u16 {
    let listener = TcpListener::bind((at, 0)).expect("an address of this machine");
    listener.local_addr().expect("it is bound").port()
}

#[test]
fn it_can_be_told_to_listen_elsewhere() {
    let folder = Folder::new();
    let mut server = Process::start(folder.path(), &["--port", "0", "--bind", "127.0.0.71"]);
    let url = server.ready();
    let mut client = connect(&url);
    let port: u16 = url.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
    let accepts = |at: &str, port: u16| {
        Wire::connect((at.parse::<std::net::IpAddr>().expect("an address"), port).into())
            .is_ok_and(|mut wire| wire.call(&["PING"]).is_ok())
    };
    let ok = Value::Status(b"OK".to_vec());
    assert_eq!(ask(&mut client, &["CONFIG", "SET", "bind", "127.0.0.72"]), ok);
    assert!(accepts("127.0.0.72", port) && !accepts("127.0.0.71", port));

    let taken = TcpListener::bind("127.0.0.72:0").expect("an address of this machine");
    let taken_port = taken.local_addr().expect("it is bound").port().to_string();
    let refused = ask(&mut client, &["CONFIG", "SET", "port", &taken_port]);
    assert!(refused.to_string().contains("Unable to listen on this port"), "{refused}");
    assert!(accepts("127.0.0.72", port), "it is where it was");

    let refused = ask(&mut client, &["CONFIG", "SET", "bind", "127.0.0.72 192.0.2.1"]);
    assert!(refused.to_string().contains("Failed to bind"), "{refused}");
    assert!(accepts("127.0.0.72", port), "it is where it was");

    let other = free_port("127.0.0.72");
    assert_eq!(ask(&mut client, &["CONFIG", "SET", "port", &other.to_string()]), ok);
    assert!(accepts("127.0.0.72", other) && !accepts("127.0.0.72", port));
    assert_eq!(setting(&mut client, "port"), other.to_string());
    let info = ask(&mut client, &["INFO", "server"]).to_string();
    assert!(info.contains(&format!("tcp_port:{other}")), "{info}");
    server.signal("TERM");
    assert_eq!(server.end().code, Some(0));
}
