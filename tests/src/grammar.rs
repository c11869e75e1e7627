//! Random commands from a small grammar: mostly sensible, sometimes of the wrong type, of the wrong
//! length or with odd values.

use fastrand::Rng;

/// One command of each line. Words in capitals stand for themselves; `a|b` is one of them; `[..]`
/// is there or not; `(..)+` comes once to three times. The rest are kinds of arguments: a key of a
/// hash `kh`, string `kt`, set `ks`, sorted set `kz`, sorted set of equal scores
/// `kl` (which alone have an order by member) or any `k`; `f` field, `v` value, `m` member,
/// `i` integer, `x` float, `s` score, `r` score bound, `l` member bound, `n` small count, `t` time
/// in the future as seconds, `T` as milliseconds, `at` and `AT` as points, `p` pattern.
const COMMON: &str = "\
HSET kh (f v)+
HSET kh (f v)+
HMSET kh (f v)+
HSETNX kh f v
HGET kh f
HMGET kh (f)+
HGETALL kh
HDEL kh (f)+
HEXISTS kh f
HLEN kh
HKEYS kh
HVALS kh
HSTRLEN kh f
HINCRBY kh f i
HINCRBYFLOAT kh f x
HRANDFIELD kh [n [WITHVALUES]]
HSCAN kh 0 [MATCH p] [COUNT n]
DEL (k)+
UNLINK (k)+
EXISTS (k)+
TOUCH (k)+
TYPE k
RENAME k k
RENAMENX k k
COPY k k [DB 0|1|99] [REPLACE]
MOVE k 0|1|2|99
DBSIZE
RANDOMKEY
KEYS p
SCAN 0 COUNT 1000 [MATCH p] [TYPE string|hash|set|zset]
EXPIRE k t [NX|XX|GT|LT]
PEXPIRE k T [NX|XX|GT|LT]
EXPIREAT k at [NX|XX|GT|LT]
PEXPIREAT k AT [NX|XX|GT|LT]
TTL k
PTTL k
EXPIRETIME k
PEXPIRETIME k
PERSIST k
OBJECT ENCODING kt
OBJECT REFCOUNT kh
OBJECT IDLETIME k
SET kt v
SET kt i
SET kt v [NX|XX] [GET] [EX t|PX T|EXAT at|PXAT AT|KEEPTTL]
GET kt
GETSET kt v
GETDEL kt
GETEX kt [EX t|PX T|EXAT at|PXAT AT|PERSIST]
SETEX kt t v
PSETEX kt T v
SETNX kt v
MSET (kt v)+
MSETNX (kt v)+
MGET (k)+
APPEND kt v
STRLEN kt
GETRANGE kt i i
SUBSTR kt n n
SETRANGE kt n v
INCR kt
DECR kt
INCRBY kt i
DECRBY kt i
INCRBYFLOAT kt x
SADD ks (m)+
SADD ks (m)+
SREM ks (m)+
SMEMBERS ks
SISMEMBER ks m
SMISMEMBER ks (m)+
SCARD ks
SPOP ks [n]
SRANDMEMBER ks [n]
SMOVE ks ks m
SINTER (ks)+
SUNION (ks)+
SDIFF (ks)+
SINTERSTORE k (ks)+
SUNIONSTORE k (ks)+
SDIFFSTORE k (ks)+
SINTERCARD n (ks)+ [LIMIT n]
SSCAN ks 0 COUNT 1000 [MATCH p]
ZADD kz (s m)+
ZADD kz (s m)+
ZADD kz [NX|XX] [GT|LT] [CH] [INCR] (s m)+
ZREM kz (m)+
ZSCORE kz m
ZMSCORE kz (m)+
ZCARD kz
ZCOUNT kz r r
ZINCRBY kz s m
ZRANK kz m
ZREVRANK kz m
ZRANGE kz n n [REV] [WITHSCORES]
ZRANGE kz r r BYSCORE [REV] [LIMIT n n] [WITHSCORES]
ZADD kl (0 m)+
ZREM kl (m)+
ZRANGE kl l l BYLEX [REV] [LIMIT n n]
ZRANGEBYSCORE kz r r [WITHSCORES] [LIMIT n n]
ZREVRANGEBYSCORE kz r r [WITHSCORES] [LIMIT n n]
ZREVRANGE kz n n [WITHSCORES]
ZREMRANGEBYSCORE kz r r
ZREMRANGEBYRANK kz n n
ZPOPMIN kz [n]
ZPOPMAX kz [n]
ZSCAN kz 0 COUNT 1000 [MATCH p]
MULTI
MULTI
EXEC
EXEC
EXEC
EXEC
DISCARD
WATCH (k)+
UNWATCH
PUBLISH m v
PUBSUB NUMSUB (m)+
PUBSUB CHANNELS [p]
PUBSUB NUMPAT
EVAL return_redis.call('GET',KEYS[1]) 1 k
EVAL return_redis.pcall('HGETALL',KEYS[1]) 1 kh
EVAL return_redis.call('SET',KEYS[1],ARGV[1]) 1 kt v
EVAL return_{KEYS[1],ARGV[1],#ARGV} 1 k v
EVAL return_tonumber(ARGV[1]) 0 i
EVAL_RO return_redis.pcall('SET',KEYS[1],'1') 1 k
EVALSHA ffffffffffffffffffffffffffffffffffffffff 0
SCRIPT EXISTS ffffffffffffffffffffffffffffffffffffffff
PING [v]
ECHO v
SELECT 0|0|0|1|99
CLIENT SETNAME m
CLIENT GETNAME
CLIENT NO-EVICT ON|OFF
COMMAND GETKEYS GET k
CONFIG GET maxmemory-policy|databases|nonsense
LASTSAVE
TIME
WAIT 0 0
MEMORY USAGE k
FLUSHDB
SWAPDB 0 1
NONSENSE (v)+
";

/// Deadlines of fields: in Valkey 9 and ours.
const FIELD_DEADLINES: &str = "\
HEXPIRE kh t [NX|XX|GT|LT] FIELDS 1 f
HEXPIRE kh t FIELDS 2 f f
HPEXPIRE kh T [NX|XX|GT|LT] FIELDS 1 f
HEXPIREAT kh at [NX|XX|GT|LT] FIELDS 1 f
HPEXPIREAT kh AT [NX|XX|GT|LT] FIELDS 1 f
HTTL kh FIELDS 2 f f
HPTTL kh FIELDS 1 f
HEXPIRETIME kh FIELDS 1 f
HPEXPIRETIME kh FIELDS 1 f
HPERSIST kh FIELDS 2 f f
HGETEX kh [EX t|PX T|EXAT at|PXAT AT|PERSIST] FIELDS 2 f f
HSETEX kh [NX|XX] [FNX|FXX] [EX t|PX T|EXAT at|PXAT AT|KEEPTTL] FIELDS 1 f v
HGETDEL kh FIELDS 2 f f
HSCAN kh 0 NOVALUES
HGETALL kh
HSET kh (f v)+
HINCRBY kh f i
HDEL kh f
COPY kh kh
RENAME kh kh
";

const ODD: [&[u8]; 24] = [
    b"",
    b" ",
    b"0",
    b"-0",
    b"-1",
    b"1.5",
    b"007",
    b"+1",
    b" 1",
    b"1 ",
    b"nan",
    b"inf",
    b"-inf",
    b"1e400",
    b"9223372036854775807",
    b"-9223372036854775808",
    b"9223372036854775808",
    b"99999999999999999999",
    b"\x00\xff\r\n",
    b"*",
    b"[",
    b"(1",
    b"FIELDS",
    b"NX",
];

/// Makes commands, the same for the same seed.
pub struct Grammar {
    rng: Rng,
    lines: Vec<Vec<&'static str>>,
}

impl Grammar {
    /// With the deadlines of fields, or with what Redis 7.0 knows only.
    pub fn new(seed: u64, field_deadlines: bool) -> Grammar {
        let more = if field_deadlines { FIELD_DEADLINES } else { "" };
        let lines = COMMON.lines().chain(more.lines());
        let lines = lines.map(|line| line.split(' ').collect()).collect();
        Grammar { rng: Rng::with_seed(seed), lines }
    }

    /// The next command.
    pub fn command(&mut self) -> Vec<Vec<u8>> {
        let line = self.rng.usize(..self.lines.len());
        let line = self.lines[line].clone();
        let mut args = Vec::new();
        self.expand(&line, &mut args);
        self.spoil(&mut args);
        args
    }

    fn expand(&mut self, words: &[&str], args: &mut Vec<Vec<u8>>) {
        let mut at = 0;
        while at < words.len() {
            let open = words[at].chars().next().filter(|c| "[(".contains(*c));
            let Some(open) = open.filter(|_| words[at] != "(1") else {
                self.choice(words[at], args);
                at += 1;
                continue;
            };
            let end = closing(words, at);
            let mut inner: Vec<&str> = words[at..=end].to_vec();
            inner[0] = &inner[0][1..];
            let last = inner.len() - 1;
            let (times, tail) = match open {
                '[' => (usize::from(self.rng.u8(..10) < 4), 1),
                _ => (self.rng.usize(1..=3), 2),
            };
            inner[last] = &inner[last][..inner[last].len() - tail];
            // `[EX t|PX T]` chooses among phrases.
            let joined = inner.join(" ");
            for _ in 0..times {
                match open {
                    '[' if joined.contains('|') && !joined.contains('[') => {
                        let phrases: Vec<&str> = joined.split('|').collect();
                        let phrase = phrases[self.rng.usize(..phrases.len())];
                        self.expand(&phrase.split(' ').collect::<Vec<_>>(), args);
                    }
                    _ => self.expand(&inner, args),
                }
            }
            at = end + 1;
        }
    }

    fn choice(&mut self, word: &str, args: &mut Vec<Vec<u8>>) {
        let words: Vec<&str> = word.split('|').collect();
        let word = words[self.rng.usize(..words.len())];
        let arg = self.argument(word);
        args.push(arg);
    }

    fn argument(&mut self, kind: &str) -> Vec<u8> {
        let rng = &mut self.rng;
        let number = |n: i64| n.to_string().into_bytes();
        match kind {
            "k" => key(rng, b"htsz"),
            "kh" | "kt" | "ks" | "kz" if rng.u8(..12) == 0 => key(rng, b"htsz"),
            "kl" if rng.u8(..12) == 0 => key(rng, b"hts"),
            "kl" => key(rng, b"l"),
            "kh" => key(rng, b"h"),
            "kt" => key(rng, b"t"),
            "ks" => key(rng, b"s"),
            "kz" => key(rng, b"z"),
            "f" => vec![b'a' + rng.u8(..5)],
            "m" => match rng.u8(..4) {
                0 => number(rng.i64(0..6)),
                _ => vec![b'a' + rng.u8(..6)],
            },
            "v" => match rng.u8(..8) {
                0 => ODD[rng.usize(..ODD.len())].to_vec(),
                1 => number(rng.i64(-100..100)),
                2 => vec![b'x'; rng.usize(1..90)],
                _ => vec![b'u' + rng.u8(..4); rng.usize(1..6)],
            },
            "i" => match rng.u8(..10) {
                0 => ODD[rng.usize(..ODD.len())].to_vec(),
                _ => number(rng.i64(-20..20)),
            },
            "x" => match rng.u8(..10) {
                0 => ODD[rng.usize(..ODD.len())].to_vec(),
                _ => format!("{}", f64::from(rng.i32(-400..400)) / 8.0).into_bytes(),
            },
            "s" => match rng.u8(..12) {
                0 => ODD[rng.usize(..ODD.len())].to_vec(),
                1 => b"inf".to_vec(),
                _ => format!("{}", f64::from(rng.i32(-40..40)) / 4.0).into_bytes(),
            },
            "r" => match rng.u8(..8) {
                0 => b"-inf".to_vec(),
                1 => b"+inf".to_vec(),
                2 => ODD[rng.usize(..ODD.len())].to_vec(),
                3 => format!("({}", rng.i32(-10..10)).into_bytes(),
                _ => number(rng.i64(-10..10)),
            },
            "l" => match rng.u8(..6) {
                0 => b"-".to_vec(),
                1 => b"+".to_vec(),
                2 => vec![b'(', b'a' + rng.u8(..6)],
                3 => b"a".to_vec(),
                _ => vec![b'[', b'a' + rng.u8(..6)],
            },
            "n" => match rng.u8(..12) {
                0 => ODD[rng.usize(..ODD.len())].to_vec(),
                _ => number(rng.i64(-3..6)),
            },
            "t" => match rng.u8(..10) {
                0 => ODD[rng.usize(..ODD.len())].to_vec(),
                _ => number(rng.i64(1000..5000)),
            },
            "T" => match rng.u8(..10) {
                0 => ODD[rng.usize(..ODD.len())].to_vec(),
                _ => number(rng.i64(1_000_000..5_000_000)),
            },
            "at" => match rng.u8(..10) {
                0 => ODD[rng.usize(..ODD.len())].to_vec(),
                1 => number(rng.i64(1..1000)),
                _ => number(rng.i64(33_177_117_000..33_177_118_000)),
            },
            "AT" => match rng.u8(..10) {
                0 => ODD[rng.usize(..ODD.len())].to_vec(),
                1 => number(rng.i64(1..1000)),
                _ => number(rng.i64(33_177_117_000_000..33_177_118_000_000)),
            },
            "p" => {
                let patterns: [&[u8]; 8] =
                    [b"*", b"h*", b"?1", b"[a-c]", b"[^a]*", b"a", b"\\a", b"z[12]"];
                patterns[rng.usize(..patterns.len())].to_vec()
            }
            word => word.replace('_', if word.starts_with("return") { " " } else { "_" }).into(),
        }
    }

    /// Now and then a command is spoiled: too long, too short, an odd argument.
    fn spoil(&mut self, args: &mut Vec<Vec<u8>>) {
        if args.get(1).is_some_and(|key| key.starts_with(b"l")) {
            return;
        }
        let odd = ODD[self.rng.usize(..ODD.len())].to_vec();
        match self.rng.u8(..60) {
            0 if args.len() > 1 => {
                args.pop();
            }
            1 => args.push(odd),
            2 if args.len() > 1 => {
                let at = self.rng.usize(1..args.len());
                args[at] = odd;
            }
            3 => args[0].make_ascii_lowercase(),
            4 if args.len() > 2 => {
                let at = self.rng.usize(2..args.len());
                let word = args[at].clone();
                args.insert(at, word);
            }
            _ => {}
        }
    }
}

fn key(rng: &mut Rng, kinds: &[u8]) -> Vec<u8> {
    vec![kinds[rng.usize(..kinds.len())], b'1' + rng.u8(..3)]
}

/// Where the bracket that opens at a word is closed.
fn closing(words: &[&str], open: usize) -> usize {
    let mut depth = 0usize;
    for (at, word) in words.iter().enumerate().skip(open) {
        depth += word.chars().filter(|c| "[(".contains(*c)).count();
        depth -= word.chars().filter(|c| "])".contains(*c)).count();
        if depth == 0 {
            return at;
        }
    }
    words.len() - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_commands() {
        let take = |seed| {
            let mut grammar = Grammar::new(seed, true);
            (0..5000).map(|_| grammar.command()).collect::<Vec<_>>()
        };
        assert_eq!(take(1), take(1));
        assert_ne!(take(1), take(2));
        let shown = |args: &Vec<Vec<u8>>| crate::text::join(args);
        let some: Vec<String> = take(3).iter().map(shown).collect();
        assert!(some.iter().any(|c| c.starts_with("SET ") && c.contains(" EX ")), "{some:?}");
        assert!(some.iter().any(|c| c.starts_with("HEXPIRE ") && c.contains(" NX FIELDS 1 ")));
        assert!(some.iter().all(|c| !c.starts_with("HSET (")));
    }
}
