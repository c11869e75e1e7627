//! Every transcript against our server over a socket, its clock turned by hand.

use cloakroom_tests::peers::Kind;
use cloakroom_tests::suite::run_all;
use cloakroom_tests::wire::Protocol;

fn check(protocol: Protocol) {
    if let Err(report) = run_all(Kind::Ours, protocol) {
        panic!("{report}");
    }
}

#[test]
fn over_a_socket_in_resp2() {
    check(Protocol::Resp2);
}

#[test]
fn over_a_socket_in_resp3() {
    check(Protocol::Resp3);
}
