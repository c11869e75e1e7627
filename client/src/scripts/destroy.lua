-- Ends a session. Returns 1 if there was one.
local ended = redis.call('UNLINK', session)
if member ~= '' then redis.call('ZREM', index, member) end
return ended
