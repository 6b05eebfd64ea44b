-- What every script on a record begins with: is the store still the one that the
-- record's key was computed from? It goes by the canary's fingerprint, which lies in
-- the record's own slot of a cluster.
--
-- KEYS[1]  the record's key
-- KEYS[2]  the key of the fingerprint
-- ARGV[1]  the fingerprint that is expected

local fingerprint = redis.pcall('GET', KEYS[2])
if type(fingerprint) == 'table' then
  return redis.error_reply('UNREADABLE fingerprint: ' .. fingerprint.err)
elseif not fingerprint then
  return redis.error_reply('NOCANARY')
elseif fingerprint ~= ARGV[1] then
  return redis.error_reply('OTHERCANARY')
end
