//! Eviction: makes room when memory is over `maxmemory`.

use super::{Ctx, memory};
use crate::config::{EvictionPolicy, NotifyFlags};
use crate::store::ObjectRef;

/// How often another sample is drawn when none of the keys drawn may be evicted.
const TRIES: usize = 64;

/// Evicts keys by the policy until memory is within its limit. False: it cannot be brought there.
pub fn make_room(ctx: &mut Ctx<'_>) -> bool {
    let limit = ctx.server.config.maxmemory as usize;
    let policy = ctx.server.config.maxmemory_policy;
    let others = memory::used(ctx) - ctx.data.keyspace.bytes();
    if others + ctx.data.keyspace.bytes() <= limit {
        return true;
    }
    if policy == EvictionPolicy::NoEviction {
        return false;
    }
    let started = ctx.clock.stopwatch();
    let mut has_room = false;
    while !has_room && let Some((db, key)) = victim(ctx, policy) {
        evict(ctx, db, &key);
        has_room = others + ctx.data.keyspace.bytes() <= limit;
    }
    let took = ctx.clock.stopwatch().saturating_sub(started);
    super::latency::note_event(ctx, "eviction-cycle", took);
    has_room
}

fn evict(ctx: &mut Ctx<'_>, db: usize, key: &[u8]) {
    ctx.data.keyspace.db_mut(db).remove(key, 0);
    ctx.data.keyspace.db(db).touch(key);
    ctx.server.stats.evicted_keys += 1;
    ctx.server.effects.state(db, [b"DEL".as_slice(), key]);
    ctx.notify_in(db, NotifyFlags::EVICTED, "evicted", key);
}

/// The key of a sample that the policy gives up first: the one of the highest rank.
fn victim(ctx: &mut Ctx<'_>, policy: EvictionPolicy) -> Option<(usize, Box<[u8]>)> {
    let config = &ctx.server.config;
    let samples = config.maxmemory_samples as usize;
    let (now, decay) = (ctx.now, config.lfu_decay_time as u32);
    let rank = |object: ObjectRef<'_>| -> u64 {
        match policy {
            EvictionPolicy::VolatileTtl => u64::MAX - object.deadline().unwrap_or(u64::MAX),
            EvictionPolicy::VolatileLfu | EvictionPolicy::AllkeysLfu => {
                255 - u64::from(object.access().decayed(now, decay))
            }
            EvictionPolicy::VolatileLru | EvictionPolicy::AllkeysLru => {
                u64::from(object.access().idle_seconds(now))
            }
            _ => 0,
        }
    };
    let only_volatile = policy.is_volatile();
    let mut best: Option<(u64, usize, Box<[u8]>)> = None;
    for db in 0..ctx.data.keyspace.databases() {
        let figures = ctx.data.keyspace.db(db).figures(now);
        if figures.keys == 0 || (only_volatile && figures.volatile == 0) {
            continue;
        }
        let mut seen = 0;
        for round in 0..TRIES {
            // Where few keys have a deadline, samples grow until one is met.
            let drawn = samples << (round / 4).min(16);
            let rng = &mut ctx.data.lookups.rng;
            ctx.data.keyspace.db(db).sample(rng, drawn, &mut |object| {
                if only_volatile && object.deadline().is_none() {
                    return;
                }
                seen += 1;
                let rank = rank(object);
                if best.as_ref().is_none_or(|(highest, _, _)| rank > *highest) {
                    best = Some((rank, db, object.key().into()));
                }
            });
            if seen >= samples.min(if only_volatile { figures.volatile } else { figures.keys }) {
                break;
            }
        }
    }
    best.map(|(_, db, key)| (db, key))
}
