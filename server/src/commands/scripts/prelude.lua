-- What scripts see: the libraries behind read-only faces, and errors with their place.
local raw, libraries, chunk_name = ...
local real_error, real_type, real_pcall, real_setfenv = error, type, pcall, setfenv
local real_loadstring, real_rawset, real_tostring = loadstring, rawset, tostring
local real_setmetatable, real_byte = setmetatable, string.byte

local readonly = "Attempt to modify a readonly table"
local function refuse() real_error(readonly, 2) end
-- What getmetatable shows of a table that is protected: nothing, and it stays so.
local nothing = setmetatable({}, { __newindex = refuse, __metatable = false })
local protected = { [nothing] = true }

local function face(of)
  local face = setmetatable({}, { __index = of, __newindex = refuse, __metatable = nothing })
  protected[face] = true
  return face
end

local globals = {}
for _, name in ipairs({ "assert", "error", "ipairs", "next", "pairs", "xpcall", "rawequal", "rawget",
  "select", "setmetatable", "getmetatable", "tonumber", "tostring", "type", "unpack",
  "collectgarbage", "gcinfo", "_VERSION" }) do
  globals[name] = _G[name]
end

-- Where a library of functions is loaded there is nothing but what is needed for that.
local load_globals = {}
local visible = globals
local env = setmetatable({}, {
  __index = function(_, name)
    local value = visible[name]
    if value == nil then
      real_error("Script attempted to access nonexistent global variable '" .. real_tostring(name) .. "'", 2)
    end
    return value
  end,
  __newindex = refuse,
  __metatable = nothing,
})
protected[env] = true
getmetatable("").__metatable = nothing
globals._G = env
globals.rawset = function(to, name, value)
  if protected[to] then real_error(readonly, 0) end
  return real_rawset(to, name, value)
end
globals.setmetatable = function(of, metatable)
  if protected[of] then real_error(readonly, 0) end
  return real_setmetatable(of, metatable)
end
-- Compiled code is not checked by Lua 5.1 and could do anything to the server.
local function is_compiled(text)
  return real_type(text) == "string" and real_byte(text) == 27
end
globals.loadstring = function(text, name)
  if is_compiled(text) then return nil, "compiled code is not allowed in scripts" end
  local chunk, why = real_loadstring(text, name or "@" .. chunk_name)
  if chunk then real_setfenv(chunk, env) end
  return chunk, why
end
local function is_text(value)
  return real_type(value) == "string" or real_type(value) == "number"
end
-- Whoever catches a command's error gets its text.
local function caught(ok, failure, ...)
  if not ok and real_type(failure) == "table" and is_text(failure.err) then
    return ok, failure.err
  end
  return ok, failure, ...
end
globals.pcall = function(...)
  return caught(real_pcall(...))
end
for name, library in pairs({ string = string, table = table, math = math, coroutine = coroutine }) do
  globals[name] = face(library)
end
for name, library in pairs(libraries) do
  globals[name] = face(library)
end

-- The line of the script at which something happened, for the end of error replies: that of the
-- nearest function of the script that is still there. A tail call leaves none.
local deepest = 20
local function place()
  for level = 2, deepest do
    local _, at = real_pcall(real_error, "", level)
    local line = real_tostring(at):match("^" .. chunk_name .. ":(%d+):")
    if line then return line end
  end
  return "1"
end

globals.load = function(pieces, name)
  if real_type(pieces) ~= "function" then
    real_error(chunk_name .. ":" .. place() .. ": bad argument #1 to 'load' (function expected, got " ..
      real_type(pieces) .. ")", 0)
  end
  local text, piece = {}, pieces()
  while piece ~= nil and piece ~= "" do
    text[#text + 1] = piece
    piece = pieces()
  end
  return globals.loadstring(table.concat(text), name or "=(load)")
end

local redis = libraries.redis
local function raise(text)
  real_error({ err = text, line = place() }, 0)
end

redis.call = function(...)
  local reply, failed, counted = raw.serve(1, ...)
  if failed then
    real_error({ err = reply, line = place(), ignore_error_stats_update = counted }, 0)
  end
  return reply
end
redis.pcall = function(...)
  local reply, failed, counted = raw.serve(1, ...)
  if failed then return { err = reply, ignore_error_stats_update = counted } end
  return reply
end
-- Whether a reply can be made of what was given: one text.
local function is_one_text(...)
  return select("#", ...) == 1 and real_type((...)) == "string"
end
redis.error_reply = function(...)
  if not is_one_text(...) then return { err = "ERR wrong number or type of arguments" } end
  local text = (...)
  if text:sub(1, 1) == "-" then text = text:sub(2) end
  if not text:find(" ", 1, true) then text = "ERR " .. text end
  return { err = text }
end
redis.status_reply = function(...)
  if not is_one_text(...) then return { err = "ERR wrong number or type of arguments" } end
  return { ok = (...) }
end
redis.sha1hex = function(...)
  if select("#", ...) ~= 1 then raise("ERR wrong number of arguments") end
  return raw.sha1hex(is_text((...)) and real_tostring((...)) or "")
end
redis.setresp = function(...)
  if select("#", ...) ~= 1 then raise("ERR redis.setresp() requires one argument.") end
  if not raw.serve(3, (...)) then raise("ERR RESP version must be 2 or 3.") end
end
redis.log = function(level, ...)
  local count = select("#", ...)
  if count == 0 then raise("ERR redis.log() requires two arguments or more.") end
  level = tonumber(level)
  if not level then raise("ERR First argument must be a number (log level).") end
  if level < 0 or level >= 4 then raise("ERR Invalid debug level.") end
  local words = {}
  for at = 1, count do
    local word = select(at, ...)
    words[at] = is_text(word) and real_tostring(word) or ""
  end
  raw.log(level, table.concat(words, " "))
end
redis.set_repl = function(...)
  if select("#", ...) ~= 1 then raise("ERR redis.set_repl() requires two arguments.") end
  local flags = tonumber((...)) or 0
  if flags < 0 or flags >= 4 then
    raise("ERR Invalid replication flags. Use REPL_AOF, REPL_REPLICA, REPL_ALL or REPL_NONE.")
  end
  raw.serve(4, flags)
end
redis.replicate_commands = function() return true end
redis.breakpoint = function() return false end
redis.debug = function() end
redis.acl_check_cmd = function(...)
  local reply, failed = raw.serve(2, ...)
  if failed then raise(reply) end
  return reply
end

-- Errors of the libraries come from where the script called them.
for _, library in ipairs({ "cjson", "cmsgpack", "struct", "bit" }) do
  for name, func in pairs(libraries[library]) do
    if real_type(func) == "function" then
      libraries[library][name] = function(...)
        local results = { func(...) }
        if results[1] == raw.failure then
          real_error(chunk_name .. ":" .. place() .. ": " .. results[2], 0)
        end
        return unpack(results, 1, table.maxn(results))
      end
    end
  end
end
local function handler(error)
  if real_type(error) == "table" then
    if error.line == nil then
      return { err = error.err, line = place(),
        ignore_error_stats_update = error.ignore_error_stats_update }
    end
    return error
  end
  -- Errors from outside Lua bring a traceback with them.
  local text = real_tostring(error):match("^[^\n]*"):gsub("^memory error: ", "")
  return { err = "ERR " .. text, line = text:match("^" .. chunk_name .. ":(%d+):") or place() }
end

-- Functions: a library's code registers them while it is loaded.
local registering
local known_flags = { ["no-writes"] = true, ["allow-oom"] = true, ["allow-stale"] = true,
  ["no-cluster"] = true, ["allow-cross-slot-keys"] = true }
local bad_name = "ERR Library names can only contain letters, numbers, or underscores(_) " ..
  "and must be at least one character long"

local function read_flags(given)
  if real_type(given) ~= "table" then
    raise("ERR flags argument to redis.register_function must be a table representing function flags")
  end
  local flags, at = {}, 1
  while given[at] ~= nil do
    local name = is_text(given[at]) and real_tostring(given[at]):lower()
    if not known_flags[name] then raise("ERR unknown flag given") end
    flags[at], at = name, at + 1
  end
  return flags
end

local function named_arguments(given)
  if real_type(given) ~= "table" then
    raise("ERR calling redis.register_function with a single argument is only applicable to Lua table " ..
      "(representing named arguments).")
  end
  local made = { flags = {} }
  for key, value in pairs(given) do
    if not is_text(key) then
      raise("ERR named argument key given to redis.register_function is not a string")
    end
    key = real_tostring(key):lower()
    if key == "function_name" or key == "description" then
      if not is_text(value) then
        raise("ERR " .. key .. " argument given to redis.register_function must be a string")
      end
      made[key] = real_tostring(value)
    elseif key == "callback" then
      if real_type(value) ~= "function" then
        raise("ERR callback argument given to redis.register_function must be a function")
      end
      made.callback = value
    elseif key == "flags" then
      made.flags = read_flags(value)
    else
      raise("ERR unknown argument given to redis.register_function")
    end
  end
  if not made.function_name then
    raise("ERR redis.register_function must get a function name argument")
  end
  if not made.callback then
    raise("ERR redis.register_function must get a callback argument")
  end
  return made
end

local function positional_arguments(name, callback)
  if not is_text(name) then
    raise("ERR first argument to redis.register_function must be a string")
  end
  if real_type(callback) ~= "function" then
    raise("ERR second argument to redis.register_function must be a function")
  end
  return { function_name = real_tostring(name), callback = callback, flags = {} }
end

local function register_function(...)
  local count = select("#", ...)
  if count < 1 or count > 2 then
    raise("ERR wrong number of arguments to redis.register_function")
  end
  if not registering then
    raise("ERR redis.register_function can only be called on FUNCTION LOAD command")
  end
  local made = count == 1 and named_arguments(...) or positional_arguments(...)
  if not made.function_name:match("^[%w_]+$") then raise(bad_name) end
  for _, other in ipairs(registering) do
    if other.function_name:lower() == made.function_name:lower() then
      raise("ERR Function already exists in the library")
    end
  end
  registering[#registering + 1] = made
end

local load_redis = { register_function = register_function, log = redis.log }
for _, name in ipairs({ "LOG_DEBUG", "LOG_VERBOSE", "LOG_NOTICE", "LOG_WARNING", "REDIS_VERSION",
  "REDIS_VERSION_NUM" }) do
  load_redis[name] = redis[name]
end
setmetatable(load_redis, { __index = function(_, name)
  real_error("Script attempted to access nonexistent global variable '" .. real_tostring(name) .. "'", 2)
end })
load_globals.redis = face(load_redis)

local callbacks = {}
local compiled = {}
return {
  -- The functions that a library's code registers; or why there are none.
  load_library = function(text)
    if is_compiled(text) then return nil, "Error compiling function: compiled code is not allowed" end
    local chunk, why = real_loadstring(text, "@" .. chunk_name)
    if not chunk then return nil, "Error compiling function: " .. why end
    registering, visible = {}, load_globals
    local done, failure = xpcall(real_setfenv(chunk, env), handler)
    local registered = registering
    registering, visible = nil, globals
    if not done then return nil, "Error registering functions: " .. real_tostring(failure.err) end
    return registered
  end,
  keep_function = function(name, callback) callbacks[name] = callback end,
  call_function = function(name, keys, args)
    return xpcall(function() return callbacks[name](keys, args) end, handler)
  end,
  compile = function(digest, text)
    if is_compiled(text) then return "compiled code is not allowed" end
    local chunk, why = real_loadstring(text, "@" .. chunk_name)
    if not chunk then return why end
    compiled[digest] = real_setfenv(chunk, env)
  end,
  forget = function(digest) compiled[digest] = nil end,
  run = function(digest, keys, args)
    globals.KEYS, globals.ARGV = keys, args
    return xpcall(compiled[digest], handler)
  end,
}
