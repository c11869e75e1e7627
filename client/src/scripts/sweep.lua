-- Ends sessions of a user in one bucket. KEYS[1] the index, the others the sessions; ARGV their
-- members there. Returns how many there were, and the members that are left.
local ended = 0
for at = 1, #ARGV do
  ended = ended + redis.call('UNLINK', KEYS[at + 1])
  redis.call('ZREM', KEYS[1], ARGV[at])
end
return {ended, redis.call('ZRANGE', KEYS[1], 0, -1)}
