-- The steps of package store, run inside Redis: the twin of record.go,
-- attempt.go, change.go, reseal.go, factor.go and session.go. Functions have the names that
-- they have there, and the same order; a rule that is changed in one place is
-- changed in both. Package storetest compares the two.
--
-- KEYS and ARGV[1] are those of canary.lua, which comes before this.
-- ARGV[2]  "pay" or "apply"
-- ARGV[3]  the Attempt or Change, as JSON
-- ARGV[4]  the channel that hears of elevations that ended
-- ARGV[5]  the subject, as it is named there
-- Answer:  the Payment or Outcome, and the record after the step, as JSON
--
-- What Lua does differently, and where it matters here:
--  * Numbers are doubles, which cjson writes with 14 digits: enough for
--    milliseconds until the year 5138.
--  * JSON's null is a value of its own, and true in a condition: decode drops it.
--  * An empty array and an empty object are the same: records have objects only.
--  * < on strings follows the server's locale: less compares bytes, as Go does.

local never = math.huge
local maxElevations = 128
local maxSessions = 32
local maxRenewed = 3
local maxMembers = 64
local setupAge = 24 * 60 * 60 * 1000

local function decode(text)
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
  return dropNulls(cjson.decode(text))
end

local function less(a, b)
  for i = 1, math.min(#a, #b) do
    local x, y = string.byte(a, i), string.byte(b, i)
    if x ~= y then
      return x < y
    end
  end
  return #a < #b
end

-- record.go

local Record = {}

-- The types of what a record holds.
local counter = { wrong = 'number', total = 'number', locks = 'number', lockedUntil = 'number', row = 'number' }
local code = { mac = 'string', expires = 'number' }
local factor = {
  type = 'string', name = 'string', secret = 'string', digits = 'number', period = 'number', algorithm = 'string',
  slot = 'string', createdAt = 'number', lastUsedAt = 'number', confirmed = 'boolean', expires = 'number', lastStep = 'number',
}
local elevation = {
  session = 'string', type = 'string', at = 'number', factor = 'string', spent = 'boolean', expires = 'number',
}
local session = {
  handle = 'string', data = 'string', version = 'number', sid = 'string', startedAt = 'number', usedAt = 'number',
  ends = 'number', expires = 'number', renewed = 'boolean',
}
local sections = {
  counters = counter, codes = code, factors = factor, credentials = 'string', elevations = elevation, recovery = 'number',
  sessions = session, members = 'number', sends = 'number',
}

-- check raises an error at what is not as it should be: Lua would not always
-- mind, since even a string can be indexed.
local function check(value, shape)
  if type(shape) == 'string' then
    assert(type(value) == shape, 'wrong type')
    return
  end
  assert(type(value) == 'table', 'wrong type')
  for field, expected in pairs(shape) do
    if value[field] ~= nil then
      check(value[field], expected)
    end
  end
end

function Record.check(r)
  check(r, { key = 'string', lastSend = 'string', revokedAt = 'number', revokedUntil = 'number', factorsAt = 'number' })
  for section, shape in pairs(sections) do
    for _, entry in pairs(r[section] or {}) do
      check(entry, shape)
    end
  end
end

-- Of session.go.
local sessionPrefix = 'browser:'

local function sessionName(hash)
  return sessionPrefix .. hash
end

local function elevationKey(session, otpType)
  return otpType .. ' ' .. session
end

function Record.hasConfirmedFactor(r, otpType)
  for _, f in pairs(r.factors) do
    if f.confirmed and (otpType == '' or f.type == otpType) then
      return true
    end
  end
  return false
end

function Record.factorIn(r, slot)
  for id, f in pairs(r.factors) do
    if (slot or '') ~= '' and f.slot == slot then
      return id, f
    end
  end
  return nil
end

function Record.newest(r, session, types)
  local newest
  for _, t in ipairs(types) do
    local e = r.elevations[elevationKey(session, t)]
    if e and (not newest or e.at > newest.at) then
      newest = e
    end
  end
  return newest
end

function Record.prune(r, now)
  for otpType, c in pairs(r.codes or {}) do
    if c.expires <= now then
      r.codes[otpType] = nil
    end
  end
  for id, f in pairs(r.factors or {}) do
    if (f.expires or 0) ~= 0 and f.expires <= now then
      r.factors[id] = nil
    end
  end
  for key, e in pairs(r.elevations or {}) do
    if e.expires <= now then
      r.elevations[key] = nil
    end
  end
  for id, expires in pairs(r.sends or {}) do
    if expires <= now then
      r.sends[id] = nil
    end
  end
  for key, expires in pairs(r.members or {}) do
    if expires <= now then
      r.members[key] = nil
    end
  end
  for id, s in pairs(r.sessions or {}) do
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
  if next(r.credentials or {}) or next(r.recovery or {}) then
    return never
  end
  local last = r.revokedUntil or 0
  if (r.factorsAt or 0) ~= 0 then
    last = math.max(last, r.factorsAt + setupAge)
  end
  for _, f in pairs(r.factors or {}) do
    if (f.expires or 0) == 0 then
      return never
    end
    last = math.max(last, f.expires)
  end
  for _, c in pairs(r.counters or {}) do
    if (c.total or 0) > 0 then
      return never
    end
    last = math.max(last, c.lockedUntil or 0)
  end
  for _, c in pairs(r.codes or {}) do
    last = math.max(last, c.expires)
  end
  for _, e in pairs(r.elevations or {}) do
    last = math.max(last, e.expires)
  end
  for _, expires in pairs(r.sends or {}) do
    last = math.max(last, expires)
  end
  for _, expires in pairs(r.members or {}) do
    last = math.max(last, expires)
  end
  for _, s in pairs(r.sessions or {}) do
    last = math.max(last, s.expires)
  end
  return last
end

function Record.counter(r, name, now)
  local c = r.counters[name] or { row = now }
  for field in pairs(counter) do
    c[field] = c[field] or 0
  end
  return c
end

function Record.initialize(r)
  for section in pairs(sections) do
    r[section] = r[section] or {}
  end
end

-- attempt.go

local function lockDuration(locks, l)
  local d = l.lock
  for _ = 1, locks do
    if d >= l.maxLock then
      break
    end
    d = d * 2
  end
  return math.min(d, l.maxLock)
end

function Record.pay(r, a)
  Record.prune(r, a.now)
  Record.initialize(r)
  local p = { paid = {}, lockedUntil = 0, locks = false }

  for _, name in ipairs(a.group or {}) do
    local c = r.counters[name]
    p.lockedUntil = math.max(p.lockedUntil, c and c.lockedUntil or 0)
  end
  if p.lockedUntil > a.now then
    return p
  end
  p.lockedUntil = 0

  for _, name in ipairs(a.tries or {}) do
    local c = Record.counter(r, name, a.now)
    if not p.paid[name] and c.total < a.limits.cap then
      if c.lockedUntil ~= 0 then
        c.wrong, c.lockedUntil, c.row = 0, 0, c.row + 1
      end
      c.wrong = c.wrong + 1
      c.total = c.total + 1
      if c.wrong >= a.limits.attempts then
        c.lockedUntil = a.now + lockDuration(c.locks, a.limits)
        c.locks = c.locks + 1
        p.locks = true
      end
      r.counters[name] = c
      p.paid[name] = c.row
    end
  end
  return p
end

function Record.settle(r, s, now)
  for name, row in pairs(s.paid or {}) do
    local c = Record.counter(r, name, now)
    if name == s.right then
      r.counters[name] = { row = c.row + 1 }
    elseif c.row == row and c.wrong ~= 0 then
      c.wrong = c.wrong - 1
      c.total = c.total - 1
      if c.lockedUntil ~= 0 and c.wrong < s.limits.attempts then
        c.lockedUntil = 0
        c.locks = c.locks - 1
      end
      r.counters[name] = c
    end
  end
end

-- change.go

function Record.apply(r, c)
  Record.prune(r, c.now)
  Record.initialize(r)
  local o = {}
  o.refused = Record.judge(r, c)
  if o.refused then
    return o
  end

  if c.spend then
    Record.spend(r, c.spend, c.now)
  end
  if c.spendElevation then
    local e = r.elevations[Record.unspent(r, c.spendElevation)]
    e.spent = true
    o.spent = e
  end
  if c.settle then
    Record.settle(r, c.settle, c.now)
  end
  if Record.changesFactors(r, c) then
    r.factorsAt = math.max(c.now, (r.factorsAt or 0) + 1)
  end
  local proof = Record.proving(r)
  if c.confirmFactor then
    Record.confirm(r, c.confirmFactor, c.factorName)
  end
  if c.addFactor then
    o.replaced = Record.addFactor(r, c.addFactor)
  end
  local recoveryEnded = Record.proving(r) ~= proof and Record.voidRecovery(r)
  local sessionsEnded = Record.changeSessions(r, c)
  if c.addMember then
    Record.addMember(r, c.addMember)
  end
  if c.elevate and (not o.replaced or c.elevate.factor ~= o.replaced) then
    Record.elevate(r, c.elevate)
  end
  if c.send then
    r.sends[c.send.id], r.lastSend = c.send.expires, c.send.id
  end
  r.codes[c.voidCode or ''] = nil
  if c.putCode then
    r.codes[c.putCode.type] = { mac = c.putCode.mac, expires = c.putCode.expires }
  end
  if c.removeFactor then
    Record.removeFactor(r, c.removeFactor.id)
  end
  if c.setCredential then
    r.credentials[c.setCredential.kind] = c.setCredential.hash or ''
  end
  if c.reseal then
    Record.reseal(r, c.reseal)
  end
  if next(c.setRecovery or {}) then
    r.recovery = c.setRecovery
  end
  if c.unlock or c.reset then
    for name, old in pairs(r.counters) do
      r.counters[name] = { row = (old.row or 0) + 1 }
    end
  end
  if c.revoke then
    r.sessions = {}
    r.elevations = {}
    Record.dropPending(r)
    r.revokedAt, r.revokedUntil = c.now, c.revoke
  end
  if c.reset then
    r.factors = {}
    r.sessions = {}
    r.elevations = {}
    r.codes = {}
    r.recovery = {}
    r.lastSend = nil
  end
  if c.unlock or c.reset then
    r.sends = {}
  end
  o.ended = recoveryEnded or sessionsEnded or c.removeFactor ~= nil or o.replaced ~= nil or c.revoke ~= nil or c.reset or false
  return o
end

function Record.judge(r, c)
  if c.firstFactor and (Record.hasConfirmedFactor(r, '') or c.firstFactor <= (r.revokedAt or 0)) then
    return 'enrolment'
  end
  if c.enrolment and not Record.mayEnrol(r, c.enrolment) then
    return 'enrolment'
  end
  if next(c.setRecovery or {}) and Record.proving(r) == '' then
    return 'enrolment'
  end
  if c.unchanged and not Record.unchanged(r, c.unchanged) then
    return 'outdated'
  end
  if c.putCode and (c.putCode.send or '') ~= '' and c.putCode.send ~= r.lastSend then
    return 'outdated'
  end
  if c.removeFactor then
    local f = r.factors[c.removeFactor.id]
    if not f or f.type ~= c.removeFactor.type then
      return 'not-found'
    end
  end
  if c.addFactor then
    if r.factors[c.addFactor.id] then
      return 'id-in-use'
    end
    local _, f = Record.factorIn(r, c.addFactor.slot)
    if f and f.confirmed then
      return 'occupied'
    end
  end
  if c.confirmFactor then
    local f = r.factors[c.confirmFactor]
    if not f then
      return 'not-found'
    elseif f.confirmed then
      return 'occupied'
    end
  end
  if (c.mostFactors or 0) > 0 then
    if c.addFactor and Record.confirmed(r, c.addFactor.type) >= c.mostFactors then
      return 'limit'
    end
    if c.confirmFactor and Record.confirmed(r, r.factors[c.confirmFactor].type) >= c.mostFactors then
      return 'limit'
    end
  end
  if c.send then
    local sent = 0
    for _ in pairs(r.sends) do
      sent = sent + 1
    end
    if sent >= c.send.most then
      return 'sends'
    end
  end
  if c.useSession and not Record.mayUseSession(r, c.useSession) then
    return 'session'
  end
  if c.renewSession and not Record.mayRenew(r, c.renewSession) then
    return 'session'
  end
  if c.elevate and not Record.mayElevate(r, c.elevate, c.renewSession) then
    return 'session'
  end
  if c.startSession and (c.startSession.startedAt or 0) < (r.revokedAt or 0) then
    return 'session'
  end
  if c.elevate and c.elevate.at < (r.revokedAt or 0) then
    return 'spent'
  end
  if c.spend and not Record.spendable(r, c.spend) then
    return 'spent'
  end
  if c.spendElevation and not Record.unspent(r, c.spendElevation) then
    return 'no-elevation'
  end
  return nil
end

function Record.spendable(r, s)
  if s.factor then
    local f = r.factors[s.factor]
    return f and (s.step or 0) > (f.lastStep or 0)
  end
  if s.recovery then
    return r.recovery[s.recovery] ~= nil
  end
  local c = r.codes[s.type or '']
  return c and (c.mac or '') == (s.mac or '')
end

function Record.spend(r, s, now)
  if s.factor then
    local f = r.factors[s.factor]
    f.lastStep, f.lastUsedAt = s.step, now
    return
  end
  if s.recovery then
    r.recovery[s.recovery] = nil
    return
  end
  r.codes[s.type or ''] = nil
end

function Record.unspent(r, s)
  local newest
  for t in pairs(s.types or {}) do
    local key = elevationKey(s.session, t)
    local e = r.elevations[key]
    if e and not e.spent and e.at >= s.notBefore then
      local n = r.elevations[newest or '']
      if not newest or e.at > n.at or (e.at == n.at and less(key, newest)) then
        newest = key
      end
    end
  end
  return newest
end

function Record.elevate(r, e)
  local key = elevationKey(e.session, e.type)
  local count, oldest = 0, nil
  for k, o in pairs(r.elevations) do
    count = count + 1
    local n = r.elevations[oldest or '']
    if not oldest or o.at < n.at or (o.at == n.at and less(k, oldest)) then
      oldest = k
    end
  end
  if not r.elevations[key] and count >= maxElevations then
    r.elevations[oldest] = nil
  end
  r.elevations[key] = e
end

-- reseal.go

function Record.reseal(r, c)
  for id, value in pairs(c.factors or {}) do
    local f = r.factors[id]
    if f and (f.secret or '') == (value.from or '') then
      f.secret = value.to
    end
  end
  for kind, value in pairs(c.credentials or {}) do
    if r.credentials[kind] == (value.from or '') then
      r.credentials[kind] = value.to or ''
    end
  end
  for id, value in pairs(c.sessions or {}) do
    local s = r.sessions[id]
    if s and (s.data or '') == (value.from or '') then
      s.data = value.to
    end
  end
end

-- factor.go

function Record.unchanged(r, u)
  return (r.revokedAt or 0) < u.since and (r.factorsAt or 0) < u.since
end

function Record.changesFactors(r, c)
  local removed = c.removeFactor and r.factors[c.removeFactor.id]
  return c.confirmFactor or (c.addFactor and c.addFactor.confirmed) or (removed and removed.confirmed) or c.reset
end

function Record.mayEnrol(r, rule)
  local proof = Record.proving(r)
  if proof == '' then
    return (rule.signedIn or 0) > (r.revokedAt or 0)
  end
  local e = Record.newest(r, rule.session, { proof, 'recovery' })
  return e and e.at >= rule.notBefore
end

function Record.proving(r)
  for _, factor in ipairs({ 'totp', 'device-totp' }) do
    if Record.hasConfirmedFactor(r, factor) then
      return factor
    end
  end
  return ''
end

function Record.confirm(r, id, name)
  local f = r.factors[id]
  f.confirmed, f.expires = true, nil
  f.name = name or f.name
  Record.dropPending(r)
end

function Record.addFactor(r, f)
  local id, most, replaced = f.id, f.most or 0, nil
  f.id, f.most = nil, nil
  if f.confirmed then
    replaced = Record.makeRoom(r, f.type, most)
  end
  local occupant = Record.factorIn(r, f.slot)
  if occupant then
    r.factors[occupant] = nil
  end
  r.factors[id] = f
  if f.confirmed then
    Record.dropPending(r)
  end
  return replaced
end

function Record.voidRecovery(r)
  local ended = false
  r.recovery = {}
  for key, e in pairs(r.elevations) do
    if e.type == 'recovery' then
      r.elevations[key] = nil
      ended = true
    end
  end
  return ended
end

function Record.dropPending(r)
  for id, f in pairs(r.factors) do
    if not f.confirmed then
      r.factors[id] = nil
    end
  end
end

function Record.confirmed(r, factorType)
  local count = 0
  for _, f in pairs(r.factors) do
    if f.confirmed and f.type == factorType then
      count = count + 1
    end
  end
  return count
end

function Record.makeRoom(r, factorType, most)
  if most == 0 then
    return nil
  end
  local count, removed = 0, nil
  for id, f in pairs(r.factors) do
    if f.type == factorType and f.confirmed then
      count = count + 1
      local used = Record.usedAt(f)
      local n = removed and Record.usedAt(r.factors[removed])
      if not removed or used < n or (used == n and less(id, removed)) then
        removed = id
      end
    end
  end
  if not removed or count < most then
    return nil
  end
  Record.removeFactor(r, removed)
  return removed
end

function Record.usedAt(f)
  return math.max(f.lastUsedAt or 0, f.createdAt or 0)
end

function Record.removeFactor(r, id)
  r.factors[id] = nil
  for key, e in pairs(r.elevations) do
    if e.factor == id then
      r.elevations[key] = nil
    end
  end
end

-- session.go

function Record.isCurrent(r, id)
  local s = r.sessions[id]
  return s and not s.renewed
end

function Record.mayUseSession(r, u)
  if not u.data then
    return Record.isCurrent(r, u.id)
  end
  local s = r.sessions[u.id]
  return s and (s.version or 0) == (u.version or 0)
end

function Record.mayRenew(r, n)
  if r.sessions[n.to] then
    return false
  end
  if not n.from then
    return n.start
  end
  return Record.isCurrent(r, n.from)
end

function Record.mayElevate(r, e, n)
  if string.sub(e.session, 1, #sessionPrefix) ~= sessionPrefix then
    return true
  end
  local id = string.sub(e.session, #sessionPrefix + 1)
  if n then
    return id == n.to
  end
  return Record.isCurrent(r, id)
end

function Record.changeSessions(r, c)
  local ended = false
  if c.useSession then
    Record.useSession(r, c.useSession, c.now)
  end
  if c.renewSession then
    ended = Record.renewSession(r, c.renewSession)
  end
  if c.endSessions then
    ended = Record.endSessions(r, c.endSessions) or ended
  end
  if c.startSession then
    local s, id, replaces = c.startSession, c.startSession.id, c.startSession.replaces
    s.id, s.replaces = nil, nil
    ended = Record.dropSession(r, replaces or '') or ended
    ended = Record.startSession(r, id, s) or ended
  end
  return ended
end

function Record.useSession(r, u, now)
  local handle = r.sessions[u.id].handle
  for _, s in pairs(r.sessions) do
    if s.handle == handle then
      if not s.renewed then
        s.usedAt, s.expires = now, math.min(u.expires, s.ends)
      end
      if u.data then
        s.data, s.version = u.data, (s.version or 0) + 1
      end
    end
  end
end

function Record.renewSession(r, n)
  if not n.from then
    return Record.startSession(r, n.to, n.start)
  end
  local from, to = r.sessions[n.from], {}
  for field, value in pairs(from) do
    to[field] = value
  end
  r.sessions[n.to] = to
  from.renewed, from.expires = true, math.min(from.expires, n['until'] or 0)

  local moved = {}
  for key, e in pairs(r.elevations) do
    if e.session == sessionName(n.from) then
      r.elevations[key] = nil
      moved[#moved + 1] = e
    end
  end
  for _, old in ipairs(moved) do
    local e = {} -- the old one may be in the answer
    for field, value in pairs(old) do
      e[field] = value
    end
    e.session = sessionName(n.to)
    r.elevations[elevationKey(e.session, e.type)] = e
  end
  Record.dropRenewed(r, from.handle)
  return true
end

function Record.dropRenewed(r, handle)
  local ids = {}
  for id, s in pairs(r.sessions) do
    if s.handle == handle and s.renewed then
      ids[#ids + 1] = id
    end
  end
  table.sort(ids, function(a, b)
    local x, y = r.sessions[a].expires, r.sessions[b].expires
    return x > y or (x == y and less(b, a))
  end)
  for i = maxRenewed + 1, #ids do
    r.sessions[ids[i]] = nil
    Record.dropElevations(r, sessionName(ids[i]))
  end
end

function Record.endSessions(r, over)
  local ended = false
  for id, s in pairs(r.sessions) do
    if Record.names(over, id, s) and Record.reaches(over, s.startedAt) then
      ended = Record.dropSession(r, id) or ended
    end
  end
  for key, e in pairs(r.elevations) do
    if (over.all or (over.name and e.session == over.name)) and Record.reaches(over, e.at) then
      r.elevations[key] = nil
      ended = true
    end
  end
  return ended
end

function Record.names(over, id, s)
  return over.all or (over.id and id == over.id) or (over.sid and s.sid == over.sid)
end

function Record.reaches(over, at)
  return (over.before or 0) == 0 or at <= over.before
end

function Record.startSession(r, id, s)
  local ended = Record.dropSession(r, id)
  local count, unused = 0, nil
  for k, o in pairs(r.sessions) do
    if not o.renewed then
      count = count + 1
      local n = r.sessions[unused or '']
      if not unused or o.usedAt < n.usedAt or (o.usedAt == n.usedAt and less(k, unused)) then
        unused = k
      end
    end
  end
  if count >= maxSessions then
    ended = Record.dropSession(r, unused) or ended
  end
  s.expires = math.min(s.expires, s.ends)
  r.sessions[id] = s
  return ended
end

function Record.dropSession(r, id)
  local s = r.sessions[id]
  if not s then
    return false
  end
  for other, o in pairs(r.sessions) do
    if other == id or o.handle == s.handle then
      r.sessions[other] = nil
      Record.dropElevations(r, sessionName(other))
    end
  end
  return true
end

function Record.dropElevations(r, name)
  for key, e in pairs(r.elevations or {}) do
    if e.session == name then
      r.elevations[key] = nil
    end
  end
end

function Record.addMember(r, m)
  local count, first = 0, nil
  for k, expires in pairs(r.members) do
    count = count + 1
    local n = r.members[first or '']
    if not first or expires < n or (expires == n and less(k, first)) then
      first = k
    end
  end
  if not r.members[m.key] and count >= maxMembers then
    r.members[first] = nil
  end
  r.members[m.key] = math.max(r.members[m.key] or 0, m.expires)
end

-- The step itself: read, change, write.

local steps = { pay = Record.pay, apply = Record.apply }
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
  return r, steps[ARGV[2]](r, step)
end)
if not readable then
  return redis.error_reply('CORRUPT ' .. tostring(record))
end

record.key = KEYS[1]
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
