-- What scripts see: the libraries behind read-only faces, and errors with their place.
local raw, libraries = ...
local real_error, real_type, real_pcall, real_setfenv = error, type, pcall, setfenv
local real_loadstring, real_rawset, real_tostring = loadstring, rawset, tostring

local function face(of)
  return setmetatable({}, {
    __index = of,
    __newindex = function() real_error("Attempt to modify a readonly table", 2) end,
    __metatable = false,
  })
end

local globals = {}
for _, name in ipairs({ "assert", "error", "ipairs", "next", "pairs", "pcall", "xpcall", "rawequal",
  "rawget", "select", "setmetatable", "getmetatable", "tonumber", "tostring", "type", "unpack",
  "collectgarbage", "_VERSION" }) do
  globals[name] = _G[name]
end

local env = setmetatable({}, {
  __index = function(_, name)
    local value = globals[name]
    if value == nil then
      real_error("Script attempted to access nonexistent global variable '" .. real_tostring(name) .. "'", 2)
    end
    return value
  end,
  __newindex = function() real_error("Attempt to modify a readonly table", 2) end,
  __metatable = false,
})
globals._G = env
globals.rawset = function(to, name, value)
  if to == env then real_error("Attempt to modify a readonly table", 2) end
  return real_rawset(to, name, value)
end
globals.loadstring = function(text, name)
  local chunk, why = real_loadstring(text, name or "@user_script")
  if chunk then real_setfenv(chunk, env) end
  return chunk, why
end
globals.load = nil
globals.getfenv = function() return env end
globals.setfenv = function() real_error("setfenv is not allowed in scripts", 2) end
for name, library in pairs({ string = string, table = table, math = math, coroutine = coroutine }) do
  globals[name] = face(library)
end
for name, library in pairs(libraries) do
  globals[name] = face(library)
end

-- The line of the script at which something happened, for the end of error replies.
local function place(level)
  local _, at = real_pcall(real_error, "", level + 1)
  if at == "" then
    _, at = real_pcall(real_error, "", level + 2)
  end
  return real_tostring(at):match("^user_script:(%d+):") or "1"
end

local redis = libraries.redis
local function raise(text, level)
  real_error({ err = text, line = place(level + 1) }, 0)
end

redis.call = function(...)
  local reply, failed = raw.call(...)
  if failed then raise(reply, 2) end
  return reply
end
redis.pcall = function(...)
  local reply, failed = raw.call(...)
  if failed then return { err = reply } end
  return reply
end
redis.error_reply = function(text)
  if real_type(text) ~= "string" then raise("ERR wrong number or type of arguments", 2) end
  if text:sub(1, 1) == "-" then text = text:sub(2) end
  if not text:find(" ", 1, true) then text = "ERR " .. text end
  return { err = text }
end
redis.status_reply = function(text)
  if real_type(text) ~= "string" then raise("ERR wrong number or type of arguments", 2) end
  return { ok = text }
end
redis.sha1hex = function(...)
  if select("#", ...) ~= 1 then raise("ERR wrong number of arguments", 2) end
  return raw.sha1hex(real_tostring((...)))
end
redis.setresp = function(...)
  if select("#", ...) ~= 1 then raise("ERR redis.setresp() requires one argument.", 2) end
  if not raw.setresp((...)) then raise("ERR RESP version must be 2 or 3.", 2) end
end
redis.log = function(level, ...)
  local words = { ... }
  if #words == 0 then raise("ERR redis.log() requires two arguments or more.", 2) end
  for at = 1, #words do words[at] = real_tostring(words[at]) end
  raw.log(level, table.concat(words, " "))
end
redis.set_repl = function() end
redis.replicate_commands = function() return true end
redis.breakpoint = function() return false end
redis.debug = function() end
redis.acl_check_cmd = function(...) return raw.acl_check_cmd(...) end

-- Errors of the libraries come from where the script called them.
for _, library in ipairs({ "cjson", "cmsgpack", "bit" }) do
  for name, func in pairs(libraries[library]) do
    if real_type(func) == "function" then
      libraries[library][name] = function(...)
        local results = { func(...) }
        if results[1] == raw.failure then
          real_error("user_script:" .. place(2) .. ": " .. results[2], 0)
        end
        return unpack(results, 1, table.maxn(results))
      end
    end
  end
end
local function handler(error)
  if real_type(error) == "table" then
    if error.line == nil then
      return { err = error.err, line = place(2) }
    end
    return error
  end
  local text = real_tostring(error)
  return { err = "ERR " .. text, line = text:match("^user_script:(%d+):") or place(2) }
end

local compiled = {}
return {
  compile = function(digest, text)
    local chunk, why = real_loadstring(text, "@user_script")
    if not chunk then return why end
    compiled[digest] = real_setfenv(chunk, env)
  end,
  has = function(digest) return compiled[digest] ~= nil end,
  run = function(digest, keys, args)
    globals.KEYS, globals.ARGV = keys, args
    return xpcall(compiled[digest], handler)
  end,
}
