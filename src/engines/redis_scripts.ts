/**
 * What happens inside Redis, each of it in one step that nothing comes between.
 *
 * A queue is a stream with one consumer group, and beside it
 * - `due`, a sorted set: for each entry that is lent or came back, when anybody
 *   may have it, on the clock of the server. That time is also what a lease is
 *   known by: who names another one has lost it.
 * - `bell` and `room`, lists of at most one element: whoever waits for an entry, or
 *   for room, waits to pop it, and so wakes alone and in order of arrival.
 * - `wanted`: somebody waits for room; holds the length at which to ring.
 * - `put:…` for each producer: the number of the last item taken over from it.
 *   Numbers ascend, so one that is not above it is a repetition.
 * - `dead`, a stream.
 *
 * @module
 */

/** A script and, once Redis has it, its digest. */
export interface Script {
  readonly text: string;
  digest: string | undefined;
}

/** Items up to so many bytes, with their keys, travel in a row: clients take long over many short strings, Lua over long ones. */
export const LARGE = 1_024;

const NOW = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
`;

const RING = `
local function ring(list)
  if redis.call('LLEN', list) == 0 then redis.call('RPUSH', list, 1) end
end
`;

/** Entries that are done leave; whoever waits for room hears of it. */
const FINISH = `
local function finish(stream, group, due, wanted, room, ids)
  if #ids == 0 then return end
  redis.call('XACK', stream, group, unpack(ids))
  redis.call('XDEL', stream, unpack(ids))
  redis.call('ZREM', due, unpack(ids))
  local level = redis.call('GET', wanted)
  if level and redis.call('XLEN', stream) <= tonumber(level) then
    redis.call('DEL', wanted)
    ring(room)
  end
end
`;

/** Rings. KEYS: list. */
export const RING_SCRIPT: string = `${RING} ring(KEYS[1])`;

/**
 * Makes the group. Where it was lost, so is what was lent; where entries that are
 * lent are missing among the due, others have been at work, and they are added.
 * KEYS: stream, due. ARGV: group, milliseconds that a stray one stays lent.
 */
export const OPEN_SCRIPT: string = `${NOW}
local stream, due, group = KEYS[1], KEYS[2], ARGV[1]
local made = redis.pcall('XGROUP', 'CREATE', stream, group, '0', 'MKSTREAM')
if not made.err then return redis.call('DEL', due) end
if not string.find(made.err, 'BUSYGROUP') then return made end
if redis.call('XPENDING', stream, group)[1] == redis.call('ZCARD', due) then
  return 0
end
local from = '-'
repeat
  local page = redis.call('XPENDING', stream, group, from, '+', 100)
  for _, entry in ipairs(page) do
    redis.call('ZADD', due, 'NX', now + ARGV[2], entry[1])
    from = '(' .. entry[1]
  end
until #page < 100
return 1
`;

/**
 * Takes items over, as far as there is room.
 * KEYS: stream, bell, put, wanted, room. ARGV: capacity (-1: none), milliseconds
 * that the number is kept for, JSON of number, bytes and bytes of the key (-1:
 * none) of each, the bytes of the small ones and their keys in a row, and then those
 * of each large one and its key. Returns how many are there now.
 */
export const PUT_SCRIPT: string = `${RING}
local stream, bell, put, wanted, room = unpack(KEYS)
local capacity, sizes, bytes = tonumber(ARGV[1]), cjson.decode(ARGV[3]), ARGV[4]
local last = tonumber(redis.call('GET', put) or 0)
local free = math.huge
if capacity >= 0 then free = capacity - redis.call('XLEN', stream) end
local at, large, taken, added = 1, 5, 0, 0
for i = 1, #sizes, 3 do
  local number, size, keySize = sizes[i], sizes[i + 1], sizes[i + 2]
  local whole = size + math.max(keySize, 0)
  local isNew = number > last
  if isNew and free <= 0 then break end
  local part, first = bytes, at
  if whole > ${LARGE} then
    part, first, large = ARGV[large], 1, large + 1
  else
    at = at + whole
  end
  if isNew then
    local payload = part
    if part == bytes or keySize >= 0 then
      payload = string.sub(part, first, first + size - 1)
    end
    if keySize < 0 then
      redis.call('XADD', stream, '*', 'p', payload)
    else
      local key = string.sub(part, first + size, first + whole - 1)
      redis.call('XADD', stream, '*', 'p', payload, 'k', key)
    end
    last = number
    added = added + 1
    free = free - 1
  end
  taken = taken + 1
end
if added > 0 then
  redis.call('SET', put, string.format('%.0f', last), 'PX', ARGV[2])
  ring(bell)
end
if taken < #sizes / 3 then
  -- Not at the first free place: each would wake a producer for one item.
  local level = capacity - math.min(64, math.ceil(capacity / 16))
  redis.call('SET', wanted, level, 'PX', 60000)
  redis.call('DEL', room)
elseif capacity >= 0 and free > 0 then
  ring(room)
end
return taken
`;

/**
 * Lends entries: first those that came back or whose lease is over, then new ones.
 * KEYS: stream, due, bell. ARGV: group, consumer, most, milliseconds to lend for,
 * milliseconds that somebody waits for the bell at most. Returns id, attempt,
 * bytes, bytes of the key of each in a row of words, the bytes of the small ones and
 * their keys in a row, the lease, when there is nothing the milliseconds until there
 * may be, and then the bytes of each large one and its key.
 */
export const LEND_SCRIPT: string = `${NOW}${RING}
local stream, due, bell = unpack(KEYS)
local group, consumer = ARGV[1], ARGV[2]
local most, visibility, patience = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local lease = now + visibility
local heads, small, large, leases, count = {}, {}, {}, {}, 0
local function lend(id, fields, attempt)
  local payload, key = '', nil
  for i = 1, #fields, 2 do
    if fields[i] == 'p' then payload = fields[i + 1] end
    if fields[i] == 'k' then key = fields[i + 1] end
  end
  count = count + 1
  heads[count] = id .. ' ' .. attempt .. ' ' .. #payload .. ' ' .. (key and #key or -1)
  local body = key and payload .. key or payload
  local bodies = #body > ${LARGE} and large or small
  bodies[#bodies + 1] = body
  leases[2 * count - 1] = lease
  leases[2 * count] = id
end
for _, id in ipairs(redis.call('ZRANGEBYSCORE', due, '-inf', now, 'LIMIT', 0, most)) do
  local entry = redis.call('XCLAIM', stream, group, consumer, 0, id)[1]
  if entry then
    lend(id, entry[2], redis.call('XPENDING', stream, group, id, id, 1)[1][4])
  else
    redis.call('XACK', stream, group, id)
    redis.call('ZREM', due, id)
  end
end
local newest
if count < most then
  local read = redis.call('XREADGROUP', 'GROUP', group, consumer, 'COUNT', most - count, 'STREAMS', stream, '>')
  for _, entry in ipairs(read and read[1][2] or {}) do
    newest = entry[1]
    lend(newest, entry[2], 1)
  end
end
local wait = patience
if count > 0 then
  redis.call('ZADD', due, unpack(leases))
  if visibility < patience then
    ring(bell)
  elseif count == most and redis.call('LLEN', bell) == 0 then
    -- Somebody else shall have what is left, if there is something.
    local last = redis.call('XREVRANGE', stream, '+', '-', 'COUNT', 1)[1]
    if newest == nil or last[1] ~= newest then ring(bell) end
  end
else
  redis.call('DEL', bell)
  local first = redis.call('ZRANGE', due, 0, 0, 'WITHSCORES')
  if first[2] then wait = math.max(1, math.min(patience, first[2] - now)) end
end
return { table.concat(heads, ' '), table.concat(small), lease, wait, unpack(large) }
`;

/**
 * Answers for entries that are lent.
 * KEYS: stream, due, bell, wanted, room. ARGV: group, the consumer of what nobody
 * has, JSON of word, id, lease and number for each. Words: "ack", "nack" (in so many
 * milliseconds), "release" (to be delivered as the attempt of that number again),
 * "extend" (by so many milliseconds). Returns "1" or "0" for each in a row, and now.
 */
export const SETTLE_SCRIPT: string = `${NOW}${RING}${FINISH}
local stream, due, bell, wanted, room = unpack(KEYS)
local group, nobody, answers = ARGV[1], ARGV[2], cjson.decode(ARGV[3])
local ids, leases, results, done, comesBack = {}, {}, {}, {}, false
for i = 2, #answers, 4 do ids[#ids + 1] = answers[i] end
for i, score in ipairs(redis.call('ZMSCORE', due, unpack(ids))) do
  leases[ids[i]] = tonumber(score or -1)
end
for i = 1, #answers, 4 do
  local word, id, lease, number = answers[i], answers[i + 1], answers[i + 2], answers[i + 3]
  local isLent = leases[id] == lease
  results[#results + 1] = isLent and 1 or 0
  if isLent and word == 'extend' then
    redis.call('ZADD', due, now + number, id)
  elseif isLent then
    leases[id] = -1
    if word == 'ack' then
      done[#done + 1] = id
    elseif word == 'nack' then
      redis.call('XCLAIM', stream, group, nobody, 0, id, 'JUSTID')
      redis.call('ZADD', due, now + number, id)
      comesBack = true
    else
      redis.call('XCLAIM', stream, group, nobody, 0, id, 'RETRYCOUNT', number - 1, 'JUSTID')
      redis.call('ZADD', due, now, id)
      comesBack = true
    end
  end
end
finish(stream, group, due, wanted, room, done)
if comesBack then ring(bell) end
return { table.concat(results), now }
`;

/**
 * Moves an entry to the dead letters.
 * KEYS: stream, due, dead, wanted, room. ARGV: group, id, lease, most dead letters
 * (-1: any number), then names and values to note of it. Returns 1, or 0 when the
 * lease is lost.
 */
export const BURY_SCRIPT: string = `${RING}${FINISH}
local stream, due, dead, wanted, room = unpack(KEYS)
local group, id, most = ARGV[1], ARGV[2], tonumber(ARGV[4])
if tonumber(redis.call('ZSCORE', due, id) or -1) ~= tonumber(ARGV[3]) then return 0 end
local entry = redis.call('XRANGE', stream, id, id)[1]
if entry then
  local letter = { dead }
  if most >= 0 then
    letter[2], letter[3], letter[4] = 'MAXLEN', '~', most
  end
  letter[#letter + 1] = '*'
  for _, field in ipairs(entry[2]) do letter[#letter + 1] = field end
  for i = 5, #ARGV do letter[#letter + 1] = ARGV[i] end
  redis.call('XADD', unpack(letter))
end
finish(stream, group, due, wanted, room, { id })
return 1
`;

/**
 * Counts. KEYS: stream, due, dead. ARGV: group, the consumer of what nobody has.
 * Returns entries, lent ones, the age of the oldest or -1, dead letters.
 */
export const MEASURE_SCRIPT: string = `${NOW}
local stream, due, dead, group, nobody = KEYS[1], KEYS[2], KEYS[3], ARGV[1], ARGV[2]
local pending = redis.call('XPENDING', stream, group)
local lent, delayed = pending[1], 0
for _, consumer in ipairs(pending[4] or {}) do
  if consumer[1] == nobody then
    lent = lent - consumer[2]
    delayed = math.max(0, consumer[2] - redis.call('ZCOUNT', due, '-inf', now))
  end
end
local first = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1]
local age = -1
if first then age = math.max(0, now - tonumber(string.match(first[1], '^%d+'))) end
return { redis.call('XLEN', stream), lent, age, redis.call('XLEN', dead), delayed }
`;
