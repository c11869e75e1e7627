-- Gives a session a new token, and perhaps a user and a new life. Returns the milliseconds left
-- and the time, or nil if there is no session.
-- KEYS then the session so far, and its index if it has a user; ARGV[4] its member there, or ''
-- ARGV[5] the user, '' to leave it as it is
-- ARGV[6] idle time in milliseconds, '' for a fixed lifetime; ARGV[7] the cap; neither to leave both
local old, old_index = KEYS[member ~= '' and 3 or 2], KEYS[#KEYS]
if redis.call('EXISTS', session) == 1 then
  -- The new token is random: only an earlier try of this very move, whose answer was lost, can
  -- have brought it into the world.
  return {redis.call('PTTL', session), now()}
end
if redis.call('EXISTS', old) == 0 then return false end
redis.call('RENAME', old, session)
if ARGV[4] ~= '' then redis.call('ZREM', old_index, ARGV[4]) end
if ARGV[5] ~= '' then redis.call('HSET', session, '_user', ARGV[5]) end
if ARGV[7] then
  local time = now()
  redis.call('HSET', session, '_created', digits(time), '_ends', digits(time + ARGV[7]))
  if ARGV[6] ~= '' then
    redis.call('HSET', session, '_idle', ARGV[6])
  else
    redis.call('HDEL', session, '_idle')
    redis.call('PEXPIREAT', session, digits(time + ARGV[7]))
  end
end
local left = slide(true)
if not left then return false end
return {left, now()}
