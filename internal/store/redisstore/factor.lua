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
