//! The scripts that run in Redis. Each begins with a comment that names it.

/// Reads in which life Redis is. Begins a new life if the recorded one does not match: after a restart or a promotion, Redis may have lost
/// data that it acknowledged.
///
/// Keys: the life. Arguments: a random number below 1024.
pub(super) const BEGIN: &str = "\
-- comet begin
local server = redis.call('INFO', 'server')
local run = string.match(server, 'run_id:(%x+)')
local replication = string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)')
local policy = string.match(redis.call('INFO', 'memory'), 'maxmemory_policy:([%w%-]+)') or ''
local life = redis.call('HMGET', KEYS[1], 'term', 'run', 'replication', 'epochs')
local term = life[1]
if not term or life[2] ~= run or life[3] ~= replication then
  local time = redis.call('TIME')
  local new = (time[1] * 1000 + math.floor(time[2] / 1000)) * 1024 + ARGV[1]
  if life[4] and new <= tonumber(life[4]) then new = life[4] + 1 end
  term = string.format('%.0f', new)
  redis.call('HSET', KEYS[1], 'term', term, 'run', run, 'replication', replication, 'epochs', term)
end
return {term, run, replication, policy}";

/// Appends a publication and announces it, unless Redis is in another life than the node knows.
///
/// Keys: the life; the stream; optionally the key of the request. Arguments: the life's term, run and replication; a random number below
/// 1024; the stream's lifetime in milliseconds; the maximum entries, bytes and age in milliseconds; the channel of the message; user; data;
/// how many milliseconds the request's key is remembered.
pub(super) const PUBLISH: &str = "\
-- comet publish
local life = redis.call('HMGET', KEYS[1], 'term', 'run', 'replication', 'epochs')
if life[1] ~= ARGV[1] or life[2] ~= ARGV[2] or life[3] ~= ARGV[3]
  or not string.find(redis.call('INFO', 'replication'), 'master_replid:' .. ARGV[3], 1, true) then
  return redis.error_reply('ANOTHERLIFE Redis is in another life')
end
if KEYS[3] then
  local done = redis.call('GET', KEYS[3])
  if done then return done end
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local last = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)[1]
local epoch, offset, before, bytes = ARGV[1], '1', nil, 0
if last then
  local at, number = string.match(last[1], '^(%d+)-(%d+)$')
  offset = string.format('%.0f', number + 1)
  if tonumber(at) >= tonumber(ARGV[1]) then epoch = at else before = at end
  for index = 1, #last[2], 2 do
    if last[2][index] == 'b' then bytes = tonumber(last[2][index + 1]) end
  end
else
  local new = now * 1024 + ARGV[4]
  if new <= tonumber(life[4]) then new = life[4] + 1 end
  epoch, before = string.format('%.0f', new), '0'
end
local id = epoch .. '-' .. offset
bytes = bytes + #ARGV[10] + #ARGV[11] + 128
local fields = {'u', ARGV[10], 'd', ARGV[11], 't', string.format('%.0f', now), 'b', string.format('%.0f', bytes)}
local place = id
if before then
  fields[9], fields[10] = 'p', before
  place = id .. '<' .. before
end
redis.call('XADD', KEYS[2], 'MAXLEN', ARGV[6], id, unpack(fields))
if not last then redis.call('HSET', KEYS[1], 'epochs', epoch) end
local oldest = redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', 16)
local drop = 0
for index = 1, #oldest do
  local at, upto = 0, 0
  for field = 1, #oldest[index][2], 2 do
    if oldest[index][2][field] == 't' then at = tonumber(oldest[index][2][field + 1]) end
    if oldest[index][2][field] == 'b' then upto = tonumber(oldest[index][2][field + 1]) end
  end
  -- One is left in any case, for its number.
  if oldest[index][1] == id then break end
  local mine = 128
  for field = 1, 4 do mine = mine + #(oldest[index][2][field] or '') end
  if now - at > tonumber(ARGV[8]) or bytes - upto + mine > tonumber(ARGV[7]) then drop = index else break end
end
if drop > 0 then redis.call('XTRIM', KEYS[2], 'MAXLEN', redis.call('XLEN', KEYS[2]) - drop) end
redis.call('PEXPIRE', KEYS[2], ARGV[5])
if KEYS[3] then redis.call('SET', KEYS[3], id, 'PX', ARGV[12]) end
redis.call('PUBLISH', ARGV[9], place .. ' ' .. #ARGV[10] .. ' ' .. ARGV[10] .. ARGV[11])
return id";

/// Reads a part of a stream, newest first. Read-only.
///
/// Keys: the stream. Arguments: the entry before which to begin, or empty; the entry down to which, or the first before it, to read, or
/// empty; the maximum number of entries, and of their bytes.
pub(super) const READ: &str = "\
-- comet read
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
local from = '+'
if ARGV[1] ~= '' then from = '(' .. ARGV[1] end
local epoch, offset
if ARGV[2] ~= '' then
  epoch, offset = string.match(ARGV[2], '^(%d+)-(%d+)$')
  epoch, offset = tonumber(epoch), tonumber(offset)
end
local entries, bytes, count, most = {}, 0, tonumber(ARGV[3]), tonumber(ARGV[4])
while true do
  local read = redis.call('XREVRANGE', KEYS[1], from, '-', 'COUNT', 8)
  if #read == 0 then return {now, '0', entries} end
  for _, entry in ipairs(read) do
    if #entries >= count or (#entries > 0 and bytes >= most) then return {now, '1', entries} end
    entries[#entries + 1] = entry
    for _, field in ipairs(entry[2]) do bytes = bytes + #field end
    local at, number = string.match(entry[1], '^(%d+)-(%d+)$')
    at, number = tonumber(at), tonumber(number)
    if epoch and (at < epoch or (at == epoch and number <= offset)) then return {now, '0', entries} end
  end
  from = '(' .. read[#read][1]
end";

/// Reads the part of a stream on one side of an offset, oldest first, and the id of its last entry. Read-only.
///
/// Offsets never decrease in a stream. If it has a single epoch, an offset is a place in it; else its entries are searched.
///
/// Keys: the stream. Arguments: `before` or `after`; the offset; the maximum number of entries, and of their bytes.
pub(super) const PART: &str = "\
-- comet part
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
local first = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
if not first then return {now, '0', {}, ''} end
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1][1]
local forward, offset = ARGV[1] == 'after', tonumber(ARGV[2])
local from, epoch = forward and '-' or '+', string.match(last, '^(%d+)-')
if string.match(first[1], '^(%d+)-') == epoch then from = '(' .. epoch .. '-' .. ARGV[2] end
local entries, bytes, count, most, more = {}, 0, tonumber(ARGV[3]), tonumber(ARGV[4]), false
repeat
  local read
  if forward then
    read = redis.call('XRANGE', KEYS[1], from, '+', 'COUNT', 8)
  else
    read = redis.call('XREVRANGE', KEYS[1], from, '-', 'COUNT', 8)
  end
  for _, entry in ipairs(read) do
    local number = tonumber(string.match(entry[1], '%-(%d+)$'))
    if (forward and number > offset) or (not forward and number < offset) then
      more = #entries >= count or (#entries > 0 and bytes >= most)
      if more then break end
      entries[#entries + 1] = entry
      for _, field in ipairs(entry[2]) do bytes = bytes + #field end
    end
  end
  if #read > 0 then from = '(' .. read[#read][1] end
until more or #read == 0
if not forward then
  for index = 1, math.floor(#entries / 2) do
    entries[index], entries[#entries + 1 - index] = entries[#entries + 1 - index], entries[index]
  end
end
return {now, more and '1' or '0', entries, last}";

/// Marks that a stream has lost entries, if its last entry is still the given one: later entries get a new epoch.
///
/// Keys: the life; the stream. Arguments: its last entry, or empty; a random number below 1024; the stream's lifetime in milliseconds; the
/// channel of the message.
pub(super) const MARK: &str = "\
-- comet mark
local last = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)[1]
if (last and last[1] or '') ~= ARGV[1] then return 0 end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local new, epochs = now * 1024 + ARGV[2], redis.call('HGET', KEYS[1], 'epochs')
if epochs and new <= tonumber(epochs) then new = epochs + 1 end
local offset, bytes = '0', '0'
if last then
  offset = string.match(last[1], '%-(%d+)$')
  for index = 1, #last[2], 2 do
    if last[2][index] == 'b' then bytes = last[2][index + 1] end
  end
end
local epoch = string.format('%.0f', new)
redis.call('XADD', KEYS[2], epoch .. '-' .. offset, 'm', '', 't', string.format('%.0f', now), 'b', bytes)
redis.call('HSET', KEYS[1], 'epochs', epoch)
redis.call('PEXPIRE', KEYS[2], ARGV[3])
redis.call('PUBLISH', ARGV[4], epoch .. '-' .. offset .. ' mark')
return 1";

/// Notes which clients are present through a node, until they expire or the node reports them again.
///
/// Keys: the node's clients; the nodes. Arguments: the node; the lifetime in milliseconds; 1 if there are no other clients of this node;
/// clients and users.
pub(super) const ENTER: &str = "\
-- comet enter
if ARGV[3] == '1' then redis.call('DEL', KEYS[1]) end
if #ARGV == 3 then
  if redis.call('EXISTS', KEYS[1]) == 0 then redis.call('ZREM', KEYS[2], ARGV[1]) end
  return 0
end
redis.call('HSET', KEYS[1], unpack(ARGV, 4))
local time = redis.call('TIME')
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('ZADD', KEYS[2], time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[2], ARGV[1])
redis.call('PEXPIRE', KEYS[2], ARGV[2] * 2)
return 1";

/// Notes that a client has left. Keys: as for ENTER. Arguments: the node; the client.
pub(super) const LEAVE: &str = "\
-- comet leave
redis.call('HDEL', KEYS[1], ARGV[2])
if redis.call('EXISTS', KEYS[1]) == 0 then redis.call('ZREM', KEYS[2], ARGV[1]) end
return 1";

/// Extends the lifetime of a node's clients. Returns 0 if they have expired. Keys: as for ENTER. Arguments: the node; the lifetime in
/// milliseconds.
pub(super) const REFRESH: &str = "\
-- comet refresh
if redis.call('PEXPIRE', KEYS[1], ARGV[2]) == 0 then return 0 end
local time = redis.call('TIME')
redis.call('ZADD', KEYS[2], time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[2], ARGV[1])
redis.call('PEXPIRE', KEYS[2], ARGV[2] * 2)
return 1";

/// Lists the present clients. Read-only. Keys: the nodes. Arguments: the prefix of the keys of their clients; the most clients to name.
pub(super) const PRESENCE: &str = "\
-- comet presence
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local total, named, limit = 0, {}, tonumber(ARGV[2])
for _, node in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], now, '+inf')) do
  local key = ARGV[1] .. node
  local count = redis.call('HLEN', key)
  total = total + count
  if count > 0 and #named < 2 * limit then
    local clients
    if count <= 1024 then
      clients = redis.call('HGETALL', key)
    else
      clients = redis.call('HSCAN', key, 0, 'COUNT', limit)[2]
    end
    for index = 1, #clients do
      if #named < 2 * limit then named[#named + 1] = clients[index] end
    end
  end
end
return {total, named}";
