-- Reads fields and removes them: the one named ARGV[4], or all whose name begins with ARGV[5].
-- Returns names and values in turn, or nil if there is no session.
local left = slide(false)
if not left then return false end
local names = {}
if ARGV[5] then
  for _, name in ipairs(redis.call('HKEYS', session)) do
    if name:sub(1, #ARGV[5]) == ARGV[5] then names[#names + 1] = name end
  end
  table.sort(names)
else
  names[1] = ARGV[4]
end
local taken = {}
for _, name in ipairs(names) do
  local value = value_of(name)
  if value then
    taken[#taken + 1] = name
    taken[#taken + 1] = value
    redis.call('HDEL', session, name)
  end
end
return taken
