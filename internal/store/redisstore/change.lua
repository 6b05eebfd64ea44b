-- change.go

local maxElevations = 128

local function less(a, b)
  for i = 1, math.min(#a, #b) do
    local x, y = string.byte(a, i), string.byte(b, i)
    if x ~= y then
      return x < y
    end
  end
  return #a < #b
end

local function elevationKey(session, otpType)
  return otpType .. ' ' .. session
end

-- Of record.go, where changes alone need it.

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

function Record.initialize(r)
  for section in pairs(sections) do
    r[section] = r[section] or {}
  end
end

-- compact undoes what is left of initialize: what is empty need not be written.
function Record.compact(r)
  for section in pairs(sections) do
    if r[section] and not next(r[section]) then
      r[section] = nil
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
