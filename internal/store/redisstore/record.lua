-- The steps of package store, run inside Redis: record.lua, attempt.lua, change.lua,
-- reseal.lua, factor.lua and session.lua are the twins of the files in Go of those
-- names, and functions have the names that they have there. Some that several steps need
-- stand here. A rule that is changed in one place is changed in both; package storetest
-- compares the two.
--
-- Redis defines every function anew with each call, so that a script has only those
-- that it needs.
--
-- What Lua does differently, and where it matters here:
--  * Numbers are doubles, which cjson writes with 14 digits: enough for
--    milliseconds until the year 5138.
--  * JSON's null is a value of its own, and true in a condition: decode drops it.
--  * A string has any bytes: what is no UTF-8 is refused by Go alone, when the step was
--    made.
--  * An empty array and an empty object are the same: records have objects only.
--  * < on strings follows the server's locale: less compares bytes, as Go does.

local never = math.huge
local none = {}
local setupAge = 24 * 60 * 60 * 1000

local function dropNulls(t)
  for key, value in pairs(t) do
    if value == cjson.null then
      t[key] = nil
    elseif type(value) == 'table' then
      dropNulls(value)
    end
  end
  return t
end

local function decode(text)
  local value = cjson.decode(text)
  if string.find(text, 'null', 1, true) then
    dropNulls(value)
  end
  return value
end

local Record = {}

-- The sections of a record, and what an entry of each is.
local sections = {
  counters = 'table', codes = 'table', factors = 'table', credentials = 'string', elevations = 'table', recovery = 'number',
  sessions = 'table', members = 'number', sends = 'number',
}

-- The types of what else there is in a record, and in the entries that are tables.
local fields = {
  key = 'string', lastSend = 'string', revokedAt = 'number', revokedUntil = 'number', factorsAt = 'number',
  wrong = 'number', total = 'number', locks = 'number', lockedUntil = 'number', row = 'number',
  mac = 'string', expires = 'number',
  type = 'string', name = 'string', secret = 'string', digits = 'number', period = 'number', algorithm = 'string',
  slot = 'string', createdAt = 'number', lastUsedAt = 'number', confirmed = 'boolean', lastStep = 'number',
  session = 'string', at = 'number', factor = 'string', spent = 'boolean',
  handle = 'string', data = 'string', version = 'number', sid = 'string', startedAt = 'number', usedAt = 'number',
  ends = 'number', renewed = 'boolean',
}

local function checkFields(entry)
  for field, value in pairs(entry) do
    local expected = fields[field]
    if expected and type(value) ~= expected then
      error('wrong type')
    end
  end
end

-- check raises an error at what is not as it should be: Lua would not always
-- mind, since even a string can be indexed.
function Record.check(r)
  checkFields(r)
  for section, entries in pairs(r) do
    local expected = sections[section]
    for _, entry in pairs(expected and entries or none) do
      if type(entry) ~= expected then
        error('wrong type')
      elseif expected == 'table' then
        checkFields(entry)
      end
    end
  end
end

-- Of session.go.

local sessionPrefix = 'browser:'

local function sessionName(hash)
  return sessionPrefix .. hash
end

function Record.dropElevations(r, name)
  for key, e in pairs(r.elevations or none) do
    if e.session == name then
      r.elevations[key] = nil
    end
  end
end

-- record.go

function Record.prune(r, now)
  for otpType, c in pairs(r.codes or none) do
    if c.expires <= now then
      r.codes[otpType] = nil
    end
  end
  for id, f in pairs(r.factors or none) do
    if (f.expires or 0) ~= 0 and f.expires <= now then
      r.factors[id] = nil
    end
  end
  for key, e in pairs(r.elevations or none) do
    if e.expires <= now then
      r.elevations[key] = nil
    end
  end
  for id, expires in pairs(r.sends or none) do
    if expires <= now then
      r.sends[id] = nil
    end
  end
  for key, expires in pairs(r.members or none) do
    if expires <= now then
      r.members[key] = nil
    end
  end
  for id, s in pairs(r.sessions or none) do
    if s.expires <= now then
      r.sessions[id] = nil
      Record.dropElevations(r, sessionName(id))
    end
  end
  if (r.revokedUntil or 0) <= now then
    r.revokedAt, r.revokedUntil = nil, nil
  end
  if (r.factorsAt or 0) + setupAge <= now then
    r.factorsAt = nil
  end
  if Record.expires(r) <= now then
    for field in pairs(r) do
      r[field] = nil
    end
  end
end

function Record.expires(r)
  if next(r.credentials or none) or next(r.recovery or none) then
    return never
  end
  local last = r.revokedUntil or 0
  if (r.factorsAt or 0) ~= 0 then
    last = math.max(last, r.factorsAt + setupAge)
  end
  for _, f in pairs(r.factors or none) do
    if (f.expires or 0) == 0 then
      return never
    end
    last = math.max(last, f.expires)
  end
  for _, c in pairs(r.counters or none) do
    if (c.total or 0) > 0 then
      return never
    end
    last = math.max(last, c.lockedUntil or 0)
  end
  for _, c in pairs(r.codes or none) do
    last = math.max(last, c.expires)
  end
  for _, e in pairs(r.elevations or none) do
    last = math.max(last, e.expires)
  end
  for _, expires in pairs(r.sends or none) do
    last = math.max(last, expires)
  end
  for _, expires in pairs(r.members or none) do
    last = math.max(last, expires)
  end
  for _, s in pairs(r.sessions or none) do
    last = math.max(last, s.expires)
  end
  return last
end

-- A counter has zeros where nothing is stored.
local zeros = { __index = { wrong = 0, total = 0, locks = 0, lockedUntil = 0, row = 0 } }

function Record.counter(r, name, now)
  return setmetatable(r.counters[name] or { row = now }, zeros)
end
