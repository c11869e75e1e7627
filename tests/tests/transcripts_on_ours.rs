//! Every transcript against our server over a socket, its clock turned by hand.

use cloakroom_tests::peers::Kind;
use cloakroom_tests::suite::run_all_with;
use cloakroom_tests::wire::Protocol;

fn check(args: &[&str], protocol: Protocol) {
    if let Err(report) = run_all_with(Kind::Ours, args, protocol) {
        panic!("{report}");
    }
}

#[test]
fn over_a_socket_in_resp2() {
    check(&[], Protocol::Resp2);
}

#[test]
fn over_a_socket_in_resp3() {
    check(&[], Protocol::Resp3);
}

#[test]
fn with_compressed_strings() {
    check(&["--string-compression-threshold", "1"], Protocol::Resp3);
}
