-- Only where plain commands (load.go) found no record of this store.
--
-- Answer: the record's key, so that it is not taken for the answer to another
-- question, and the record, as JSON; nothing if there is none.
local record = redis.pcall('GET', KEYS[1])
if type(record) == 'table' then
  return record -- an error
end
return { KEYS[1], record }
