-- Changes fields of a session that is there, if the fields it depends on are as expected.
-- Returns nil if there is no session; else how many of the fields to remove were there (-1 if
-- something was not as expected), and whether the server keeps deadlines of fields itself.
-- ARGV[4] 1 if it is known not to; then steps, the expectations first:
--   is NAME VALUE | absent NAME | only COUNT NAME... | set NAME VALUE | keep NAME VALUE MS |
--   remove NAME
local left = slide(false)
if not left then return false end
local native = ARGV[4] ~= '1'
local at = 5

local function take()
  at = at + 1
  return ARGV[at - 1]
end

-- Whether the session has no field of the application's beside these.
local function has_only(count)
  local known = {}
  for _ = 1, count do known[take()] = true end
  for _, name in ipairs(redis.call('HKEYS', session)) do
    if name:sub(1, 1) ~= '_' and not known[name] and value_of(name) then return false end
  end
  return true
end

local function set(name, value)
  redis.call('HSET', session, name, value)
  redis.call('HDEL', session, '_until:' .. name)
end

-- Sets a field that ends by itself. Where the server cannot, or may not for this user, its deadline is
-- a field beside it: in no case is it left without one.
local function keep(name, value, milliseconds)
  set(name, value)
  if native then
    local reply = redis.pcall('HPEXPIRE', session, milliseconds, 'FIELDS', 1, name)
    if not reply.err then return end
    native = false
  end
  redis.call('HSET', session, '_until:' .. name, digits(now() + milliseconds))
end

local removed = 0
while at <= #ARGV do
  local step, name = take(), take()
  if step == 'is' then
    if value_of(name) ~= take() then return {-1, 0} end
  elseif step == 'absent' then
    if value_of(name) then return {-1, 0} end
  elseif step == 'only' then
    if not has_only(tonumber(name)) then return {-1, 0} end
  elseif step == 'set' then
    set(name, take())
  elseif step == 'keep' then
    local value = take()
    keep(name, value, take())
  elseif step == 'remove' then
    if value_of(name) then removed = removed + 1 end
    redis.call('HDEL', session, name, '_until:' .. name)
  end
end
hold(left)
return {removed, native and 1 or 0}
