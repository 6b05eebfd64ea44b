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
  r.counters = r.counters or {}
  local p = { paid = {} }

  local lockedUntil = 0
  for _, name in ipairs(a.group or none) do
    local c = r.counters[name]
    lockedUntil = math.max(lockedUntil, c and c.lockedUntil or 0)
  end
  if lockedUntil > a.now then
    p.lockedUntil = lockedUntil
    return p
  end

  for _, name in ipairs(a.tries or none) do
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
  for name, row in pairs(s.paid or none) do
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
