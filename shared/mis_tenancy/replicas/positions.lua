-- Remembers how far a tenant has written, never less than before.
-- KEYS[1]  the tenant's key
-- ARGV     1 this run of this server · 2 position, in 16 hexadecimal digits · 3 lifetime of the key in seconds
--
-- What is kept is the run, in 8 hexadecimal digits, and the position.
-- What another run of the server wrote may have lost its last second, so it counts for nothing.
local run = string.format('%08x', tonumber(ARGV[1]))
local stored = redis.call('GET', KEYS[1])
if not stored or string.sub(stored, 1, 8) ~= run or string.sub(stored, 9) < ARGV[2] then
  redis.call('SET', KEYS[1], run .. ARGV[2], 'EX', ARGV[3])
end
