//! Where sessions are kept, from one URL.

use std::path::PathBuf;

use redis::{ConnectionInfo, IntoConnectionInfo};

use crate::error::Error;

/// What a URL says.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) kind: Kind,
    /// The servers, sentinels or first nodes, with what to say to the servers that keep sessions.
    pub(crate) nodes: Vec<ConnectionInfo>,
    pub(crate) tls: bool,
    pub(crate) ca: Option<PathBuf>,
    pub(crate) cert: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
}

/// Who is at the URL's address.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Node,
    Sentinel { service: String, user: Option<String>, password: Option<String> },
    Cluster,
}

impl Endpoint {
    /// # Errors
    ///
    /// [`Error::Config`], which says what is wrong without repeating the URL: it holds a password.
    pub(crate) fn parse(url: &str) -> Result<Endpoint, Error> {
        let (scheme, rest) = url.split_once("://").ok_or_else(|| config("a URL has ://"))?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        if rest.contains('#') || query.contains('#') {
            return Err(config("a URL here has no #; certificates are always verified"));
        }
        let query = Query::parse(query)?;
        if matches!(scheme, "unix" | "redis+unix" | "valkey+unix") {
            let node = format!("unix://{rest}?{}", query.passed_on());
            return Ok(query.endpoint(Kind::Node, vec![node_info(&node)?], false));
        }
        Endpoint::at_hosts(scheme, rest, query)
    }

    /// `scheme://login@host:port,host:port/path`
    fn at_hosts(scheme: &str, rest: &str, query: Query) -> Result<Endpoint, Error> {
        let (tls, kind) = said_by(scheme)?;
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (login, hosts) = match authority.rsplit_once('@') {
            Some((login, hosts)) => (format!("{login}@"), hosts),
            None => (String::new(), authority),
        };
        let (kind, database) = match kind {
            "sentinel" => {
                let (service, database) = path.split_once('/').unwrap_or((path, ""));
                if service.is_empty() {
                    return Err(config("a sentinel URL ends in /SERVICE"));
                }
                (query.sentinel(service), database)
            }
            "" if !is_elasticache_cluster(hosts) => (Kind::Node, path),
            _ => (Kind::Cluster, path),
        };
        let hosts: Vec<&str> = hosts.split(',').collect();
        if kind == Kind::Node && hosts.len() > 1 {
            return Err(config("several hosts: say redis+sentinel:// or redis+cluster://"));
        }
        let base = if tls { "rediss" } else { "redis" };
        let passed_on = query.passed_on();
        let nodes = hosts.iter().map(|host| {
            let port = match kind {
                Kind::Sentinel { .. } if !has_port(host) => ":26379",
                _ => "",
            };
            node_info(&format!("{base}://{login}{host}{port}/{database}?{passed_on}"))
        });
        let nodes = nodes.collect::<Result<_, _>>()?;
        Ok(query.endpoint(kind, nodes, tls))
    }
}

/// What a scheme says: whether TLS is spoken, and who is there (`""`, `"sentinel"`, `"cluster"`).
fn said_by(scheme: &str) -> Result<(bool, &str), Error> {
    let unknown = || config(&format!("unknown scheme {scheme}://; {SCHEMES}"));
    let (base, kind) = scheme.split_once(['+', '-']).unwrap_or((scheme, ""));
    let tls = match base {
        "redis" | "valkey" => false,
        "rediss" | "valkeys" => true,
        _ => return Err(unknown()),
    };
    match kind {
        "" | "sentinel" | "cluster" => Ok((tls, kind)),
        _ => Err(unknown()),
    }
}

const SCHEMES: &str = "there are redis, rediss (TLS), unix, and with several hosts redis+sentinel, \
                       rediss+sentinel, redis+cluster, rediss+cluster";

fn config(text: &str) -> Error {
    Error::Config(format!("the session store's URL: {text}"))
}

fn node_info(url: &str) -> Result<ConnectionInfo, Error> {
    let tls = url.starts_with("rediss:");
    if tls && !cfg!(feature = "tls") {
        return Err(config("rediss:// needs the feature `tls` of cloakroom-client"));
    }
    url.into_connection_info().map_err(|e| config(&e.to_string()))
}

fn has_port(host: &str) -> bool {
    // The colons within [::1] are no ports.
    host.rsplit(']').next().is_some_and(|after| after.contains(':'))
}

/// Names under which ElastiCache offers a cluster, which clients have to treat as one.
fn is_elasticache_cluster(hosts: &str) -> bool {
    let host = hosts.split(':').next().unwrap_or_default().to_ascii_lowercase();
    let aws = host.ends_with(".cache.amazonaws.com") || host.ends_with(".cache.amazonaws.com.cn");
    aws && (host.starts_with("clustercfg.")
        || host.contains(".clustercfg.")
        || host.contains(".serverless."))
}

/// The part of a URL after `?`.
#[derive(Default)]
struct Query {
    protocol: Option<String>,
    db: Option<String>,
    user: Option<String>,
    pass: Option<String>,
    ca: Option<String>,
    cert: Option<String>,
    key: Option<String>,
    sentinel_user: Option<String>,
    sentinel_password: Option<String>,
}

impl Query {
    fn parse(text: &str) -> Result<Query, Error> {
        let mut query = Query::default();
        for (name, value) in url::form_urlencoded::parse(text.as_bytes()) {
            let place = match &*name {
                "protocol" => &mut query.protocol,
                // Of Unix sockets, whose URL has no other place for them.
                "db" => &mut query.db,
                "user" => &mut query.user,
                "pass" => &mut query.pass,
                "ca" => &mut query.ca,
                "cert" => &mut query.cert,
                "key" => &mut query.key,
                "sentinel_user" => &mut query.sentinel_user,
                "sentinel_password" => &mut query.sentinel_password,
                _ => return Err(config(&format!("unknown parameter {name}"))),
            };
            *place = Some(value.into_owned());
        }
        Ok(query)
    }

    /// What the `redis` crate reads itself.
    fn passed_on(&self) -> String {
        let mut text = url::form_urlencoded::Serializer::new(String::new());
        // Redis speaks RESP3 since version 6; in it the `redis` crate tells of a connection's end.
        text.append_pair("protocol", self.protocol.as_deref().unwrap_or("resp3"));
        for (name, value) in [("db", &self.db), ("user", &self.user), ("pass", &self.pass)] {
            if let Some(value) = value {
                text.append_pair(name, value);
            }
        }
        text.finish()
    }

    fn sentinel(&self, service: &str) -> Kind {
        Kind::Sentinel {
            service: service.to_owned(),
            user: self.sentinel_user.clone(),
            password: self.sentinel_password.clone(),
        }
    }

    fn endpoint(self, kind: Kind, nodes: Vec<ConnectionInfo>, tls: bool) -> Endpoint {
        let path = |text: Option<String>| text.map(PathBuf::from);
        let (ca, cert, key) = (path(self.ca), path(self.cert), path(self.key));
        Endpoint { kind, nodes, tls, ca, cert, key }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(url: &str) -> (Kind, Vec<String>) {
        let endpoint = Endpoint::parse(url).expect(url);
        let addresses = endpoint.nodes.iter().map(|node| node.addr().to_string()).collect();
        (endpoint.kind, addresses)
    }

    #[test]
    fn one_server() {
        for url in ["redis://127.0.0.1", "valkey://127.0.0.1:6379/", "redis://u:p@127.0.0.1/0"] {
            assert_eq!(addresses(url), (Kind::Node, vec!["127.0.0.1:6379".to_owned()]), "{url}");
        }
        let endpoint =
            Endpoint::parse("redis://ann:p%40ss@[::1]:7000/3?protocol=resp2").expect("ok");
        let settings = endpoint.nodes[0].redis_settings();
        assert_eq!(settings.username(), Some("ann"));
        assert_eq!(settings.password(), Some("p@ss"));
        assert_eq!(settings.db(), 3);
        assert_eq!(settings.protocol(), redis::ProtocolVersion::RESP2);
        assert!(!endpoint.tls);
    }

    #[cfg(unix)]
    #[test]
    fn a_unix_socket() {
        let endpoint = Endpoint::parse("unix:///run/redis.sock?db=2&user=u&pass=p").expect("ok");
        assert_eq!(endpoint.nodes[0].addr().to_string(), "/run/redis.sock");
        assert_eq!(endpoint.nodes[0].redis_settings().db(), 2);
        assert_eq!(endpoint.nodes[0].redis_settings().password(), Some("p"));
    }

    #[test]
    fn sentinels_know_a_service() {
        let url = "redis+sentinel://u:p@a:1,b,[::1]/main/2?sentinel_password=s&sentinel_user=w";
        let (kind, addresses) = addresses(url);
        let user = Some("w".to_owned());
        let password = Some("s".to_owned());
        assert_eq!(kind, Kind::Sentinel { service: "main".to_owned(), user, password });
        assert_eq!(addresses, ["a:1", "b:26379", "::1:26379"]);
        assert!(Endpoint::parse("redis-sentinel://a,b").is_err());
    }

    #[test]
    fn clusters_are_named_or_known_by_their_name() {
        let two = vec!["a:1".to_owned(), "b:6379".to_owned()];
        assert_eq!(addresses("redis+cluster://a:1,b"), (Kind::Cluster, two));
        for host in [
            "clustercfg.my-rg.abcdef.use1.cache.amazonaws.com:6379",
            "my-rg.abcdef.clustercfg.use1.cache.amazonaws.com:6379",
            "my-cache-abcdef.serverless.use1.cache.amazonaws.com",
        ] {
            assert_eq!(addresses(&format!("redis://{host}")).0, Kind::Cluster, "{host}");
        }
        let primary = "redis://master.my-rg.abcdef.use1.cache.amazonaws.com:6379";
        assert_eq!(addresses(primary).0, Kind::Node);
    }

    #[test]
    fn errors_say_what_is_wrong_and_keep_the_password() {
        for url in [
            "127.0.0.1:6379",
            "http://u:sesame@127.0.0.1",
            "redis+nonsense://u:sesame@127.0.0.1",
            "redis://u:sesame@127.0.0.1/three",
            "redis://u:sesame@a,b",
            "redis://u:sesame@127.0.0.1?colour=red",
            "rediss://u:sesame@127.0.0.1#insecure",
            "redis://u:sesame@0.0.0.0",
        ] {
            let said = Endpoint::parse(url).expect_err(url).to_string();
            assert!(said.starts_with("the session store's URL: "), "{said}");
            assert!(!said.contains("sesame"), "{said}");
        }
    }
}
