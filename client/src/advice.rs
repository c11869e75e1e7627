//! What is usually wrong when a server refuses or does not answer, and how to mend it: a clause behind
//! the error's own words.

/// Words of an error, and what to do about it. The first that fits counts.
const KNOWN: &[(&str, &str)] = &[
    ("NOAUTH", "the URL needs a login: redis://USER:PASSWORD@HOST, or redis://:PASSWORD@HOST"),
    (
        "WRONGPASS",
        "the server knows no such user and password, or the user is off; in a URL, letters like \
         @ : / # % are written as %40 %3A %2F %23 %25",
    ),
    ("NOPERM", "give the server's user the rights that docs/guide.md lists"),
    (
        "MOVED",
        "the server is one node of a cluster: let the URL begin with redis+cluster:// (with TLS \
         rediss+cluster://)",
    ),
    (
        "cluster support disabled",
        "the server is no cluster: let the URL begin with redis:// (with TLS rediss://)",
    ),
    (
        "unknown command 'EVAL",
        "if it is a sentinel, let the URL begin with redis+sentinel:// and end in /SERVICE",
    ),
    ("MasterNameNotFoundBySentinel", "let the URL end in a /SERVICE that the sentinels know"),
    ("does not point to a sentinel", "let the URL begin with redis:// (with TLS rediss://)"),
    ("READONLY", "if no failover is under way, let the URL name the primary, not a replica"),
    ("UnknownIssuer", AUTHORITY),
    ("BadSignature", AUTHORITY),
    ("not valid for name", "let the URL name the server as its certificate does"),
    (
        "CertificateRequired",
        "show the server a certificate: ?cert=PATH&key=PATH in the URL, or \
         Builder::client_certificate_pem",
    ),
];

const AUTHORITY: &str = "trust the authority that signed the server's certificate: ?ca=PATH in the \
                         URL, or Builder::ca_pem";
const NO_TLS: &str =
    "if the server speaks no TLS, let the URL begin with redis:// instead of rediss://";
const TLS: &str = "if the server speaks TLS, let the URL begin with rediss://";

/// What to do about an error in these words.
pub(crate) fn on_words(words: &str) -> Option<&'static str> {
    let found = KNOWN.iter().find(|(known, _)| words.contains(known));
    found.map(|(_, advice)| *advice)
}

/// What to do where a connection could not be opened, with TLS or without, for this reason.
pub(crate) fn on_opening(tls: bool, words: &str, is_end: bool) -> Option<&'static str> {
    let is_timeout = words.contains("timed out");
    match tls {
        // Who speaks no TLS waits for the end of a line, which a handshake need not have.
        true if is_end || is_timeout || words.contains("corrupt message") => Some(NO_TLS),
        false if is_end && !is_timeout => Some(TLS),
        _ => None,
    }
}
