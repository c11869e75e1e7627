-- Adds ARGV[5] to the number in field ARGV[4]. Returns the sum, or nil if there is no session.
local left = slide(false)
if not left then return false end
value_of(ARGV[4])
local sum = redis.call('HINCRBY', session, ARGV[4], ARGV[5])
hold(left)
return sum
