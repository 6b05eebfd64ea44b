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
