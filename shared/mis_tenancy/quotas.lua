-- Decides one request under both policies of a tenant at once: burst per second and daily per UTC day.
--
-- `now` (µs since 1970, this server's own clock) is set by the line that is put before this text.
-- KEYS[1]  the tenant's quota key, or a client address's burst key
-- ARGV     1 generation: this run of this server, never 0
--          2 burst: requests a second · 3 daily: requests a day, -1 unlimited · 4 exempt: 1 passes a spent day
--          5 lifetime of the key in seconds
--          6 day of the seed · 7 seed: requests of that day according to the usage ledger, -1 none
-- Answers  {verdict, today, burst requests left, µs until burst is whole, µs to wait, requests today, µs of today left}
--          with verdict 0 unseeded, 1 admitted, 2 refused by burst, 3 refused by daily.
--
-- Burst is GCRA (ITU-T I.371) in its leaky-bucket form, in whole numbers: `debt` is what a tenant still owes, in
-- millionths of a request; every µs repays `burst` of them, and a request passes if the debt stays within `burst`
-- requests. So `burst` requests pass at once from idle, then one each 1/burst s, and a changed limit holds at once.
--
-- The day's count is believed only if this very run of the server wrote it: a missing key, or one of another run,
-- may have lost requests, and is seeded with whichever knows of more, the ledger or what is left here. A process that
-- has decided alone for a while brings a seed with it, as this server has not heard of those requests.

local REQUEST, DAY = 1000000, 86400000000
local generation, burst, daily = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local exempt, lifetime = ARGV[4] == '1', ARGV[5]
local seed_day, seed = tonumber(ARGV[6]), tonumber(ARGV[7])

local today = math.floor(now / DAY)
local day_left = DAY - now % DAY
local last, debt, day, count, writer = now, 0, today, 0, 0
local state = redis.call('GET', KEYS[1])
if state then
  last, debt, day, count, writer = struct.unpack('>I7I6I3I6I4', state)
end

-- A day in the future means that the clock was set back: what was counted then says nothing about today.
local known = writer == generation and day <= today
if day ~= today then
  count = 0
end
local seeding = seed >= 0 and seed_day == today
if seeding then
  count = math.max(count, seed)
  known = true
end
if daily >= 0 and not known then
  return {0, today}
end

local pace = math.max(burst, 1)
local capacity = burst * REQUEST
-- A lowered limit forgives what exceeds it, before time repays the rest.
debt = math.max(math.min(debt, capacity) - math.max(now - last, 0) * burst, 0)

local verdict, wait = 1, 0
if daily >= 0 and count >= daily and not exempt then
  verdict, wait = 3, day_left
elseif debt + REQUEST > capacity then
  verdict, wait = 2, math.ceil((debt + REQUEST - capacity) / pace)
else
  debt, count = debt + REQUEST, count + 1
end
if verdict == 1 or seeding then
  local value = struct.pack('>I7I6I3I6I4', now, debt, today, count, known and generation or 0)
  redis.call('SET', KEYS[1], value, 'EX', lifetime)
end
return {verdict, today, math.floor((capacity - debt) / REQUEST), math.ceil(debt / pace), wait, count, day_left}
