"""The scripts in Lua that read and change a session on the server, each as a whole.

The server runs nothing else meanwhile. The names of what a script replies, and what it
is given, are in the comments.

The keys, which all begin with the same prefix:

- ``session``: a hash of the values of the session. ``owner`` is the random name of who
  has it open ("closed" and the last one: nobody), and ``commits`` counts its groups: a
  group of anybody else, or one that does not follow the one before, changes nothing.
- ``lease``: who has it open, in words; it expires unless it is renewed.
- ``deliveries``: by sequence, the values of a delivery that may change.
- ``messages``: by sequence, its topic, properties and payload.
- ``queued``, ``sent``, ``released``: the sequences of the deliveries in these states.
  The first two are ordered by place, which is the sequence except for deliveries that
  were put before others. ``released`` is ordered by the PUBRECs.
- ``blocked``, ``received``: packet identifiers.
- ``flows``: by packet identifier, the names of flows.
- ``subscriptions``: by topic filter.
- ``receipts``: by the ``id`` of a message; ``unfinished`` and ``finished`` have the ids
  of those that have not ended, and of those that have, by time.
"""

from typing import Final

from aiomqtt.protocol.delivery import QUEUED, RELEASED, SENT

# The ends of the keys, in the order in which the scripts are given them.
KEYS: Final = (
    "session",
    "lease",
    "deliveries",
    "messages",
    "queued",
    "sent",
    "released",
    "blocked",
    "received",
    "flows",
    "subscriptions",
    "receipts",
    "unfinished",
    "finished",
)

# The version of what the keys have.
FORMAT: Final = 1

_NAMES: Final = f"""
local {", ".join(KEYS)} = unpack(KEYS)
local QUEUED, SENT, RELEASED = '{QUEUED}', '{SENT}', '{RELEASED}'
local sets = {{[QUEUED] = queued, [SENT] = sent, [RELEASED] = released}}
local call = redis.call
"""

# Takes the lease. Arguments: the client identifier, the new owner, the text for the
# lease, its milliseconds, FORMAT; what the caller knows from last time: the owner, the
# number of commits, the generation. Replies:
# "held", the text of the lease, and its milliseconds;
# "format", the format; "client", the client identifier that it belongs to; or
# "opened", the values of the session, the packet identifiers that are blocked and
# received, the names of flows, the subscriptions, and the numbers of deliveries.
OPEN: Final = (
    _NAMES
    + """
local holder = call('GET', lease)
if holder then
    return {'held', holder, call('PTTL', lease)}
end
local client_id, new_owner, text, milliseconds, format = unpack(ARGV, 1, 5)
local known_owner, known_commits, known_generation = unpack(ARGV, 6, 8)
local found = call('HMGET', session, 'format', 'client_id', 'owner', 'commits',
    'generation')
if found[1] and found[1] ~= format then
    return {'format', found[1]}
end
if found[2] and found[2] ~= client_id then
    return {'client', found[2]}
end
local generation = math.max(tonumber(found[5] or 0), tonumber(known_generation)) + 1
if known_owner ~= '' and (known_owner ~= found[3] or known_commits ~= found[4]) then
    -- It is not as the caller left it.
    generation = generation + 1
end
if not found[1] then
    call('HSET', session, 'format', format, 'client_id', client_id)
end
call('HSET', session, 'owner', new_owner, 'commits', 0, 'generation', generation,
    'holder', text)
call('SET', lease, text, 'PX', milliseconds)
return {
    'opened', call('HGETALL', session), call('SMEMBERS', blocked),
    call('SMEMBERS', received), call('HGETALL', flows),
    call('HGETALL', subscriptions),
    {call('ZCARD', queued), call('ZCARD', sent), call('ZCARD', released),
        call('HLEN', deliveries)},
}
"""
)

# Reads deliveries. Arguments: the owner, the set, after which place ("": any), where
# to begin, how many at most, and how many bytes at most, unless the first one has more.
# Replies: "lost"; or "loaded", and of each delivery its sequence, its place, its values
# and its message.
LOAD: Final = (
    _NAMES
    + """
local owner, name, after = unpack(ARGV, 1, 3)
local start, count, limit = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
if call('HGET', session, 'owner') ~= owner then
    return {'lost'}
end
local found
if after == '' then
    found = call('ZRANGE', sets[name], start, start + count - 1, 'WITHSCORES')
else
    found = call('ZRANGEBYSCORE', sets[name], '(' .. after, '+inf', 'WITHSCORES',
        'LIMIT', start, count)
end
local reply, size = {'loaded'}, 0
for index = 1, #found, 2 do
    local sequence = found[index]
    local message = call('HGET', messages, sequence)
    size = size + (message and #message or 0)
    if size > limit and index > 1 then
        break
    end
    reply[#reply + 1] = sequence
    reply[#reply + 1] = found[index + 1]
    reply[#reply + 1] = call('HGET', deliveries, sequence)
    reply[#reply + 1] = message
end
return reply
"""
)

# Stores a group of changes. Arguments: the owner, how many groups it has stored, the
# time, the milliseconds of the lease, before which time to forget receipts; then texts
# with the kinds, keys and values of changes. Replies: "stored"; or, if nothing has
# changed, "lost" (somebody else has opened it) or "behind" (the server has lost a
# group).
COMMIT: Final = (
    _NAMES
    + """
local owner, commits, now, milliseconds, oldest = unpack(ARGV, 1, 5)
local found = call('HMGET', session, 'owner', 'commits', 'last_packet_id',
    'last_sequence', 'last_place', 'last_released', 'waiting_size',
    'last_subscription')
if found[1] and found[1] ~= owner then
    return 'lost'
end
if found[2] ~= commits then
    return 'behind'
end
local last_packet_id, last_sequence = tonumber(found[3] or 0), tonumber(found[4] or 0)
local last_place, last_released = tonumber(found[5] or 0), tonumber(found[6] or 0)
local waiting_size = tonumber(found[7] or 0)
local last_subscription = tonumber(found[8] or 0)
local text, position

local function take()
    local value
    value, position = struct.unpack('>I4c0', text, position)
    return value
end

local function read(sequence)
    local value = call('HGET', deliveries, sequence)
    if not value then
        error('the session has no delivery ' .. sequence)
    end
    local state, packet_id, code, size, length, rest = string.match(value,
        '^(%d+) (%d+) (%d+) (%d+) (%d+):(.*)$')
    return {state = state, packet_id = packet_id, code = code, size = tonumber(size),
        id = string.sub(rest, 1, tonumber(length)), tail = length .. ':' .. rest}
end

local function write(sequence, one, state, packet_id, code)
    call('HSET', deliveries, sequence, state .. ' ' .. packet_id .. ' ' .. code .. ' '
        .. one.size .. ' ' .. one.tail)
end

local function count_waiting(one, sign)
    waiting_size = waiting_size + sign * one.size
end

local function note(id, sequence, word)
    if id ~= '' then
        call('HSET', receipts, id, '- ' .. now .. ' ' .. sequence .. ' ' .. word)
    end
end

local function finish(id, sequence, word, code)
    local receipt = call('HGET', receipts, id)
    -- A newer message may have the same id.
    if receipt and string.match(receipt, '^%S+ %S+ (%S+)') == sequence then
        call('SREM', unfinished, id)
        call('HDEL', receipts, id)
        if word ~= '' then
            call('HSET', receipts, id,
                code .. ' ' .. now .. ' ' .. sequence .. ' ' .. word)
            call('ZADD', finished, now, id)
        end
    end
end

local function add(sequence, place)
    local state, packet_id, code = take(), take(), take()
    local id = take()
    local one = {size = tonumber(take()), tail = #id .. ':' .. id .. take()}
    write(sequence, one, state, packet_id, code)
    call('HSET', messages, sequence, take())
    if state == RELEASED then
        last_released = last_released + 1
        place = last_released
    end
    call('ZADD', sets[state], place, sequence)
    if state == QUEUED then
        count_waiting(one, 1)
    end
    if id ~= '' then
        call('ZREM', finished, id)
        call('SADD', unfinished, id)
        note(id, sequence, state == QUEUED and 'queued' or 'in flight')
    end
    last_sequence = sequence
    if packet_id ~= '0' then
        last_packet_id = packet_id
    end
end

local function place_last(sequence)
    local place = tonumber(sequence)
    if place <= last_place then
        place = last_place + 1
    end
    last_place = place
    return place
end

local function place_first(sequence)
    local first = call('ZRANGE', queued, 0, 0, 'WITHSCORES')[2]
    if not first then
        return place_last(sequence)
    end
    first = tonumber(first)
    local in_flight = call('ZRANGE', sent, 0, -1, 'WITHSCORES')
    local last = tonumber(in_flight[#in_flight])
    if last and last >= first - 1 then
        -- All that was sent comes before all that waits.
        local place = math.min(first, tonumber(in_flight[2])) - #in_flight / 2 - 1
        for index = 1, #in_flight, 2 do
            call('ZADD', sent, place, in_flight[index])
            place = place + 1
        end
    end
    return first - 1
end

local function forget_packet_ids()
    last_packet_id = 0
    call('HSET', session, 'reserved_last', 0, 'reserved_first', 0)
end

local kinds = {}

kinds['identified'] = function()
    call('HSET', session, 'client_id', take(), 'exists', take(), 'connected_before',
        take())
end
kinds['added'] = function()
    local sequence = take()
    add(sequence, place_last(sequence))
end
kinds['added first'] = function()
    local sequence = take()
    add(sequence, place_first(sequence))
end
kinds['sent'] = function()
    local sequence, packet_id = take(), take()
    local one = read(sequence)
    if one.state == QUEUED then
        count_waiting(one, -1)
        call('ZADD', sent, call('ZSCORE', queued, sequence), sequence)
        call('ZREM', queued, sequence)
    end
    write(sequence, one, SENT, packet_id, one.code)
    note(one.id, sequence, 'in flight')
    last_packet_id = packet_id
end
kinds['released'] = function()
    local sequence, code = take(), take()
    local one = read(sequence)
    if one.state == QUEUED then
        count_waiting(one, -1)
    end
    call('ZREM', sets[one.state], sequence)
    last_released = last_released + 1
    call('ZADD', released, last_released, sequence)
    write(sequence, one, RELEASED, one.packet_id, code)
    call('HDEL', messages, sequence)
end
kinds['ended'] = function()
    local sequence, word, code = take(), take(), take()
    local one = read(sequence)
    if one.state == QUEUED then
        count_waiting(one, -1)
    end
    call('ZREM', sets[one.state], sequence)
    call('HDEL', deliveries, sequence)
    call('HDEL', messages, sequence)
    if one.id ~= '' then
        finish(one.id, sequence, word, code)
    end
end
kinds['requeued'] = function()
    local in_flight = call('ZRANGE', sent, 0, -1, 'WITHSCORES')
    for index = 1, #in_flight, 2 do
        local sequence = in_flight[index]
        local one = read(sequence)
        write(sequence, one, QUEUED, 0, one.code)
        count_waiting(one, 1)
        note(one.id, sequence, 'queued')
        call('ZADD', queued, in_flight[index + 1], sequence)
    end
    call('UNLINK', sent, blocked)
    forget_packet_ids()
end
kinds['outbound cleared'] = function()
    local word = take()
    for _, id in ipairs(call('SMEMBERS', unfinished)) do
        local sequence = string.match(call('HGET', receipts, id), '^%S+ %S+ (%S+)')
        finish(id, sequence, word, '-')
    end
    call('UNLINK', deliveries, messages, queued, sent, released, blocked)
    waiting_size = 0
    forget_packet_ids()
end
kinds['counted'] = function()
    last_packet_id = take()
end
kinds['reserved'] = function()
    call('HSET', session, 'reserved_last', take(), 'reserved_first', take())
end
kinds['blocked'] = function()
    call('SADD', blocked, take())
end
kinds['unblocked'] = function()
    call('SREM', blocked, take())
end
kinds['received'] = function()
    call('SADD', received, take())
end
kinds['named'] = function()
    call('HSET', flows, take(), take())
end
kinds['completed'] = function()
    local packet_id = take()
    call('SREM', received, packet_id)
    call('HDEL', flows, packet_id)
end
kinds['inbound cleared'] = function()
    call('UNLINK', received, flows)
end
kinds['subscribed'] = function()
    local filter, values = take(), take()
    local old = call('HGET', subscriptions, filter)
    local number = old and string.match(old, '^%d+')
    if not number then
        last_subscription = last_subscription + 1
        number = last_subscription
    end
    call('HSET', subscriptions, filter, number .. ' ' .. values)
end
kinds['unsubscribed'] = function()
    call('HDEL', subscriptions, take())
end

for index = 6, #ARGV do
    text, position = ARGV[index], 1
    while position <= #text do
        kinds[take()]()
    end
end
local old = call('ZRANGEBYSCORE', finished, '-inf', oldest, 'LIMIT', 0, 1000)
if #old > 0 then
    call('HDEL', receipts, unpack(old))
    call('ZREM', finished, unpack(old))
end
call('HSET', session, 'commits', commits + 1, 'last_packet_id', last_packet_id,
    'last_sequence', last_sequence, 'last_place', last_place,
    'last_released', last_released, 'waiting_size', waiting_size,
    'last_subscription', last_subscription)
if call('PEXPIRE', lease, milliseconds) == 0 then
    -- It had expired, and nobody has taken it.
    call('SET', lease, call('HGET', session, 'holder'), 'PX', milliseconds)
end
return 'stored'
"""
)

# Renews the lease. Arguments: the owner, the milliseconds. Replies "renewed" or "lost".
RENEW: Final = (
    _NAMES
    + """
local owner, milliseconds = unpack(ARGV)
if call('HGET', session, 'owner') ~= owner then
    return 'lost'
end
call('SET', lease, call('HGET', session, 'holder'), 'PX', milliseconds)
return 'renewed'
"""
)

# Reads receipts. Arguments: the owner, the id ("": all). Replies: "lost"; or "read",
# and of each receipt its id and its values.
RECEIPTS: Final = (
    _NAMES
    + """
local owner, id = unpack(ARGV)
if call('HGET', session, 'owner') ~= owner then
    return {'lost'}
end
if id == '' then
    return {'read', call('HGETALL', receipts)}
end
local found = call('HGET', receipts, id)
return {'read', found and {id, found} or {}}
"""
)

# Gives the lease back. Argument: the owner. What comes later of it changes nothing.
CLOSE: Final = (
    _NAMES
    + """
if call('HGET', session, 'owner') == ARGV[1] then
    call('HSET', session, 'owner', 'closed ' .. ARGV[1])
    call('DEL', lease)
end
return 'closed'
"""
)
