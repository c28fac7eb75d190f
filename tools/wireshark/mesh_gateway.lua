-- Shows frames of the mesh in Wireshark and tshark, as docs/protocol.md describes them.
--
-- Owns the way from the bytes of an advert's manufacturer data to fields named mesh_gw.*: byte 0 for everyone, and with the
-- network key the masked header, the body in the clear and whether the MIC verifies. Leaves adverts and what is around them
-- to Wireshark, and does not put segments together.
--
--   wireshark -X lua_script:tools/wireshark/mesh_gateway.lua -o mesh_gw.net_key:HEX -o mesh_gw.epoch:N capture.pcapng
--
-- Or put it into the folder of personal Lua plugins, and key and epoch into Preferences, Protocols, MESH_GW. Wireshark
-- keeps them in its own settings, readable for whoever can read those.
--
-- Wireshark 3 has Lua 5.2, Wireshark 4.4 has 5.4, and they share no way to write an exclusive or, nor do all builds have
-- AES. So the ciphers are here, in arithmetic that every Lua from 5.1 on has.

local floor, char, byte, rep = math.floor, string.char, string.byte, string.rep
local unpack = table.unpack or unpack

-- ---- bits ----

-- xor[a][b] of two bytes.
local xor = {}
for a = 0, 255 do
    local row = {}
    for b = 0, 255 do
        local x, y, bit, sum = a, b, 1, 0
        while x > 0 or y > 0 do
            if x % 2 ~= y % 2 then sum = sum + bit end
            x, y, bit = floor(x / 2), floor(y / 2), bit * 2
        end
        row[b] = sum
    end
    xor[a] = row
end

local function xor32(a, b)
    local sum, unit = 0, 1
    for _ = 1, 4 do
        sum = sum + xor[a % 256][b % 256] * unit
        a, b, unit = floor(a / 256), floor(b / 256), unit * 256
    end
    return sum
end

-- a + b is the exclusive or plus twice what both have.
local function and32(a, b) return (a + b - xor32(a, b)) / 2 end

local function rotate_right(x, n) return floor(x / 2 ^ n) + x % 2 ^ n * 2 ^ (32 - n) end

local function shift_right(x, n) return floor(x / 2 ^ n) end

local function big_endian(x, bytes)
    local out = ""
    for _ = 1, bytes do
        out, x = char(x % 256) .. out, floor(x / 256)
    end
    return out
end

local function xor_strings(a, b)
    local out = {}
    for i = 1, #a do out[i] = char(xor[byte(a, i)][byte(b, i)]) end
    return table.concat(out)
end

-- ---- SHA-256 (FIPS 180-4), HMAC (RFC 2104), HKDF (RFC 5869) ----

-- The first 32 bits behind the point of roots of the first primes, as section 4.2.2 and 5.3.3 define them. A double has
-- more than enough of them.
local round_constants, initial_hash = {}, {}
do
    local candidate = 2
    while #round_constants < 64 do
        local prime = true
        for divisor = 2, floor(candidate ^ 0.5) do
            if candidate % divisor == 0 then prime = false end
        end
        if prime then
            round_constants[#round_constants + 1] = floor(candidate ^ (1 / 3) % 1 * 2 ^ 32)
            if #initial_hash < 8 then initial_hash[#initial_hash + 1] = floor(candidate ^ 0.5 % 1 * 2 ^ 32) end
        end
        candidate = candidate + 1
    end
end

local function sha256(message)
    local padded = message .. "\128" .. rep("\0", (55 - #message) % 64) .. big_endian(#message * 8, 8)
    local hash = {}
    for i = 1, 8 do hash[i] = initial_hash[i] end
    for start = 1, #padded, 64 do
        local w = {}
        for i = 1, 16 do
            local b1, b2, b3, b4 = byte(padded, start + 4 * i - 4, start + 4 * i - 1)
            w[i] = ((b1 * 256 + b2) * 256 + b3) * 256 + b4
        end
        for i = 17, 64 do
            local x, y = w[i - 15], w[i - 2]
            local s0 = xor32(xor32(rotate_right(x, 7), rotate_right(x, 18)), shift_right(x, 3))
            local s1 = xor32(xor32(rotate_right(y, 17), rotate_right(y, 19)), shift_right(y, 10))
            w[i] = (w[i - 16] + s0 + w[i - 7] + s1) % 2 ^ 32
        end
        local a, b, c, d, e, f, g, h = hash[1], hash[2], hash[3], hash[4], hash[5], hash[6], hash[7], hash[8]
        for i = 1, 64 do
            local s1 = xor32(xor32(rotate_right(e, 6), rotate_right(e, 11)), rotate_right(e, 25))
            local choice = xor32(and32(e, f), and32(2 ^ 32 - 1 - e, g))
            local t1 = h + s1 + choice + round_constants[i] + w[i]
            local s0 = xor32(xor32(rotate_right(a, 2), rotate_right(a, 13)), rotate_right(a, 22))
            local majority = xor32(xor32(and32(a, b), and32(a, c)), and32(b, c))
            h, g, f, e, d, c, b, a = g, f, e, (d + t1) % 2 ^ 32, c, b, a, (t1 + s0 + majority) % 2 ^ 32
        end
        for i, word in ipairs({ a, b, c, d, e, f, g, h }) do hash[i] = (hash[i] + word) % 2 ^ 32 end
    end
    local out = ""
    for i = 1, 8 do out = out .. big_endian(hash[i], 4) end
    return out
end

local function hmac(key, message)
    -- No key here is longer than a block.
    local block = key .. rep("\0", 64 - #key)
    return sha256(xor_strings(block, rep("\92", 64)) .. sha256(xor_strings(block, rep("\54", 64)) .. message))
end

local function hkdf(salt, secret, info, length)
    local key, part, out = hmac(salt, secret), "", ""
    for i = 1, math.ceil(length / 32) do
        part = hmac(key, part .. info .. char(i))
        out = out .. part
    end
    return out:sub(1, length)
end

-- ---- AES-128 (FIPS 197) and CCM (RFC 3610) ----

-- In the field of 256 elements: times 2, times 3, and the S-box from inverses and the affine map of section 5.1.1.
local double, triple, sbox = {}, {}, {}
do
    for x = 0, 255 do
        double[x] = x < 128 and 2 * x or xor[2 * x - 256][27]
        triple[x] = xor[double[x]][x]
    end
    local power, log, x = {}, {}, 1
    for i = 0, 254 do
        power[i], log[x] = x, i
        x = triple[x]
    end
    for value = 0, 255 do
        local inverse = value == 0 and 0 or power[(255 - log[value]) % 255]
        local sum, turned = 99, inverse
        for _ = 0, 4 do
            sum = xor[sum][turned]
            turned = turned * 2 % 256 + floor(turned / 128)
        end
        sbox[value] = sum
    end
end

local function expand_key(key)
    local bytes, constant = { byte(key, 1, 16) }, 1
    for at = 17, 176, 4 do
        local a, b, c, d = bytes[at - 4], bytes[at - 3], bytes[at - 2], bytes[at - 1]
        if at % 16 == 1 then
            a, b, c, d = xor[sbox[b]][constant], sbox[c], sbox[d], sbox[a]
            constant = double[constant]
        end
        bytes[at], bytes[at + 1] = xor[bytes[at - 16]][a], xor[bytes[at - 15]][b]
        bytes[at + 2], bytes[at + 3] = xor[bytes[at - 14]][c], xor[bytes[at - 13]][d]
    end
    return bytes
end

-- One block: 16 bytes as a string, under an expanded key.
local function aes(key, block)
    local s = { byte(block, 1, 16) }
    for i = 1, 16 do s[i] = xor[s[i]][key[i]] end
    for round = 1, 10 do
        local t, k = {}, 16 * round
        for column = 0, 12, 4 do
            local a, b = sbox[s[column + 1]], sbox[s[(column + 5) % 16 + 1]]
            local c, d = sbox[s[(column + 10) % 16 + 1]], sbox[s[(column + 15) % 16 + 1]]
            if round < 10 then
                local all = xor[xor[a][b]][xor[c][d]]
                local first = a
                a = xor[a][xor[all][double[xor[a][b]]]]
                b = xor[b][xor[all][double[xor[b][c]]]]
                c = xor[c][xor[all][double[xor[c][d]]]]
                d = xor[d][xor[all][double[xor[d][first]]]]
            end
            t[column + 1], t[column + 2] = xor[a][key[k + column + 1]], xor[b][key[k + column + 2]]
            t[column + 3], t[column + 4] = xor[c][key[k + column + 3]], xor[d][key[k + column + 4]]
        end
        s = t
    end
    return char(unpack(s))
end

-- The text, or nil when the MIC does not verify. A nonce of 13 bytes, no additional data.
local function ccm_open(key, nonce, sealed, mic_len)
    local length = #sealed - mic_len
    local parts = {}
    for i = 1, math.ceil(length / 16) do
        local piece = sealed:sub(16 * i - 15, math.min(16 * i, length))
        parts[i] = xor_strings(piece, aes(key, "\1" .. nonce .. big_endian(i, 2)))
    end
    local text = table.concat(parts)
    local mac = aes(key, char(4 * (mic_len - 2) + 1) .. nonce .. big_endian(length, 2))
    for _, piece in ipairs(parts) do mac = aes(key, xor_strings(piece .. rep("\0", 16 - #piece), mac)) end
    local mic = xor_strings(sealed:sub(length + 1), xor_strings(mac, aes(key, "\1" .. nonce .. "\0\0")))
    return mic == rep("\0", mic_len) and text or nil
end

-- ---- keys and frames: docs/protocol.md, Keys and Network frame ----

local function epoch_keys(net_key, epoch)
    local all = hkdf("mesh-gw v1 net", net_key, big_endian(epoch, 4), 49)
    return {
        epoch = epoch,
        first = epoch % 2 * 64 + byte(all, 1) % 64,
        encryption = expand_key(all:sub(2, 17)),
        privacy = expand_key(all:sub(18, 33)),
    }
end

-- Of the given epoch and, as a rotation may be under way, of the next one.
local function both_keys(hex, epoch)
    local net_key = hex:gsub("%x%x", function(pair) return char(tonumber(pair, 16)) end)
    local next_key = hkdf("", net_key, "mesh-gw v1 ratchet" .. big_endian(epoch + 1, 4), 16)
    return { epoch_keys(net_key, epoch), epoch_keys(next_key, (epoch + 1) % 2 ^ 32) }
end

-- The first byte of the mask, the header behind it, text and MIC. Nil when this reading of R is the wrong one.
local function read(frame, keys, header)
    if #frame < header + 7 then return nil end
    local epoch = big_endian(keys.epoch, 4)
    local mask = aes(keys.privacy, rep("\0", 5) .. epoch .. frame:sub(header + 1, header + 7))
    local head = xor_strings(frame:sub(2, header), mask)
    local flags = byte(head, 1) % 16
    if flags % 4 ~= 0 or (floor(flags / 4) % 2 == 1) ~= (header == 9) then return nil end
    local mic_len = flags >= 8 and 8 or 4
    if #frame < header + 3 + mic_len then return nil end
    local nonce = "\16" .. head:sub(2, 6) .. "\0\0" .. epoch .. "\0"
    local text = ccm_open(keys.encryption, nonce, frame:sub(header + 1), mic_len)
    if not text then return nil end
    return { epoch = keys.epoch, header = header, mask = byte(mask, 1), mic_len = mic_len,
        rest = head:sub(2) .. text .. frame:sub(-mic_len) }
end

-- A continuation frame: what it says in the clear, and HOP. Nil when these keys do not open it.
local function read_continuation(frame, keys)
    if #frame < 13 or #frame > 27 then return nil end
    local epoch = big_endian(keys.epoch, 4)
    local mask = aes(keys.privacy, rep("\0", 5) .. epoch .. frame:sub(7, 13))
    local head = xor_strings(frame:sub(2, 6), mask:sub(1, 5))
    local high = (floor(byte(frame, 1) / 64) + floor(byte(mask, 6) / 64)) % 2
    local low = floor(byte(head, 4) / 128)
    local address = char(byte(head, 4) % 128) .. head:sub(5, 5)
    local nonce = "\16" .. head:sub(1, 3) .. address .. "\1\0" .. epoch .. "\0"
    local text = ccm_open(keys.encryption, nonce, frame:sub(7), 4)
    if not text then return nil end
    return { epoch = keys.epoch, hop = 2 * high + low },
        frame:sub(1, 1) .. head:sub(1, 3) .. address .. text .. frame:sub(-4)
end

local function open_continuation(frame, ring)
    for _, keys in ipairs(ring) do
        if keys.first % 64 == byte(frame, 1) % 64 then
            local found, clear = read_continuation(frame, keys)
            if found then return found, clear end
        end
    end
    return nil
end

-- What has been opened: copies and relays of a frame differ only in TTL, and Wireshark asks for every packet many times.
local opened, opened_count, OPENED_MAX = {}, 0, 20000 -- a guess: some 10 MB

local function open(frame, ring)
    local name = frame:sub(1, 1) .. char(byte(frame, 2) % 16) .. frame:sub(3)
    local found = opened[name]
    if found == nil then
        found = false
        for _, keys in ipairs(ring) do
            if keys.first == byte(frame, 1) then
                found = found or read(frame, keys, 7) or read(frame, keys, 9) or false
            end
        end
        if opened_count >= OPENED_MAX then opened, opened_count = {}, 0 end
        opened[name], opened_count = found, opened_count + 1
    end
    if not found then return nil end
    return found, frame:sub(1, 1) .. char(xor[byte(frame, 2)][found.mask]) .. found.rest
end

-- ---- fields ----

local proto = Proto("mesh_gw", "Mesh Gateway")
proto.prefs.net_key = Pref.string("Network key", "", "32 hexadecimal digits; empty to show only what is not encrypted")
proto.prefs.epoch = Pref.uint("Epoch", 0, "The epoch of this key. Frames of the next one are opened too")
proto.prefs.company = Pref.uint("Company identifier", 65535,
    "Under which frames travel: 65535 unless the settings name another")

local PRIORITIES = { [0] = "CRITICAL", "HIGH", "MEDIUM", "LOW" }
local KINDS = { [0] = "single", "segment", "control", "reserved" }
local OPCODES = { "hello", "ack", "receipt", "who-has", "here", "route request", "route reply", "route broken", [9] = "hop ack", [10] = "nack",
    [11] = "undelivered", [12] = "ping", [13] = "pong", [14] = "trace", [15] = "trace answer", [16] = "tally" }
local WHYS = { "no next hop passes it on", "it has waited too long", "it had to give way to others" }
local KEPT = { [8] = "keep", [9] = "on behalf", [10] = "settled" }
local TYPES = { [0] = "TASK", "QUERY", "RESPONSE", "NOTIFICATION", "PARAMETER_UPDATE" }
local VERDICTS = {
    [0x0100] = "delivered", [0x0200] = "processed", [0x0301] = "rejected: no such agent",
    [0x0302] = "rejected: inbox full", [0x0303] = "rejected: too large", [0x0304] = "rejected: expired on arrival",
    [0x0305] = "rejected: storage", [0x0306] = "rejected: malformed",
    [0x0307] = "rejected: unknown context, say the names again", [0x0308] = "rejected: forgotten", [0x0400] = "restart",
}

local f = {}
local function field(kind, name, title, ...) f[name] = ProtoField[kind]("mesh_gw." .. name, title, ...) end
field("uint8", "version", "Version", base.DEC, nil, 0x80)
field("uint8", "epoch_bit", "Low bit of the epoch", base.DEC, nil, 0x40)
field("uint8", "nid", "NID", base.HEX, nil, 0x3f)
field("bytes", "masked", "Masked header")
field("bytes", "sealed", "Encrypted, with MIC")
field("uint32", "epoch", "Epoch", base.DEC)
field("uint8", "ttl", "TTL", base.DEC, nil, 0xf0)
field("bool", "long_mic", "MIC of 8 bytes", 8, nil, 0x08)
field("bool", "has_next", "Has NEXT", 8, nil, 0x04)
field("uint24", "seq", "SEQ", base.DEC)
field("uint16", "src", "SRC", base.HEX)
field("uint16", "next", "NEXT", base.HEX)
field("uint16", "dst", "DST", base.HEX)
field("uint8", "priority", "Priority", base.DEC, PRIORITIES, 0xc0)
field("uint8", "kind", "Kind", base.DEC, KINDS, 0x30)
field("uint8", "ttl0", "TTL0", base.DEC, nil, 0x0f)
field("uint8", "hops", "Hops", base.DEC)
field("uint8", "hop", "HOP: passed on so often, modulo 4", base.DEC)
field("bool", "continued", "The others come in continuation frames", 8, nil, 0x80)
field("bytes", "body", "Body")
field("bytes", "mic", "MIC")
field("bool", "mic_ok", "MIC verifies")
field("uint32", "message", "Message number", base.DEC)
field("uint16", "transfer", "Transfer", base.DEC)
field("uint8", "segment", "Segment", base.DEC)
field("uint8", "last_segment", "Last segment", base.DEC)
field("bytes", "segment_data", "Piece of the block")
field("uint8", "opcode", "Control message", base.HEX, OPCODES)
field("uint8", "hello_count", "Count", base.DEC)
field("bool", "hello_long", "Hears long frames", 8, nil, 0x01)
field("bool", "hello_relays", "Relays", 8, nil, 0x02)
field("bool", "hello_backbone", "Of the backbone", 8, nil, 0x04)
field("uint8", "hello_pace", "Pause to the next, 2 to that power of seconds", base.DEC, nil, 0xf0)
field("uint16", "neighbour", "Neighbour, low 12 bits", base.HEX, nil, 0x0fff)
field("uint16", "delivery", "Delivery in 15ths", base.DEC, nil, 0xf000)
field("uint16", "route_to", "Route to", base.HEX)
field("uint16", "route_from", "Searched by", base.HEX)
field("uint16", "route_target", "Who is to answer", base.HEX)
field("uint16", "route_seqno", "As new as", base.DEC)
field("uint8", "route_cost", "Cost in eighths of a transmission", base.DEC)
field("uint8", "route_ttl", "Hops that it may go on", base.DEC, nil, 0xf0)
field("uint8", "route_hops", "Hops so far", base.DEC, nil, 0x0f)
field("uint8", "reply_hops", "Hops to it", base.DEC)
field("uint8", "ack_base", "Segments held below", base.DEC)
field("bytes", "ack_behind", "Held behind that")
field("uint8", "nack_base", "First segment missing", base.DEC)
field("uint32", "nack_behind", "Missing behind that", base.HEX)
field("uint16", "probe", "Question", base.DEC)
field("uint8", "trace_hop", "Hops from the origin", base.DEC, nil, 0x7f)
field("bool", "trace_keeps", "Keeps messages for others", 8, nil, 0x80)
field("uint16", "trace_next", "Passed on to", base.HEX)
field("uint8", "trace_link", "Its frames that arrive there, in 255ths", base.DEC)
field("uint16", "tally_of", "Message of node", base.HEX)
field("uint16", "tally", "So many more have it", base.DEC)
field("uint16", "verdict", "Verdict", base.HEX, VERDICTS)
field("bytes", "name_hash", "Hash of the agent's name")
field("uint16", "hop_src", "Frames of node", base.HEX)
field("uint24", "hop_seq", "SEQ of the frame", base.DEC)
field("uint8", "hop_before", "Those before it, too", base.HEX)
field("uint8", "why", "Why", base.DEC, WHYS)
field("uint8", "type", "Type of message", base.DEC, TYPES, 0x07)
field("bool", "processed", "Wants to hear when processed", 8, nil, 0x20)
field("uint8", "defines", "Defines context", base.DEC, nil, 0xf8)
field("uint8", "context", "By context", base.DEC, nil, 0xf8)
field("uint8", "kept", "Kept message", base.DEC, KEPT)
field("uint32", "kept_for", "For node", base.HEX)
field("uint32", "kept_seconds", "For so many seconds", base.DEC)
field("uint32", "kept_of", "Of node", base.HEX)
field("uint32", "kept_message", "Message number there", base.DEC)
field("uint32", "kept_hops", "Hops from here", base.DEC)
field("string", "from", "Sending agent")
field("string", "to", "Receiving agent")
field("uint32", "reply_node", "Answers a message of node", base.HEX)
field("uint32", "reply_message", "Answers message number", base.DEC)
field("bytes", "content", "Content")
field("string", "text", "Text")
local list = {}
for _, one in pairs(f) do list[#list + 1] = one end
proto.fields = list

local group, severity = expert.group, expert.severity
local no_key = ProtoExpert.new("mesh_gw.not_opened", "No key of the preferences opens this frame",
    group.DECRYPTION, severity.WARN)
local bad_key = ProtoExpert.new("mesh_gw.bad_key",
    "The network key in the preferences must be 32 hexadecimal digits", group.DECRYPTION, severity.WARN)
local malformed = ProtoExpert.new("mesh_gw.malformed", "The body is not as its kind wants it",
    group.MALFORMED, severity.NOTE)
proto.experts = { no_key, bad_key, malformed }

-- ---- what a body is: docs/protocol.md ----

-- The number at `at`, and where the next byte is; nil when it has no end.
local function varint(tvb, at)
    local value, unit = 0, 1
    for i = at, math.min(at + 4, tvb:len() - 1) do
        local b = tvb(i, 1):uint()
        value, unit = value + b % 128 * unit, unit * 128
        if b < 128 then return value, i + 1 end
    end
    return nil
end

-- Adds a varint; where the next byte is, or nil.
local function add_varint(tree, which, tvb, at)
    local value, after = varint(tvb, at)
    -- The longest has bits beyond the 32 that a field holds.
    if not value or value >= 2 ^ 32 then return nil end
    tree:add(which, tvb(at, after - at), value)
    return after, value
end

-- The rest, if there is any.
local function add_rest(tree, which, tvb, at)
    if at < tvb:len() then tree:add(which, tvb(at)) end
end

-- Each of these says whether what it shows is as it should be.

-- An envelope that says all, from its type on.
local function whole(tvb, at, tree)
    if at >= tvb:len() then return false end
    local flags = tvb(at, 1):uint()
    local function has(bit) return floor(flags / bit) % 2 == 1 end
    tree:add(f.type, tvb(at, 1))
    tree:add(f.processed, tvb(at, 1))
    if flags % 8 > 4 or has(8) then return false end
    at = at + 1
    if has(16) then
        for _, which in ipairs({ f.from, f.to }) do
            if at >= tvb:len() then return false end
            local len = tvb(at, 1):uint()
            if len > 32 or at + 1 + len > tvb:len() then return false end
            if len > 0 then tree:add(which, tvb(at + 1, len)) end
            at = at + 1 + len
        end
    end
    if has(64) then
        for _, which in ipairs({ f.reply_node, f.reply_message }) do
            at = add_varint(tree, which, tvb, at)
            if not at then return false end
        end
    end
    add_rest(tree, has(128) and f.text or f.content, tvb, at)
    return true
end

local function envelope(tvb, at, tree)
    if at >= tvb:len() then return false end
    local flags = tvb(at, 1):uint()
    tree = tree:add(proto, tvb(at), "Envelope")
    local form = flags % 8
    if form == 5 or form == 7 then
        -- Type, flags and names were said in an earlier message; whether this is text, too.
        tree:add(f.context, tvb(at, 1))
        at = at + 1
        if form == 5 then
            at = add_varint(tree, f.reply_message, tvb, at)
            if not at then return false end
        end
        add_rest(tree, f.content, tvb, at)
        return true
    end
    if form == 6 then
        tree:add(f.defines, tvb(at, 1))
        at = at + 1
    end
    if KEPT[flags] then
        tree:add(f.kept, tvb(at, 1))
        at = at + 1
        local first = ({ [8] = f.kept_for, [9] = f.kept_of, [10] = f.kept_hops })[flags]
        for _, which in ipairs({ first, flags == 8 and f.kept_seconds or f.kept_message }) do
            at = add_varint(tree, which, tvb, at)
            if not at then return false end
        end
        if flags == 10 then
            if at + 2 ~= tvb:len() then return false end
            tree:add(f.verdict, tvb(at, 2))
            return VERDICTS[tvb(at, 2):uint()] ~= nil
        end
    end
    return whole(tvb, at, tree)
end

local function single(tvb, tree)
    local at = add_varint(tree, f.message, tvb, 0)
    return at ~= nil and envelope(tvb, at, tree)
end

local function segment(tvb, tree)
    if tvb:len() < 4 then return false end
    local bits = tvb(0, 3):uint()
    local offset, last, len = floor(bits / 64) % 64, bits % 64, tvb:len() - 3
    local continued = bits >= 0x800000
    tree:add(f.continued, tvb(0, 1))
    tree:add(f.transfer, tvb(0, 2), floor(bits / 4096) % 1024)
    tree:add(f.segment, tvb(1, 2), offset)
    tree:add(f.last_segment, tvb(2, 1), last)
    tree:add(f.segment_data, tvb(3))
    if continued and (offset > 0 or last == 0) or floor(bits / 0x400000) % 2 == 1 then return false end
    local before = continued and len + 15 * (last - 1) or len * last
    return offset == last and len <= 226 or offset < last and len >= 8 and len <= 226 and before < 640
end

local function control(tvb, tree)
    local len = tvb:len()
    if len == 0 then return false end
    local opcode = tvb(0, 1):uint()
    tree:add(f.opcode, tvb(0, 1))
    local is_node = function(at) return tvb(at, 2):uint() > 0 and tvb(at, 2):uint() < 0x8000 end
    if opcode == 1 and len >= 3 and len <= 9 and len % 2 == 1 then
        tree:add(f.hello_count, tvb(1, 1))
        for _, name in ipairs({ "hello_long", "hello_relays", "hello_backbone", "hello_pace" }) do
            tree:add(f[name], tvb(2, 1))
        end
        for at = 3, len - 1, 2 do
            tree:add(f.neighbour, tvb(at, 2))
            tree:add(f.delivery, tvb(at, 2))
        end
        return floor(tvb(2, 1):uint() / 8) % 2 == 0
    elseif opcode == 6 and len == 9 then
        tree:add(f.route_to, tvb(1, 2))
        tree:add(f.route_target, tvb(3, 2))
        tree:add(f.route_seqno, tvb(5, 2))
        tree:add(f.route_cost, tvb(7, 1))
        tree:add(f.route_ttl, tvb(8, 1))
        tree:add(f.route_hops, tvb(8, 1))
        return is_node(1) and (is_node(3) or tvb(3, 2):uint() == 0xffff)
    elseif opcode == 7 and len == 9 then
        tree:add(f.route_to, tvb(1, 2))
        tree:add(f.route_from, tvb(3, 2))
        tree:add(f.route_seqno, tvb(5, 2))
        tree:add(f.route_cost, tvb(7, 1))
        tree:add(f.reply_hops, tvb(8, 1))
        return is_node(1) and is_node(3)
    elseif opcode == 8 and len == 5 then
        tree:add(f.route_to, tvb(1, 2))
        tree:add(f.route_seqno, tvb(3, 2))
        return is_node(1)
    elseif opcode == 2 and len == 7 then
        local head, behind = tvb(1, 2):uint(), tvb(3, 4):uint()
        -- A base of 64 is written as 63 and the segment behind it.
        local whole = head % 64 == 63 and behind == 1
        tree:add(f.transfer, tvb(1, 2), floor(head / 64))
        tree:add(f.ack_base, tvb(2, 1), whole and 64 or head % 64)
        tree:add(f.ack_behind, tvb(3, 4))
        return head % 64 < 63 or behind <= 1
    elseif opcode == 3 and len == 7 then
        tree:add(f.message, tvb(1, 4))
        tree:add(f.verdict, tvb(5, 2))
        return VERDICTS[tvb(5, 2):uint()] ~= nil
    elseif (opcode == 4 or opcode == 5) and len == 7 then
        tree:add(f.name_hash, tvb(1, 6))
        return true
    elseif opcode == 9 and len == 7 then
        tree:add(f.hop_src, tvb(1, 2))
        tree:add(f.hop_seq, tvb(3, 3))
        tree:add(f.hop_before, tvb(6, 1))
        return tvb(1, 2):uint() > 0 and tvb(1, 2):uint() < 0x8000
    elseif opcode == 11 and len == 5 then
        tree:add(f.hop_seq, tvb(1, 3))
        tree:add(f.why, tvb(4, 1))
        return WHYS[tvb(4, 1):uint()] ~= nil
    elseif opcode == 10 and len == 7 then
        local head = tvb(1, 2):uint()
        tree:add(f.transfer, tvb(1, 2), floor(head / 64))
        tree:add(f.nack_base, tvb(2, 1), head % 64)
        tree:add(f.nack_behind, tvb(3, 4))
        return true
    elseif (opcode == 12 or opcode == 13) and len == 3 then
        tree:add(f.probe, tvb(1, 2))
        return true
    elseif opcode == 14 and len == 2 then
        tree:add(f.probe, tvb(1, 1))
        return true
    elseif opcode == 15 and len == 6 then
        tree:add(f.probe, tvb(1, 1))
        tree:add(f.trace_hop, tvb(2, 1))
        tree:add(f.trace_keeps, tvb(2, 1))
        tree:add(f.trace_next, tvb(3, 2))
        tree:add(f.trace_link, tvb(5, 1))
        local next_hop = tvb(3, 2):uint()
        return tvb(2, 1):uint() % 128 <= 15 and (next_hop < 0x8000 or next_hop == 0xffff)
    elseif opcode == 16 and len == 9 then
        tree:add(f.tally_of, tvb(1, 2))
        tree:add(f.message, tvb(3, 4))
        tree:add(f.tally, tvb(7, 2))
        return tvb(7, 2):uint() > 0 and tvb(1, 2):uint() > 0 and tvb(1, 2):uint() < 0x8000
    end
    return false
end

-- ---- the frame ----

local BODIES = { [0] = single, segment, control }

local function show_opened(tree, pinfo, found, clear)
    local tvb = ByteArray.new(clear, true):tvb("Mesh frame in the clear")
    local header, ends = found.header, tvb:len() - found.mic_len
    tree:add(f.epoch, tvb(0, 1), found.epoch):set_generated()
    for _, name in ipairs({ "ttl", "long_mic", "has_next" }) do tree:add(f[name], tvb(1, 1)) end
    tree:add(f.seq, tvb(2, 3))
    tree:add(f.src, tvb(5, 2))
    if header == 9 then tree:add(f.next, tvb(7, 2)) end
    tree:add(f.dst, tvb(header, 2))
    for _, name in ipairs({ "priority", "kind", "ttl0" }) do tree:add(f[name], tvb(header + 2, 1)) end
    local inner, ttl = tvb(header + 2, 1):uint(), floor(tvb(1, 1):uint() / 16)
    local priority, kind, ttl0 = floor(inner / 64), floor(inner / 16) % 4, inner % 16
    local well = ttl <= ttl0
    if well then tree:add(f.hops, tvb(1, 1), ttl0 - ttl + 1):set_generated() end
    if ends > header + 3 then
        local range = tvb(header + 3, ends - header - 3)
        local body = tree:add(f.body, range)
        well = BODIES[kind] and BODIES[kind](range:tvb(), body) and well
    else
        well = false
    end
    tree:add(f.mic, tvb(ends))
    tree:add(f.mic_ok, tvb(ends), true):set_generated()
    if not well then tree:add_proto_expert_info(malformed) end
    local line = string.format("%04x > %04x  %s %s  SEQ %d  TTL %d of %d", tvb(5, 2):uint(), tvb(header, 2):uint(),
        PRIORITIES[priority], KINDS[kind], tvb(2, 3):uint(), ttl, ttl0)
    tree:append_text(": " .. line)
    pinfo.cols.info = line
end

local function show_continuation(tree, pinfo, found, clear)
    local tvb = ByteArray.new(clear, true):tvb("Mesh frame in the clear")
    local bits, ends = tvb(6, 2):uint(), tvb:len() - 4
    tree:add(f.epoch, tvb(0, 1), found.epoch):set_generated()
    tree:add(f.hop, tvb(0, 6), found.hop)
    tree:add(f.seq, tvb(1, 3))
    tree:add(f.src, tvb(4, 2))
    tree:add(f.transfer, tvb(6, 2), floor(bits / 64))
    tree:add(f.segment, tvb(7, 1), bits % 64)
    tree:add(f.segment_data, tvb(8, ends - 8))
    tree:add(f.mic, tvb(ends))
    tree:add(f.mic_ok, tvb(ends), true):set_generated()
    if bits % 64 == 0 then tree:add_proto_expert_info(malformed) end
    local line = string.format("%04x  continuation  SEQ %d  HOP %d  transfer %d segment %d", tvb(4, 2):uint(),
        tvb(1, 3):uint(), found.hop, floor(bits / 64), bits % 64)
    tree:append_text(": " .. line)
    pinfo.cols.info = line
end

-- Derived anew when the preferences have changed.
local ring, ring_of = nil, nil

local function current_ring()
    local hex, epoch = proto.prefs.net_key:gsub("[%s:]", ""), proto.prefs.epoch
    local name = hex .. "/" .. epoch
    if name ~= ring_of then
        ring_of, opened, opened_count = name, {}, 0
        if hex == "" then
            ring = {}
        else
            ring = #hex == 32 and hex:match("^%x+$") and both_keys(hex, epoch) or nil
        end
    end
    return ring
end

function proto.dissector(tvb, pinfo, tree)
    local len = tvb:len()
    -- The company identifier is for everyone's tests: what cannot be a frame is left to others.
    local continuation = tvb(0, 1):uint() >= 128
    if len < (continuation and 13 or 14) or len > (continuation and 27 or 245) then return 0 end
    local header = continuation and 6 or 7
    pinfo.cols.protocol = "Mesh GW"
    local top = tree:add(proto, tvb())
    for _, name in ipairs({ "version", "epoch_bit", "nid" }) do top:add(f[name], tvb(0, 1)) end
    -- Whether NEXT is masked behind it too is known only with the key.
    top:add(f.masked, tvb(1, header - 1))
    top:add(f.sealed, tvb(header))
    local keys = current_ring()
    if not keys then
        top:add_proto_expert_info(bad_key)
    elseif #keys > 0 then
        local found, clear = (continuation and open_continuation or open)(tvb:raw(), keys)
        if found then
            (continuation and show_continuation or show_opened)(top, pinfo, found, clear)
        else
            top:add(f.mic_ok, tvb(), false):set_generated()
            top:add_proto_expert_info(no_key)
        end
    end
    return len
end

-- ---- where Wireshark finds it ----

local companies, registered = DissectorTable.get("btcommon.eir_ad.manufacturer_company_id"), nil

local function register()
    if registered then companies:remove(registered, proto) end
    registered = proto.prefs.company
    companies:add(registered, proto)
end

function proto.prefs_changed()
    if proto.prefs.company ~= registered then register() end
end

register()
