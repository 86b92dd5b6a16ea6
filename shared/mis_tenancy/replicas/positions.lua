-- Remembers how far a tenant has written, never less than before.
-- KEYS[1]  the tenant's key
-- ARGV     1 run of this server (8 digits) and position (16), in hexadecimal · 2 lifetime of the key in seconds
--
-- What another run of the server wrote may have lost its last second, so it counts for nothing.
local stored = redis.call('GET', KEYS[1])
if not stored or string.sub(stored, 1, 8) ~= string.sub(ARGV[1], 1, 8) or stored < ARGV[1] then
  redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
end
