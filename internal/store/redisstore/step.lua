-- The step itself: read, change, write.
--
-- KEYS and ARGV[1] are those of canary.lua.
-- ARGV[2]  "pay" or "apply"
-- ARGV[3]  the Attempt or Change, as JSON
-- ARGV[4]  the channel that hears of elevations that ended
-- ARGV[5]  the subject, as it is named there
-- Answer:  the Payment or Outcome, and the record after the step, as JSON

local step = decode(ARGV[3])

local text = redis.pcall('GET', KEYS[1])
if type(text) == 'table' then
  return text -- an error
end

-- A record that lacks something stops the step there. Nothing is written then.
local readable, record, answer = pcall(function()
  local r = text and decode(text) or { key = KEYS[1] }
  assert(r.key == KEYS[1], 'record of another key')
  Record.check(r)
  return r, Record[ARGV[2]](r, step)
end)
if not readable then
  return redis.error_reply('CORRUPT ' .. tostring(record))
end

record.key = KEYS[1]
if Record.compact then
  Record.compact(record)
end
local expires = Record.expires(record)
local written = cjson.encode(record)
if expires == never then
  redis.call('SET', KEYS[1], written)
elseif expires > step.now then
  -- Counted from the clock that made the record: the server's may be off.
  redis.call('SET', KEYS[1], written, 'PX', string.format('%.0f', expires - step.now))
else
  redis.call('DEL', KEYS[1])
end
if answer.ended then
  -- A user who may not publish may not subscribe either, and caches nothing.
  redis.pcall('PUBLISH', ARGV[4], ARGV[5])
end
return { cjson.encode(answer), written }
