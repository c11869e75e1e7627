-- What every script on one session begins with.
-- KEYS[1] the session, KEYS[2] the index of its user's sessions if it has a user
-- ARGV[1] its token as a member of that index, '' without a user
-- ARGV[2] the part of the idle time, in thousandths, that may pass before it is renewed
-- ARGV[3] the idle time of a session that has no deadline at all, in milliseconds
local session, index, member = KEYS[1], KEYS[2], ARGV[1]

-- Milliseconds since the Unix epoch, by the server's clock: the only one that counts.
local function now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Lua would write a large number as 1.79e+12.
local function digits(number)
  return string.format('%.0f', number)
end

-- Sets the session's deadline and keeps the index true: a member's score is its session's
-- deadline, what is over is removed, and the index lasts as long as its longest session.
local function keep_until(deadline, time)
  redis.call('PEXPIREAT', session, digits(deadline))
  if member ~= '' then
    redis.call('ZADD', index, digits(deadline), member)
    redis.call('ZREMRANGEBYSCORE', index, '-inf', digits(time))
    if redis.call('PTTL', index) < deadline - time then
      redis.call('PEXPIREAT', index, digits(deadline))
    end
  end
end

-- Renews a sliding session if enough of its idle time is used up, or in any case if `always`.
-- Returns the milliseconds left, or nil if there is no such session.
local function slide(always)
  local left = redis.call('PTTL', session)
  if left == -2 then return nil end
  local life = redis.call('HMGET', session, '_idle', '_ends')
  local idle, ends = tonumber(life[1]), tonumber(life[2])
  if left == -1 then
    -- Made by others and without a deadline: no session stays so.
    idle, always = idle or tonumber(ARGV[3]), true
  end
  local used = (idle or left) - left
  if not always and (not idle or used * 1000 < idle * ARGV[2]) then return left end
  local time = now()
  local deadline = time + (idle or left)
  if ends and ends < deadline then deadline = ends end
  if deadline <= time then
    redis.call('UNLINK', session)
    return nil
  end
  if always or deadline - time > left then keep_until(deadline, time) end
  return deadline - time
end

-- The value of a field, or false; one past a deadline of our own keeping is removed.
local function value_of(name)
  local got = redis.call('HMGET', session, name, '_until:' .. name)
  if got[2] and tonumber(got[2]) <= now() then
    redis.call('HDEL', session, name, '_until:' .. name)
    return false
  end
  return got[1]
end

-- What a script that writes ends with. A hash that others made, of the application's fields alone, may lose
-- its last one and come back in the same step: without the deadline, which is given to it again.
local function hold(left)
  if redis.call('PTTL', session) == -1 then
    local time = now()
    keep_until(time + left, time)
  end
end
