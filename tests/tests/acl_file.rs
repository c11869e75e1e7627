//! Users in files: the aclfile, and user lines of the config file. Ours and redis-server are asked
//! the same and must answer the same.

use cloakroom_tests::peers::{Kind, Peer};
use cloakroom_tests::process::Folder;
use cloakroom_tests::wire::Wire;

fn start(kind: Kind, args: &[&str]) -> Peer {
    Peer::start_with(kind, args).unwrap_or_else(|e| panic!("{}: {e}", kind.tag()))
}

fn ask(wire: &mut Wire, args: &[&str]) -> String {
    wire.call(args).expect("it answers").to_string()
}

/// What a server makes of an aclfile of many kinds, each loaded and listed.
fn loads(kind: Kind) -> Vec<String> {
    let folder = Folder::new();
    let first = "user default on nopass ~* &* +@all\nuser bob on >x ~b +get\n";
    let path = folder.write("users.acl", first);
    let peer = start(kind, &["--aclfile", &path]);
    let mut wire = peer.connect().expect("it accepts");
    let mut told = vec![ask(&mut wire, &["ACL", "LIST"])];
    for text in [
        "user bob on +nosuch",
        "user bob on +nosuch -nosuch ~* ~a &* &b",
        "user bob on\nuser ann off\nuser bob off",
        "bob on",
        "user",
        "user bob",
        "\n\n   user bob    on   ~a  \n",
        "user bob (+get ~a",
        "user bob (+get ~a) on ( +set ~b )",
        "user bob (+@nosuch)",
        "user bob on #zz !zz",
        "user bob on\nuser ann ~* ~a\nuser eve +@x",
        "user bob \"~a b\"",
        "user \"a b\" on",
        "user bob \"on",
        "# comment",
        "",
        "user default on nopass ~* &* +@all\nuser ann on >y sanitize-payload -@all +@hash",
    ] {
        folder.write("users.acl", text);
        // Where the file stands differs, and nothing else may.
        told.push(ask(&mut wire, &["ACL", "LOAD"]).replace(&path, "FILE"));
        told.push(ask(&mut wire, &["ACL", "LIST"]));
    }
    told.push(ask(&mut wire, &["ACL", "SETUSER", "zoe", "on", ">p", "~a", "(+get ~b)"]));
    told.push(ask(&mut wire, &["ACL", "SAVE"]));
    told.push(folder.read("users.acl"));
    told.push(ask(&mut wire, &["CONFIG", "SET", "aclfile", "x"]));
    told
}

#[test]
#[ignore = "needs peers: tests/run"]
fn an_aclfile_means_what_it_means_to_redis() {
    for (ours, due) in loads(Kind::Ours).iter().zip(loads(Kind::Redis7)) {
        assert_eq!(*ours, due);
    }
}

/// Connections of users that are read anew end; the default user's stay.
#[test]
fn loading_ends_the_connections_of_users() {
    let folder = Folder::new();
    let path = folder.write("users.acl", "user ann on nopass +@all\n");
    let peer = start(Kind::Ours, &["--aclfile", &path]);
    let (mut own, mut ann) = (peer.connect().expect("open"), peer.connect().expect("open"));
    assert_eq!(ask(&mut ann, &["AUTH", "ann", "x"]), "OK");
    assert_eq!(ask(&mut own, &["ACL", "LOAD"]), "OK");
    assert!(ann.call(&["PING"]).is_err(), "it was closed");
    assert_eq!(ask(&mut own, &["PING"]), "PONG");
}

/// What a config file with users comes to, and how it is rewritten.
fn configured(kind: Kind) -> Vec<String> {
    let folder = Folder::new();
    let text = "requirepass secret\nuser ann on >x ~a* +@read\nuser bob (+get ~b)\n\
                rename-command GET FETCH\nrename-command KEYS \"\"\n";
    let path = folder.write("redis.conf", text);
    let peer = start_from(kind, &path);
    let mut wire = peer.connect().expect("it accepts");
    let mut told = vec![ask(&mut wire, &["PING"]), ask(&mut wire, &["AUTH", "ann", "x"])];
    for request in [
        &["FETCH", "a"][..],
        &["FETCH", "b"],
        &["GET", "a"],
        &["KEYS", "*"],
        &["SET", "a", "1"],
        &["AUTH", "secret"],
        &["ACL", "LIST"],
        &["ACL", "SETUSER", "ann", "off"],
        &["ACL", "DELUSER", "bob"],
        &["ACL", "DRYRUN", "ann", "fetch", "b"],
        &["CONFIG", "REWRITE"],
    ] {
        told.push(ask(&mut wire, request));
    }
    let written = folder.read("redis.conf");
    let kept = |line: &&str| line.starts_with("user ") || line.starts_with("rename-command ");
    let mut lines: Vec<&str> = written.lines().filter(kept).collect();
    lines.sort_unstable();
    told.extend(lines.into_iter().map(str::to_owned));
    told
}

fn start_from(kind: Kind, path: &str) -> Peer {
    let peer = Peer::start_from(kind, path, "secret");
    peer.unwrap_or_else(|e| panic!("{}: {e}", kind.tag()))
}

#[test]
#[ignore = "needs peers: tests/run"]
fn users_and_renamed_commands_of_a_config_file_mean_what_they_mean_to_redis() {
    for (ours, due) in configured(Kind::Ours).iter().zip(configured(Kind::Redis7)) {
        assert_eq!(*ours, due);
    }
}

#[test]
fn what_cannot_be_is_told_at_the_start() {
    let folder = Folder::new();
    for (text, part) in [
        ("user ann +nosuch\n", "line 1: rule \"+nosuch\" of user ann"),
        ("port 0\nuser ann\nuser ann\n", "line 3: user ann is defined twice"),
        ("user\n", "line 1: a user has a name"),
        ("user \"a b\"\n", "has no spaces"),
        ("user ann (+get\n", "has no end"),
        ("user ann\naclfile /no/such/file\n", "one of the two"),
        ("aclfile /no/such/file\n", "opening file '/no/such/file': No such file"),
        ("rename-command NOSUCH x\n", "there is no command NOSUCH"),
        ("rename-command GET set\n", "there is a command set already"),
        ("rename-command GET\n", "takes a command and its new name"),
    ] {
        let path = folder.write("wrong.conf", text);
        let mut command =
            std::process::Command::new(cloakroom_tests::peers::cloakroom().expect("it builds"));
        let output = command.arg(&path).args(["--port", "0"]).output().expect("it runs");
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && told.contains(part), "{text}: {told}");
    }
}
