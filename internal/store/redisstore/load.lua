-- Answer: the record, as JSON; nothing if there is none.
return redis.pcall('GET', KEYS[1])
