/** One rule in ARGV[3]: `<Bddd`. */
export const RULE_BYTES = 25;
/** One ask in ARGV[4]: `<I2I2I4B`. */
export const ASK_BYTES = 9;
/** Bits of an ask's last byte. */
export const SHADOW = 1;
export const LAST_OF_CALL = 2;

/**
 * Everything the Redis store asks of the server, in one script: the algorithms of ../algorithms, the same line by line,
 * for the calls of one tick.
 *
 * KEYS     the buckets of all asks, each key once; all in one hash slot
 * ARGV[1]  the time in microseconds; 0: the server's own
 * ARGV[2]  `decide`, `peek`, `refund`, or `probe` (writes KEYS[1] for a second: the server takes writes)
 * ARGV[3]  the policies' rules, RULE_BYTES each: kind (0 token bucket, 1 sliding window), capacity, unit or window, grain
 * ARGV[4]  the asks, ASK_BYTES each: number of its key and of its rule (from 1), cost, SHADOW and LAST_OF_CALL
 * ARGV[5]  for `refund`: how long ago the units were taken, in microseconds
 *
 * Result: for each ask three integers, in microseconds where they are times: the wait until it fits (0: it fits, -1:
 * never), what remains, the time until the bucket is full (or, when nothing remains, until it holds a unit).
 *
 * A token bucket is kept as its theoretical arrival time (a double); a sliding window as its sum (u32) and its entries
 * (time as double, count as u32). Every key expires when its bucket has surely recovered.
 *
 * What is dear here is each command, each number that becomes text, and each table: so one MGET, times in binary, one
 * text for a rule's expiry, and arrays that all calls share.
 */
export const limitScript = `
local now = tonumber(ARGV[1])
local own = now == 0
if own then
  local time = redis.call('TIME')
  now = tonumber(time[1]) * 1000000 + tonumber(time[2])
end
local task = ARGV[2]
if task == 'probe' then
  redis.call('SET', KEYS[1], '', 'PX', 1000)
  return {}
end

-- \`unpack\` puts all of its results on a stack that holds 8000.
local values = {}
for first = 1, #KEYS, 1000 do
  local last = math.min(first + 999, #KEYS)
  for index, value in ipairs(redis.call('MGET', unpack(KEYS, first, last))) do
    values[first + index - 1] = value
  end
end
local unpack, pack, sub, floor, ceil = struct.unpack, struct.pack, string.sub, math.floor, math.ceil

local rules = {}
for at = 1, #ARGV[3], ${RULE_BYTES} do
  local kind, capacity, span, grain = unpack('<Bddd', ARGV[3], at)
  local isBucket = kind == 0
  -- A clock that is not the server's may stand still, so it cannot say when a key is stale.
  local recovery = own and ceil((isBucket and capacity * span or span) / 1000) or 3600000
  rules[#rules + 1] = {
    isBucket = isBucket, capacity = capacity, span = span, grain = grain, expiry = string.format('%.0f', recovery),
  }
end

local states = {}
local function load(key, rule)
  local value, state = values[key]
  if rule.isBucket then
    state = { rule = rule, tat = value and unpack('<d', value) or 0 }
  elseif value then
    state = { rule = rule, sum = unpack('<I4', value), entries = value, head = 5 }
  else
    state = { rule = rule, sum = 0, entries = '0000', head = 5 }
  end
  states[key] = state
  return state
end

local function debt(rule, state)
  local ahead = state.tat - now
  if ahead <= 0 then return 0 end
  local whole = rule.capacity * rule.span
  return ahead < whole and ahead or whole
end

local function leaveBehind(rule, state)
  local entries, head = state.entries, state.head
  local length = #entries
  if head > length then return end
  if unpack('<d', entries, length - 11) > now then
    entries = '0000' .. pack('<dI4', now, state.sum)
    state.entries, state.head = entries, 5
    return
  end
  local start = now - rule.span
  while head <= length do
    local time, count = unpack('<dI4', entries, head)
    if time > start then break end
    state.sum = state.sum - count
    head = head + 12
  end
  state.head = head
end

local function wait(rule, state, cost)
  if rule.isBucket then
    if cost > rule.capacity then return -1 end
    local time = debt(rule, state) + cost * rule.span - rule.capacity * rule.span
    return time > 0 and time or 0
  end
  leaveBehind(rule, state)
  local excess = state.sum + cost - rule.capacity
  if excess <= 0 then return 0 end
  if cost > rule.capacity then return -1 end
  local at = state.head
  while true do
    local time, count = unpack('<dI4', state.entries, at)
    excess = excess - count
    if excess <= 0 then return time + rule.span - now end
    at = at + 12
  end
end

local function take(rule, state, cost)
  state.changed = true
  if rule.isBucket then
    state.tat = now + debt(rule, state) + cost * rule.span
    return
  end
  local entries, last = state.entries, #state.entries - 11
  if last >= state.head then
    local time, count = unpack('<dI4', entries, last)
    if floor(time / rule.grain) == floor(now / rule.grain) then
      entries, cost = sub(entries, 1, last - 1), cost + count
      state.sum = state.sum - count
    end
  end
  state.entries = entries .. pack('<dI4', now, cost)
  state.sum = state.sum + cost
end

local ago = tonumber(ARGV[5])
local function give(rule, state, cost)
  if rule.isBucket then
    local left = cost * rule.span - ago
    if left <= 0 then return end
    state.changed = true
    state.tat = state.tat - left
    return
  end
  if ago >= rule.span then return end
  state.changed = true
  leaveBehind(rule, state)
  local left = math.min(cost, state.sum)
  state.sum = state.sum - left
  while left > 0 do
    local time, count = unpack('<dI4', state.entries, state.head)
    if count > left then
      state.entries = '0000' .. pack('<dI4', time, count - left) .. sub(state.entries, state.head + 12)
      state.head = 5
      return
    end
    left = left - count
    state.head = state.head + 12
  end
end

local function remaining(rule, state)
  if rule.isBucket then return rule.capacity - ceil(debt(rule, state) / rule.span) end
  leaveBehind(rule, state)
  return state.sum < rule.capacity and rule.capacity - state.sum or 0
end

local function reset(rule, state)
  if rule.isBucket then return debt(rule, state) end
  if state.sum == 0 then return 0 end
  return unpack('<d', state.entries, #state.entries - 11) + rule.span - now
end

local result, size = {}, 0
local called, waits, costs, count, allowed = {}, {}, {}, 0, true
local asks = ARGV[4]
for at = 1, #asks, ${ASK_BYTES} do
  local key, rule, cost, flags = unpack('<I2I2I4B', asks, at)
  rule = rules[rule]
  local state = states[key] or load(key, rule)
  if task == 'refund' then
    give(rule, state, cost)
  else
    count = count + 1
    local time = wait(rule, state, cost)
    called[count], waits[count], costs[count] = state, time, cost
    if time ~= 0 and flags % ${LAST_OF_CALL} == 0 then allowed = false end
  end
  if flags >= ${LAST_OF_CALL} then
    allowed = allowed and task == 'decide'
    for index = 1, count do
      state, rule = called[index], called[index].rule
      if allowed and waits[index] == 0 then take(rule, state, costs[index]) end
      local left = remaining(rule, state)
      result[size + 1], result[size + 2] = waits[index], left
      size = size + 3
      result[size] = left == 0 and wait(rule, state, 1) or reset(rule, state)
    end
    count, allowed = 0, true
  end
end

for index, state in pairs(states) do
  if state.changed then
    local value
    if state.rule.isBucket then
      value = state.tat > now and pack('<d', state.tat)
    else
      leaveBehind(state.rule, state)
      value = state.sum > 0 and pack('<I4', state.sum) .. sub(state.entries, state.head)
    end
    if value then
      redis.call('SET', KEYS[index], value, 'PX', state.rule.expiry)
    else
      redis.call('DEL', KEYS[index])
    end
  end
end
return result
`;
