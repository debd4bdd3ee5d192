package redis

import goredis "github.com/redis/go-redis/v9"

// What scripts answer beside the states of an entry.
const (
	isLost    = -1
	isCorrupt = -2
)

// An operation is a hash: v version of these fields, f fingerprint, t token, n
// number of owners, l end of the lease in milliseconds of the server, s 1 if it
// is done, o its outcome then. Its time is the key's.
//
// KEYS[1] is the operation; ARGV[1] the token of who asks.
const (
	load = `
local e = redis.call('HMGET', KEYS[1], 'v', 't', 's', 'f', 'n', 'l', 'o')
local known = redis.call('EXISTS', KEYS[1]) == 1
if known and not (e[1] == '1' and e[2] and e[3] and e[4] and tonumber(e[5]) and tonumber(e[6])) then
	return {-2}
end
local mine, done = known and e[2] == ARGV[1], known and e[3] == '1'
local function clock()
	local t = redis.call('TIME')
	return t[1] * 1000 + math.floor(t[2] / 1000)
end
local function whole(n) return string.format('%.0f', n) end
`
	// ARGV: token, fingerprint, lease, ttl.
	beginScript = load + `
local owners = 0
if known then
	if e[4] ~= ARGV[2] then return {4} end
	if done then return {3, e[7]} end
	if not mine and clock() < tonumber(e[6]) then return {2} end
	owners = tonumber(e[5])
end
if not mine then owners = owners + 1 end
redis.call('HSET', KEYS[1], 'v', '1', 't', ARGV[1], 's', '0', 'f', ARGV[2], 'n', whole(owners), 'l', whole(clock() + ARGV[3]))
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return {1, owners}`
	// ARGV: token, lease.
	renewScript = load + `
if not mine or done then return {-1} end
redis.call('HSET', KEYS[1], 'l', whole(clock() + ARGV[2]))
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[2]) then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return {1}`
	// ARGV: token, outcome, ttl.
	completeScript = load + `
if not mine then return {-1} end
if done then return {1} end
redis.call('HSET', KEYS[1], 's', '1', 'o', ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return {1}`
	// ARGV: token.
	abandonScript = load + `
if not known then return {1} end
if not mine or done then return {-1} end
redis.call('DEL', KEYS[1])
return {1}`
)

// The scripts are sent once and called by their digests.
var (
	begin    = goredis.NewScript(beginScript)
	renew    = goredis.NewScript(renewScript)
	complete = goredis.NewScript(completeScript)
	abandon  = goredis.NewScript(abandonScript)
)
