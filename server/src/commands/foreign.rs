//! Redis 7.0's commands that this server does not have. Rules may name them all the same, so that a
//! file of users means what it means there.

/// Categories, and the commands that belong to exactly these.
pub(super) const FOREIGN: &[(&str, &str)] = &[
    ("admin dangerous hyperloglog slow", "pfselftest"),
    ("admin dangerous hyperloglog slow write", "pfdebug"),
    (
        "admin dangerous slow",
        "bgrewriteaof cluster|addslots cluster|addslotsrange cluster|bumpepoch cluster|count- \
         failure-reports cluster|delslots cluster|delslotsrange cluster|failover \
         cluster|flushslots cluster|forget cluster|meet cluster|replicas cluster|replicate \
         cluster|reset cluster|saveconfig cluster|set-config-epoch cluster|setslot \
         cluster|slaves module|load module|loadex module|unload",
    ),
    ("bitmap fast read", "bitfield_ro getbit"),
    ("bitmap read slow", "bitcount bitpos"),
    ("bitmap slow write", "bitfield bitop setbit"),
    ("blocking fast sortedset write", "bzpopmax bzpopmin"),
    ("blocking list slow write", "blmove blmpop blpop brpop brpoplpush"),
    ("blocking read slow stream", "xread"),
    ("blocking slow sortedset write", "bzmpop"),
    ("blocking slow stream write", "xreadgroup"),
    ("connection fast", "asking readonly readwrite"),
    ("dangerous keyspace slow write", "migrate restore-asking"),
    ("dangerous list read set slow sortedset", "sort_ro"),
    ("dangerous list set slow sortedset write", "sort"),
    ("fast hyperloglog write", "pfadd"),
    ("fast list read", "llen"),
    ("fast list write", "lpop lpush lpushx rpop rpush rpushx"),
    ("fast read stream", "xlen"),
    ("fast stream write", "xack xadd xautoclaim xclaim xdel xsetid"),
    ("geo read slow", "geodist geohash geopos georadius_ro georadiusbymember_ro geosearch"),
    ("geo slow write", "geoadd georadius georadiusbymember geosearchstore"),
    ("hyperloglog read slow", "pfcount"),
    ("hyperloglog slow write", "pfmerge"),
    ("list read slow", "lindex lpos lrange"),
    ("list slow write", "linsert lmove lmpop lrem lset ltrim rpoplpush"),
    ("read slow sortedset", "zdiff zinter zintercard zunion"),
    ("read slow stream", "xinfo|consumers xinfo|groups xinfo|stream xpending xrange xrevrange"),
    ("read slow string", "lcs"),
    ("scripting slow", "script|debug"),
    ("slow", "cluster|countkeysinslot cluster|getkeysinslot cluster|links xgroup xinfo"),
    ("slow sortedset write", "zdiffstore zinterstore zmpop zunionstore"),
    ("slow stream", "xgroup|help xinfo|help"),
    (
        "slow stream write",
        "xgroup|create xgroup|createconsumer xgroup|delconsumer xgroup|destroy xgroup|setid \
         xtrim",
    ),
];
