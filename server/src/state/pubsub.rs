//! Who subscribes to what, and the delivery of messages.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::clock::Millis;
use crate::config::OutputLimit;
use crate::resp::{Protocol, Reply};
use crate::session::{Client, ClientId};
use crate::store::glob;

type Subscribers = BTreeMap<ClientId, Arc<Client>>;
type Subscriptions = HashMap<Box<[u8]>, Subscribers>;

/// Subscriptions of three kinds: channels, patterns, shard channels.
#[derive(Debug, Default)]
pub struct PubSub {
    channels: Subscriptions,
    patterns: Subscriptions,
    shard_channels: Subscriptions,
}

/// The kinds of subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// SUBSCRIBE.
    Channel,
    /// PSUBSCRIBE.
    Pattern,
    /// SSUBSCRIBE.
    ShardChannel,
}

impl PubSub {
    /// Subscribes a client.
    pub fn subscribe(&mut self, subject: Subject, name: &[u8], client: &Arc<Client>) {
        let subscribers = self.of_mut(subject).entry(name.into()).or_default();
        subscribers.insert(client.id, Arc::clone(client));
    }

    /// Ends a client's subscription.
    pub fn unsubscribe(&mut self, subject: Subject, name: &[u8], client: ClientId) {
        let subscriptions = self.of_mut(subject);
        if let Some(subscribers) = subscriptions.get_mut(name) {
            subscribers.remove(&client);
            if subscribers.is_empty() {
                subscriptions.remove(name);
            }
        }
    }

    /// Names with at least one subscriber, in no order.
    pub fn names(&self, subject: Subject) -> impl Iterator<Item = &[u8]> {
        self.of(subject).keys().map(|name| &**name)
    }

    /// How many names have subscribers.
    pub fn count(&self, subject: Subject) -> usize {
        self.of(subject).len()
    }

    /// How many clients subscribe to this name.
    pub fn subscribers(&self, subject: Subject, name: &[u8]) -> usize {
        self.of(subject).get(name).map_or(0, BTreeMap::len)
    }

    /// Whether this holds for any subscription of a client.
    pub fn any_of(&self, client: ClientId, holds: impl Fn(Subject, &[u8]) -> bool) -> bool {
        [Subject::Channel, Subject::Pattern, Subject::ShardChannel].into_iter().any(|subject| {
            let mut own = self.of(subject).iter().filter(|(_, who)| who.contains_key(&client));
            own.any(|(name, _)| holds(subject, name))
        })
    }

    /// Delivers a message to the channel's subscribers, then to those of matching patterns;
    /// returns how many. `own` is the publisher's number and reply: what it subscribes to itself
    /// is written there.
    pub fn publish(
        &self,
        channel: &[u8],
        message: &[u8],
        limit: OutputLimit,
        now: Millis,
        mut own: Option<(ClientId, &mut Reply<'_>)>,
    ) -> usize {
        let mut received = 0;
        if let Some(subscribers) = self.channels.get(channel) {
            let parts: [&[u8]; 3] = [b"message", channel, message];
            received += deliver(subscribers, &parts, limit, now, &mut own);
        }
        for (pattern, subscribers) in &self.patterns {
            if glob::matches(pattern, channel, false) {
                let parts: [&[u8]; 4] = [b"pmessage", pattern, channel, message];
                received += deliver(subscribers, &parts, limit, now, &mut own);
            }
        }
        received
    }

    /// Delivers a message to a shard channel's subscribers; returns how many.
    pub fn publish_to_shard(
        &self,
        channel: &[u8],
        message: &[u8],
        limit: OutputLimit,
        now: Millis,
        mut own: Option<(ClientId, &mut Reply<'_>)>,
    ) -> usize {
        let Some(subscribers) = self.shard_channels.get(channel) else { return 0 };
        let parts: [&[u8]; 3] = [b"smessage", channel, message];
        deliver(subscribers, &parts, limit, now, &mut own)
    }

    fn of(&self, subject: Subject) -> &Subscriptions {
        match subject {
            Subject::Channel => &self.channels,
            Subject::Pattern => &self.patterns,
            Subject::ShardChannel => &self.shard_channels,
        }
    }

    fn of_mut(&mut self, subject: Subject) -> &mut Subscriptions {
        match subject {
            Subject::Channel => &mut self.channels,
            Subject::Pattern => &mut self.patterns,
            Subject::ShardChannel => &mut self.shard_channels,
        }
    }
}

fn deliver(
    subscribers: &Subscribers,
    parts: &[&[u8]],
    limit: OutputLimit,
    now: Millis,
    own: &mut Option<(ClientId, &mut Reply<'_>)>,
) -> usize {
    // Written once a protocol, however many receive it.
    let mut written: [Option<Vec<u8>>; 2] = [None, None];
    let mut received = 0;
    for client in subscribers.values().filter(|client| !client.is_ending()) {
        received += 1;
        match own {
            Some((id, reply)) if *id == client.id => write_message(reply, parts),
            _ => {
                let protocol = client.view.lock().protocol;
                let bytes =
                    written[usize::from(protocol == Protocol::Resp3)].get_or_insert_with(|| {
                        let mut bytes = Vec::new();
                        write_message(&mut Reply::new(&mut bytes, protocol), parts);
                        bytes
                    });
                client.push(bytes, limit, now);
            }
        }
    }
    received
}

fn write_message(reply: &mut Reply<'_>, parts: &[&[u8]]) {
    reply.push(parts.len());
    for part in parts {
        reply.bulk(part);
    }
}
