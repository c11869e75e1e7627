-- Looks at a session without renewing it. Returns the milliseconds left and the time, or nil.
local left = redis.call('PTTL', session)
if left < 0 then return false end
return {left, now()}
