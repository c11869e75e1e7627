-- Writes a session as a whole, with its deadline. Returns 1, or 0 if the condition does not hold.
-- KEYS[1] the session; ARGV[1] 'absent', 'present' or 'any'; ARGV[2] its deadline in milliseconds;
-- then names and values of fields
local there = redis.call('EXISTS', KEYS[1]) == 1
if (ARGV[1] == 'absent' and there) or (ARGV[1] == 'present' and not there) then return 0 end
redis.call('UNLINK', KEYS[1])
redis.call('HSET', KEYS[1], '_ends', ARGV[2])
for at = 3, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[at], ARGV[at + 1]) end
redis.call('PEXPIREAT', KEYS[1], ARGV[2])
return 1
