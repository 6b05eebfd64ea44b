-- What every script on a record begins with: is the store still the one that the
-- record's key was computed from? It goes by the canary's copy, which lies in the
-- record's own slot of a cluster.
--
-- KEYS[1]  the record's key
-- KEYS[2]  the key of the canary's copy
-- ARGV[1]  the fingerprint that it is to have

local canary = redis.pcall('HGET', KEYS[2], 'fingerprint')
if type(canary) == 'table' then
  return redis.error_reply('UNREADABLE canary: ' .. canary.err)
elseif not canary then
  return redis.error_reply('NOCANARY')
elseif canary ~= ARGV[1] then
  return redis.error_reply('OTHERCANARY')
end
