/**
 * What happens inside Redis, each of it in one step that nothing comes between.
 *
 * A queue is a stream with one consumer group, and beside it
 * - `due`, a sorted set: for each entry that is lent or came back, when anybody
 *   may have it, on the clock of the server. That time is also what a lease is
 *   known by: who names another one has lost it.
 * - the consumers of the group: `-` has what came back, so all others have what is
 *   lent, or was lost if its time is over. A `?` behind the name stands for doubt: that
 *   one is worked on alone, as it was lost before, or came back before that was.
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

/** Items up to so many bytes travel in a row: clients take long over many short strings, Lua over long ones. */
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

/**
 * Redis that is full refuses the first word of a script that needs memory, unless
 * one that writes went before. What takes items out must not be refused.
 */
const TAKE_OUT = `redis.call('ZREM', KEYS[2], '')`;

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

/** Rings. KEYS: list, due. */
export const RING_SCRIPT: string = `${RING}${TAKE_OUT} ring(KEYS[1])`;

/**
 * Makes the group. Where it was lost, so is what was lent; where entries that are
 * lent are missing among the due, others have been at work, and they are added.
 * KEYS: stream, due. ARGV: group, milliseconds that a stray one stays lent.
 */
export const OPEN_SCRIPT: string = `${NOW}${TAKE_OUT}
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
 * that the number is kept for, JSON of number and bytes of each, the bytes of the
 * small ones in a row, and then those of each large one. Returns how many are there now.
 */
export const PUT_SCRIPT: string = `${RING}
local stream, bell, put, wanted, room = unpack(KEYS)
local capacity, sizes, bytes = tonumber(ARGV[1]), cjson.decode(ARGV[3]), ARGV[4]
local last = tonumber(redis.call('GET', put) or 0)
local free = math.huge
if capacity >= 0 then free = capacity - redis.call('XLEN', stream) end
local at, large, taken, added = 1, 5, 0, 0
for i = 1, #sizes, 2 do
  local number, size = sizes[i], sizes[i + 1]
  local isNew = number > last
  if isNew and free <= 0 then break end
  local from = at
  if size > ${LARGE} then large = large + 1 else at = at + size end
  if isNew then
    local payload
    if size > ${LARGE} then
      payload = ARGV[large - 1]
    else
      payload = string.sub(bytes, from, at - 1)
    end
    redis.call('XADD', stream, '*', 'p', payload)
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
if taken < #sizes / 2 then
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
 * milliseconds that somebody waits for the bell at most. Returns id, attempt and
 * bytes of each in a row of words, the bytes of the small ones in a row, the lease,
 * when there is nothing the milliseconds until there may be, and then the bytes of
 * each large one. Behind the attempt is "a" for what was lost alone, "b" for what was
 * lost beside others.
 */
export const LEND_SCRIPT: string = `${NOW}${RING}
local stream, due, bell = unpack(KEYS)
local group, consumer = ARGV[1], ARGV[2]
local most, visibility, patience = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local lease = now + visibility
local heads, small, large, leases, count = {}, {}, {}, {}, 0
local function lend(id, fields, attempt)
  local payload = ''
  for i = 1, #fields, 2 do
    if fields[i] == 'p' then payload = fields[i + 1] end
  end
  count = count + 1
  heads[count] = id .. ' ' .. attempt .. ' ' .. #payload
  local bodies = #payload > ${LARGE} and large or small
  bodies[#bodies + 1] = payload
  leases[2 * count - 1] = lease
  leases[2 * count] = id
end
for _, id in ipairs(redis.call('ZRANGEBYSCORE', due, '-inf', now, 'LIMIT', 0, most)) do
  local pending = redis.call('XPENDING', stream, group, id, id, 1)[1]
  local attempt, lost, entry
  if pending then
    local owner = pending[2]
    attempt, lost = pending[4] + 1, ''
    if owner ~= '-' then
      lost = owner ~= '-?' and string.sub(owner, -1) == '?' and 'a' or 'b'
    end
    -- Lost beside others counts once, and only as the first that happened to it.
    if lost == 'b' and owner ~= '-?' and attempt > 2 then attempt = attempt - 1 end
    entry = redis.call('XCLAIM', stream, group, consumer, 0, id, 'RETRYCOUNT', attempt)[1]
  end
  if entry then
    lend(id, entry[2], attempt .. lost)
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
 * KEYS: stream, due, bell, wanted, room. ARGV: group, consumer, JSON of word, id,
 * lease and number for each. Words: "ack", "nack" (in so many milliseconds),
 * "release" (the same, and the delivery does not count), "doubt" (a release of what was
 * lost before), "isolate" (worked on alone), "extend" (by so many milliseconds).
 * A negative lease says that the answer to a word before was lost: as long as the lease
 * would last, nobody but who asks can have changed it, so it was done.
 * Returns "1" or "0" for each in a row, and now.
 */
export const SETTLE_SCRIPT: string = `${NOW}${RING}${FINISH}
local stream, due, bell, wanted, room = unpack(KEYS)
local group, consumer, answers = ARGV[1], ARGV[2], cjson.decode(ARGV[3])
local ids, leases, results, done, comesBack = {}, {}, {}, {}, false
for i = 2, #answers, 4 do ids[#ids + 1] = answers[i] end
for i, score in ipairs(redis.call('ZMSCORE', due, unpack(ids))) do
  leases[ids[i]] = tonumber(score or -1)
end
for i = 1, #answers, 4 do
  local word, id, lease, number = answers[i], answers[i + 1], answers[i + 2], answers[i + 3]
  local isLent, isTold, keeps = leases[id] == lease, false, word == 'extend' or word == 'isolate'
  if lease < 0 and leases[id] ~= -lease and now < -lease then
    isTold = not keeps
    isLent = leases[id] ~= -1 and (keeps or word == 'ack')
  elseif lease < 0 then
    isLent = leases[id] == -lease
  end
  results[#results + 1] = (isLent or isTold) and 1 or 0
  if not isLent then
    -- Somebody else has it, or it is done.
  elseif word == 'isolate' then
    redis.call('XCLAIM', stream, group, consumer .. '?', 0, id, 'JUSTID')
  elseif word == 'extend' then
    ${TAKE_OUT}
    redis.call('ZADD', due, now + number, id)
  elseif word == 'ack' then
    leases[id] = -1
    done[#done + 1] = id
  else
    leases[id] = -1
    local owner, at = '-', now + number
    if word == 'doubt' then owner = '-?' end
    if word == 'nack' then
      redis.call('XCLAIM', stream, group, owner, 0, id, 'JUSTID')
    else
      local count = redis.call('XPENDING', stream, group, id, id, 1)[1][4]
      redis.call('XCLAIM', stream, group, owner, 0, id, 'RETRYCOUNT', count - 1, 'JUSTID')
      -- In the order it was put, before all that failed.
      if number == 0 then at = string.match(id, '^%d+') end
    end
    redis.call('ZADD', due, at, id)
    comesBack = true
  end
end
finish(stream, group, due, wanted, room, done)
if comesBack then ring(bell) end
return { table.concat(results), now }
`;

/**
 * Moves an entry to the dead letters.
 * KEYS: stream, due, dead, wanted, room. ARGV: group, id, lease (negative as in
 * {@linkcode SETTLE_SCRIPT}), most dead letters (-1: any number), then names and
 * values to note of it. Returns 1, or 0 when the lease is lost.
 */
export const BURY_SCRIPT: string = `${NOW}${RING}${FINISH}${TAKE_OUT}
local stream, due, dead, wanted, room = unpack(KEYS)
local group, id, lease, most = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local found = tonumber(redis.call('ZSCORE', due, id) or -1)
if found ~= math.abs(lease) then
  if lease > 0 or now >= -lease then return 0 end
  if found == -1 then return 1 end
end
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
 * Counts. KEYS: stream, due, dead. ARGV: group. Returns entries, lent ones, the age of
 * the oldest or -1, dead letters, delayed ones.
 */
export const MEASURE_SCRIPT: string = `${NOW}
local stream, due, dead, group = KEYS[1], KEYS[2], KEYS[3], ARGV[1]
local pending = redis.call('XPENDING', stream, group)
local back = 0
for _, consumer in ipairs(pending[4] or {}) do
  if consumer[1] == '-' or consumer[1] == '-?' then back = back + consumer[2] end
end
local lent = pending[1] - back
local delayed = math.max(0, back - redis.call('ZCOUNT', due, '-inf', now))
local first = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1]
local age = -1
if first then age = math.max(0, now - tonumber(string.match(first[1], '^%d+'))) end
return { redis.call('XLEN', stream), lent, age, redis.call('XLEN', dead), delayed }
`;
