-- Begins a session, if there is none under its token yet. Returns the milliseconds left and the
-- time, or nil if the token is taken.
-- ARGV[4] idle time in milliseconds, '' for a fixed lifetime; ARGV[5] the cap
-- ARGV[6] the user, '' for none; then names and values of fields
if redis.call('EXISTS', session) == 1 then return false end
local time = now()
local ends = time + ARGV[5]
local deadline = ends
redis.call('HSET', session, '_created', digits(time), '_ends', digits(ends))
if ARGV[4] ~= '' then
  redis.call('HSET', session, '_idle', ARGV[4])
  deadline = math.min(time + ARGV[4], ends)
end
if ARGV[6] ~= '' then redis.call('HSET', session, '_user', ARGV[6]) end
for at = 7, #ARGV, 2 do redis.call('HSET', session, ARGV[at], ARGV[at + 1]) end
keep_until(deadline, time)
return {deadline - time, time}
