//! The three ways to a server, each a client of the `redis` crate.

#[cfg(any(feature = "cluster", feature = "sentinel"))]
use std::time::Duration;

#[cfg(any(feature = "cluster", feature = "sentinel"))]
use redis::RedisError;
use redis::aio::MultiplexedConnection;
#[cfg(feature = "sentinel")]
use redis::sentinel::SentinelClient;
use redis::{AsyncConnectionConfig, Client, Pipeline, ProtocolVersion, RedisResult, Value};
#[cfg(feature = "cluster")]
use redis::{cluster::ClusterClient, cluster_async::ClusterConnection};

/// Whom to ask for a connection.
#[allow(clippy::large_enum_variant, reason = "a store has one; which is large depends on features")]
pub(crate) enum Backend {
    /// One server, or a name that leads to the primary of the moment.
    Node(Client),
    /// Sentinels, which know the primary.
    #[cfg(feature = "sentinel")]
    Sentinel {
        /// It remembers its connections to the sentinels.
        client: tokio::sync::Mutex<SentinelClient>,
        /// What to speak with the primary.
        protocol: ProtocolVersion,
        /// For finding the primary and connecting to it.
        timeout: Duration,
    },
    /// A cluster, of which the connection learns the nodes.
    #[cfg(feature = "cluster")]
    Cluster {
        client: ClusterClient,
        /// For learning the nodes and connecting to them.
        timeout: Duration,
    },
}

impl Backend {
    pub(crate) async fn open(&self, config: &AsyncConnectionConfig) -> RedisResult<Connection> {
        match self {
            Backend::Node(client) => {
                let opened = client.get_multiplexed_async_connection_with_config(config);
                Ok(Connection::Node(opened.await?))
            }
            #[cfg(feature = "sentinel")]
            Backend::Sentinel { client, timeout, .. } => {
                within(*timeout, async {
                    let mut client = client.lock().await;
                    let opened = client.get_async_connection_with_config(config);
                    Ok(Connection::Node(opened.await?))
                })
                .await
            }
            #[cfg(feature = "cluster")]
            Backend::Cluster { client, timeout } => {
                within(*timeout, async {
                    Ok(Connection::Cluster(client.get_async_connection().await?))
                })
                .await
            }
        }
    }

    /// Whether its connections tell of their end.
    pub(crate) fn speaks_resp3(&self) -> bool {
        match self {
            Backend::Node(client) => {
                let settings = client.get_connection_info().redis_settings();
                settings.protocol() == ProtocolVersion::RESP3
            }
            #[cfg(feature = "sentinel")]
            Backend::Sentinel { protocol, .. } => *protocol == ProtocolVersion::RESP3,
            #[cfg(feature = "cluster")]
            Backend::Cluster { .. } => false,
        }
    }

    /// Whether keys may lie on several servers.
    pub(crate) fn is_cluster(&self) -> bool {
        match self {
            #[cfg(feature = "cluster")]
            Backend::Cluster { .. } => true,
            _ => false,
        }
    }
}

#[cfg(any(feature = "sentinel", feature = "cluster"))]
async fn within<T>(
    timeout: Duration,
    opening: impl Future<Output = RedisResult<T>>,
) -> RedisResult<T> {
    match tokio::time::timeout(timeout, opening).await {
        Ok(opened) => opened,
        Err(_) => Err(RedisError::from(std::io::Error::from(std::io::ErrorKind::TimedOut))),
    }
}

/// A connection that any number of tasks share; a clone is the same connection.
#[derive(Clone)]
pub(crate) enum Connection {
    Node(MultiplexedConnection),
    #[cfg(feature = "cluster")]
    Cluster(ClusterConnection),
}

impl Connection {
    /// Sends these commands in one go. The first that fails is the error.
    pub(crate) async fn send(&mut self, commands: &Pipeline) -> RedisResult<Vec<Value>> {
        match self {
            Connection::Node(connection) => commands.query_async(connection).await,
            #[cfg(feature = "cluster")]
            Connection::Cluster(connection) => commands.query_async(connection).await,
        }
    }

    /// Sends them to one node of a cluster, which is just taking over their slot.
    #[cfg(feature = "cluster")]
    pub(crate) async fn send_to(
        &mut self,
        node: &str,
        commands: &Pipeline,
    ) -> RedisResult<Vec<Value>> {
        use redis::cluster_routing::SingleNodeRoutingInfo;

        let address =
            node.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
        let (Connection::Cluster(connection), Some((host, port))) = (&mut *self, address) else {
            return self.send(commands).await;
        };
        let mut asking = redis::pipe();
        for command in commands.cmd_iter() {
            asking.cmd("ASKING").add_command(command.clone());
        }
        let route = SingleNodeRoutingInfo::ByAddress { host: host.to_owned(), port };
        let count = asking.len();
        let values = connection.route_pipeline(asking, 0, count, route).await?;
        values.into_iter().skip(1).step_by(2).map(Value::extract_error).collect()
    }
}
