-- session.go

local maxSessions = 32
local maxRenewed = 3
local maxMembers = 64

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
