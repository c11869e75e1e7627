//! REPLCONF, PSYNC and SYNC: a replica introduces itself and asks for data.

use super::super::args::{int, is, parse_int};
use super::super::{CommandError, Ctx, Done, Outcome, Session};
use super::{copies, failover, role};
use crate::clock::Millis;
use crate::config::split_words;
use crate::replication::{Feed, Parts, Peer, Reader, Replica, SharedProgress};
use crate::resp::Args;
use crate::session::End;
use crate::state::Server;

/// No address is longer (`NET_HOST_STR_LEN`).
const LONGEST_ADDRESS: usize = 255;

pub(super) fn replconf(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    if args.len().is_multiple_of(2) {
        return Err(CommandError::SYNTAX);
    }
    for at in (1..args.len()).step_by(2) {
        let (option, value) = (args.at(at), args.at(at + 1));
        match option.to_ascii_lowercase().as_slice() {
            // Neither is answered.
            b"ack" => return ack(ctx, value),
            b"getack" => return Ok(Outcome::Unchanged),
            b"listening-port" => {
                let port = u16::try_from(int(args, at + 1)?).unwrap_or(0);
                peer(ctx.session).port = port;
            }
            b"ip-address" if value.len() > LONGEST_ADDRESS => {
                return Err(CommandError::new(format!(
                    "ERR REPLCONF ip-address provided by replica instance is too long: {} bytes",
                    value.len()
                )));
            }
            b"ip-address" => {
                let ip = String::from_utf8_lossy(value).into_owned();
                peer(ctx.session).ip = (!ip.is_empty()).then_some(ip);
            }
            b"capa" if is(value, "eof") => peer(ctx.session).takes_marked = true,
            b"capa" if is(value, "psync2") => peer(ctx.session).takes_new_id = true,
            b"version" => {
                let major = value.split(|byte| *byte == b'.').next().and_then(parse_int);
                peer(ctx.session).takes_field_deadlines = major >= Some(9);
            }
            // What others can do beside is of no use here.
            b"capa" => {}
            b"rdb-only" => match int(args, at + 1)? {
                only @ (0 | 1) => peer(ctx.session).wants_data_only = only == 1,
                _ => {
                    let text = "ERR value is out of range, value must between 0 and 1";
                    return Err(CommandError::new(text));
                }
            },
            b"rdb-filter-only" => peer(ctx.session).parts = parts(value)?,
            _ => {
                return Err(CommandError::quoting(
                    "ERR Unrecognized REPLCONF option: ",
                    option,
                    "",
                ));
            }
        }
    }
    ctx.reply.ok();
    Ok(Outcome::Unchanged)
}

/// The parts of the data that a replica names.
fn parts(names: &[u8]) -> Result<Parts, CommandError> {
    let missing = CommandError::new("ERR Missing rdb-filter-only values");
    let mut parts = Parts::NONE;
    for name in split_words(&String::from_utf8_lossy(names)).ok_or(missing)? {
        if !name.eq_ignore_ascii_case("functions") {
            let text = format!("ERR Unsupported rdb-filter-only option: {name}");
            return Err(CommandError::new(text));
        }
        parts.functions = true;
    }
    Ok(parts)
}

pub(super) fn peer(session: &mut Session) -> &mut Peer {
    session.peer.get_or_insert_default()
}

/// A replica says how far it is.
fn ack(ctx: &mut Ctx<'_>, value: &[u8]) -> Done {
    let id = ctx.session.id();
    let (Some(offset), Some(peer)) = (parse_int(value), &ctx.session.peer) else {
        return Ok(Outcome::Unchanged);
    };
    let (Some(feed), Some(replica)) = (&peer.feed, ctx.server.replication.replicas.get_mut(id))
    else {
        return Ok(Outcome::Unchanged);
    };
    feed.acked();
    replica.acked = replica.acked.max(u64::try_from(offset).unwrap_or(0));
    replica.acked_at = ctx.now;
    ctx.server.waits.wake_for_replicas(&ctx.server.replication.replicas);
    failover::advance(ctx);
    Ok(Outcome::Unchanged)
}

pub(super) fn psync(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    if ctx.session.is_replica() || ctx.session.monitor {
        return Ok(Outcome::Unchanged);
    }
    if args.get(3).is_some_and(|word| is(word, "FAILOVER")) {
        take_over(ctx, &args[1])?;
    }
    check_ready(ctx)?;
    let next = int(args, 2)?;
    let stream = &ctx.server.effects.stream;
    if let Some(reader) = ctx.server.replication.resume(&args[1], next, stream) {
        peer(ctx.session).speaks_psync = true;
        resume(ctx, reader);
        return Ok(Outcome::Unchanged);
    }
    ctx.server.replication.counts.partial_err += u64::from(&args[1] != b"?");
    peer(ctx.session).speaks_psync = true;
    copies::ask(ctx)
}

pub(super) fn sync(ctx: &mut Ctx<'_>, _: Args<'_>) -> Done {
    if ctx.session.is_replica() || ctx.session.monitor {
        return Ok(Outcome::Unchanged);
    }
    check_ready(ctx)?;
    copies::ask(ctx)
}

/// A primary that gives up its role asks this replica to take it over.
fn take_over(ctx: &mut Ctx<'_>, id: &[u8]) -> Result<(), CommandError> {
    let replication = &ctx.server.replication;
    if !replication.is_replica() {
        return Err(CommandError::new("ERR PSYNC FAILOVER can't be sent to a master."));
    }
    if !id.eq_ignore_ascii_case(replication.history.id().as_bytes()) {
        return Err(CommandError::new("ERR PSYNC FAILOVER replid must match my replid."));
    }
    role::promote(ctx);
    Ok(())
}

/// Whether this server has data to give.
fn check_ready(ctx: &Ctx<'_>) -> Result<(), CommandError> {
    let replication = &ctx.server.replication;
    if replication.failover.is_some() {
        return Err(CommandError::new("NOMASTERLINK Can't SYNC while failing over"));
    }
    if replication.role.upstream().is_some_and(|upstream| !upstream.is_connected()) {
        return Err(CommandError::new(
            "NOMASTERLINK Can't SYNC while not connected with my master",
        ));
    }
    let wants_parts = |peer: &Peer| peer.parts != Parts::ALL && !peer.takes_marked;
    if ctx.session.peer.as_deref().is_some_and(wants_parts) {
        return Err(CommandError::new("ERR Filtered replica requires EOF capability"));
    }
    Ok(())
}

/// The replica goes on from where it stands.
fn resume(ctx: &mut Ctx<'_>, reader: Reader) {
    tracing::info!(replica = ctx.session.id(), behind = reader.lag(), "partial synchronization");
    ctx.server.replication.counts.partial_ok += 1;
    if peer(ctx.session).takes_new_id {
        ctx.reply.simple(&format!("CONTINUE {}", ctx.server.replication.history.id()));
    } else {
        ctx.reply.simple("CONTINUE");
    }
    let progress = SharedProgress::default();
    let replica = introduce(ctx.session, progress.clone(), ctx.now);
    attach(ctx, Feed::resume(reader, progress), replica);
}

/// A connection as a replica: what it has said of itself.
pub(super) fn introduce(session: &mut Session, progress: SharedProgress, now: Millis) -> Replica {
    let (ip, port) = address(session);
    let peer = peer(session);
    Replica {
        ip,
        port,
        progress,
        acked: 0,
        acked_at: now,
        is_silent: !peer.speaks_psync,
        takes_field_deadlines: peer.takes_field_deadlines,
        parts: peer.parts,
        seen_sent: 0,
    }
}

/// Where a replica listens: what it says, or what is seen.
fn address(session: &Session) -> (String, u16) {
    let addr = &session.client.addr;
    let seen = addr.rsplit_once(':').map_or(addr.as_str(), |(ip, _)| ip);
    let peer = session.peer.as_ref();
    let ip = peer.and_then(|peer| peer.ip.clone());
    let ip = ip.unwrap_or_else(|| seen.trim_matches(['[', ']']).to_owned());
    (ip, peer.map_or(0, |peer| peer.port))
}

/// From here on the connection is a replica's.
pub(super) fn attach(ctx: &mut Ctx<'_>, feed: Feed, replica: Replica) {
    super::super::pubsub::forget(ctx);
    peer(ctx.session).feed = Some(feed);
    ctx.server.replication.replicas.add(ctx.session.id(), replica);
    ctx.session.publish(ctx.now);
}

/// Forgets a replica whose connection has ended.
pub(in super::super) fn forget(ctx: &mut Ctx<'_>) {
    ctx.session.peer = None;
    let replication = &mut ctx.server.replication;
    if let Some(copy) = &mut replication.copy {
        copy.uninvite(ctx.session.id());
    }
    if replication.replicas.remove(ctx.session.id()).is_some() && replication.replicas.is_empty() {
        replication.lonely_since = ctx.now;
    }
}

/// Closes the connections of all replicas; they will come back and ask.
pub fn disconnect_all(server: &mut Server) {
    for (id, _) in server.replication.replicas.iter() {
        if let Some(client) = server.clients.get(id) {
            client.kill(End::Killed);
        }
    }
}
