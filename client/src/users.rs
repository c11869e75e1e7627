//! All sessions of one user: listed, and ended everywhere at once.

use std::time::Duration;

use futures_util::future::try_join_all;
use redis::Value;

use crate::error::Error;
use crate::fields::Record;
use crate::link::Request;
use crate::op::Op;
use crate::reply;
use crate::session::Session;
use crate::store::{SessionStore, hgetall};
use crate::token::{Token, user_tag};

/// So many sessions are read or ended in one request.
const AT_ONCE: usize = 100;

impl SessionStore {
    /// All living sessions of a user, the youngest first. To look at them does not renew them.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`], and those for which [`Error::is_unavailable`] holds.
    pub async fn sessions_of(&self, user: &str) -> Result<Vec<Session>, Error> {
        let mut sessions = Vec::new();
        for tokens in self.tokens_of(user).await? {
            for some in tokens.chunks(AT_ONCE) {
                sessions.extend(self.look_at(some).await?);
            }
        }
        sessions.sort_by_key(|session| std::cmp::Reverse(session.created_at()));
        Ok(sessions)
    }

    /// Ends all sessions of a user: "log out everywhere". Returns how many there were; after a lost
    /// answer those that the first try has ended are not counted. A session
    /// that was there when this was called is gone when it returns, even if its token changed
    /// meanwhile.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`], and those for which [`Error::is_unavailable`] holds.
    pub async fn destroy_all_for(&self, user: &str) -> Result<u64, Error> {
        let tag = user_tag(user);
        let mut ended = 0;
        for tokens in self.tokens_of(user).await? {
            let mut left = tokens;
            // The index is asked again after each step, until it is empty: a session that just got
            // a new token has not escaped.
            while let Some(first) = left.first() {
                let index = self.inner.keys.index(first.bucket(), &tag);
                let some = &left[..left.len().min(AT_ONCE)];
                let keys = some.iter().map(|token| self.inner.keys.session(token));
                let request = Request {
                    script: Some(&self.inner.scripts.sweep),
                    keys: [index].into_iter().chain(keys).collect(),
                    args: some.iter().map(|token| token.reveal().into()).collect(),
                    then: None,
                };
                let reply = reply::array(self.run(Op::Sweep, request).await?)?;
                let [count, members] = reply::exactly(reply)?;
                ended += u64::try_from(reply::integer(count)?).unwrap_or(0);
                left = tokens_in(members)?;
            }
        }
        Ok(ended)
    }

    /// The tokens of a user's living sessions, those of each bucket together.
    async fn tokens_of(&self, user: &str) -> Result<Vec<Vec<Token>>, Error> {
        let tag = user_tag(user);
        let requests = self.inner.keys.buckets().map(|bucket| Request {
            script: Some(&self.inner.scripts.sessions_of),
            keys: vec![self.inner.keys.index(bucket, &tag)],
            args: Vec::new(),
            then: None,
        });
        let requests: Vec<_> = requests.collect();
        let replies = if self.inner.link.is_cluster() {
            // Each bucket may lie on another server.
            let asked = requests.chunks(1).map(|one| self.inner.link.run(Op::List, one));
            try_join_all(asked).await?.into_iter().flatten().collect()
        } else {
            self.inner.link.run(Op::List, &requests).await?
        };
        let tokens = replies.into_iter().map(tokens_in).collect::<Result<Vec<_>, _>>()?;
        Ok(tokens.into_iter().filter(|tokens| !tokens.is_empty()).collect())
    }

    /// Reads sessions of one bucket without renewing them.
    async fn look_at(&self, tokens: &[Token]) -> Result<Vec<Session>, Error> {
        let requests: Vec<_> = tokens
            .iter()
            .map(|token| {
                let mut request = self.on(&self.inner.scripts.look, token, []);
                request.then = Some(hgetall(&self.inner.keys.session(token)));
                request
            })
            .collect();
        let mut replies = self.inner.link.run(Op::List, &requests).await?.into_iter();
        let mut sessions = Vec::new();
        for token in tokens {
            let (Some(life), Some(fields)) = (replies.next(), replies.next()) else {
                return Err(Error::unexpected("fewer replies than requests"));
            };
            let pairs = reply::pairs(fields)?;
            // It may have ended since its token was read.
            let Some((left, now)) = reply::some(life).ok().map(reply::life).transpose()? else {
                continue;
            };
            if left > Duration::ZERO && !pairs.is_empty() {
                let record = Record::sort(self.inner.codec, pairs, left, now);
                sessions.push(Session::new(self.clone(), token.clone(), record));
            }
        }
        Ok(sessions)
    }
}

fn tokens_in(members: Value) -> Result<Vec<Token>, Error> {
    let read = |member| {
        let member = reply::bytes(member)?;
        let text = std::str::from_utf8(&member).ok();
        text.and_then(Token::parse).ok_or_else(|| Error::unexpected("an index of other things"))
    };
    reply::array(members)?.into_iter().map(read).collect()
}
