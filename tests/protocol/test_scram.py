"""SCRAM (RFC 5802, RFC 7677): test vectors, and messages that are wrong."""

from base64 import b64decode, b64encode

import pytest

from aiomqtt.protocol.scram import (
    ClientExchange,
    Keys,
    ScramError,
    ServerExchange,
    check_nonce,
    decode_name,
    derive_keys,
    encode_name,
    saslprep,
)

# RFC 5802 §5 and RFC 7677 §3
VECTORS = {
    "sha1": (
        b"n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL",
        b"r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
        (
            b"c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,"
            b"p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts="
        ),
        b"v=rmF9pqV8S7suAoZWja4dJRkFsKQ=",
    ),
    "sha256": (
        b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
        (
            b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
            b"s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
        ),
        (
            b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
            b"p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
        ),
        b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
    ),
}


def nonces(digest):
    """The client's nonce, and what the server adds to it."""
    client_first, server_first, _, _ = VECTORS[digest]
    own = client_first.partition(b"r=")[2].decode()
    both = server_first.partition(b",")[0].removeprefix(b"r=").decode()
    return own, both.removeprefix(own)


@pytest.mark.parametrize("digest", VECTORS)
def test_the_vectors_of_the_standard(digest):
    client_first, server_first, client_final, server_final = VECTORS[digest]
    own, added = nonces(digest)
    client = ClientExchange("user", own, digest)
    assert client.first() == client_first
    server = ServerExchange(client_first, added, digest)
    assert server.username == "user"
    first = client.read_first(server_first, 4096)
    assert server.first(first.salt, first.iterations) == server_first
    keys = derive_keys("pencil", first.salt, first.iterations, digest)
    assert client.final(keys) == client_final
    assert server.final(client_final, keys.stored, keys.server) == server_final
    client.verify(server_final, keys)


def test_the_keys_are_not_shown():
    assert repr(Keys(b"secret", b"secret", b"secret")) == "Keys()"


# --- SASLprep ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "prepared"),
    [
        # RFC 4013 §3
        ("I\u00adX", "IX"),
        ("user", "user"),
        ("USER", "USER"),
        ("\u00aa", "a"),
        ("\u2168", "IX"),
        # Other spaces, and Hebrew alone
        ("a\u00a0b\u3000c", "a b c"),
        ("\u05d0\u05d1", "\u05d0\u05d1"),
        ("\u0627\u0031\u0628", "\u06271\u0628"),
        ("pässwörd", "pässwörd"),
    ],
)
def test_saslprep(text, prepared):
    assert saslprep(text, "name", is_stored=True) == prepared


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("\u0007", "control"),  # RFC 4013 §3
        ("\u0627\u0031", "directions"),  # RFC 4013 §3
        ("\u0627a\u0627", "directions"),
        ("a\u0627", "directions"),
        ("", "empty"),
        ("\u00ad", "empty"),
        ("a\u0000", "control"),
        ("a\ue000", "private"),
        ("a\ud800", "control"),
        ("a\U000e0001", "control"),
        ("a\u202eb", "control"),
        ("key\U0001f511", "emoji"),
    ],
)
def test_what_saslprep_does_not_allow(text, reason):
    with pytest.raises(ValueError, match=reason) as raised:
        saslprep(text, "the thing", is_stored=True)
    assert str(raised.value).startswith("the thing must not")
    assert "key" not in str(raised.value)


def test_a_name_may_have_characters_that_are_newer_than_saslprep():
    assert saslprep("\U0001f511", "name", is_stored=False) == "\U0001f511"


@pytest.mark.parametrize(
    ("name", "encoded"), [("a,b=c", "a=2Cb=3Dc"), ("=2C", "=3D2C"), ("a", "a")]
)
def test_commas_and_equals_signs_in_a_name(name, encoded):
    assert encode_name(name) == encoded
    assert decode_name(encoded) == name


@pytest.mark.parametrize("name", ["a=b", "=", "=2", "=2c", "a=3d"])
def test_a_name_that_is_not_encoded(name):
    with pytest.raises(ScramError, match="encoded"):
        decode_name(name)


@pytest.mark.parametrize("nonce", ["", "a,b", "a b", "ä", "\x7f", "a\n"])
def test_a_nonce_that_no_message_carries(nonce):
    with pytest.raises(ValueError, match="printable ASCII"):
        check_nonce(nonce)


# --- the client reads ----------------------------------------------------------------

OWN = "rOprNGfwEbeRWgbNEkqO"
SALT = "W22ZaJ0SNY7soEsUEjb6gQ=="


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (None, "does not begin with r, s, i"),
        (b"", "does not begin with r, s, i"),
        (b"\xff", "not UTF-8"),
        (f"m=x,r={OWN}x,s={SALT},i=4096".encode(), "extension"),
        (f"r={OWN}x,i=4096,s={SALT}".encode(), "does not begin"),
        (f"r={OWN}x,s={SALT}".encode(), "does not begin"),
        (f"r={OWN},s={SALT},i=4096".encode(), "nonce"),
        (f"r=x{OWN},s={SALT},i=4096".encode(), "nonce"),
        (f"r={OWN}x,s=,i=4096".encode(), "salt is empty"),
        (f"r={OWN}x,s=%,i=4096".encode(), "salt is not Base64"),
        (f"r={OWN}x,s=ä,i=4096".encode(), "salt is not Base64"),
        (f"r={OWN}x,s={SALT},i=4095".encode(), "4096 to 5000, not 4095"),
        (f"r={OWN}x,s={SALT},i=5001".encode(), "4096 to 5000, not 5001"),
        (f"r={OWN}x,s={SALT},i=".encode(), "iteration count"),
        (f"r={OWN}x,s={SALT},i=-4096".encode(), "iteration count"),
        (f"r={OWN}x,s={SALT},i=04096".encode(), "iteration count"),
        (f"r={OWN}x,s={SALT},i={'9' * 5000}".encode(), "iteration count"),
        (f"r={OWN}x,s={SALT},i=\N{ARABIC-INDIC DIGIT ONE}".encode(), "iteration"),
    ],
)
def test_a_first_message_of_the_server_that_is_wrong(message, reason):
    with pytest.raises(ScramError, match=reason) as raised:
        ClientExchange("user", OWN).read_first(message, 5000)
    assert len(str(raised.value)) < 100


def test_extensions_are_ignored():
    client = ClientExchange("user", OWN)
    message = f"r={OWN}x,s={SALT},i=4096,x=anything".encode()
    assert client.read_first(message, 5000).iterations == 4096


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (None, "does not begin with v"),
        (b"", "does not begin with v"),
        (b"x=1", "does not begin with v"),
        (b"e=invalid-proof", "it refused: invalid-proof"),
        (b"e=\x1b[31m", r"it refused: \\x1b"),
        (b"v=", "signature is wrong"),
        (b"v=%", "not Base64"),
        (b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G8=", "signature is wrong"),
        (b"v=6rri", "signature is wrong"),
    ],
)
def test_a_server_that_has_not_proved_who_it_is(message, reason):
    client = ClientExchange("user", OWN)
    first = client.read_first(VECTORS["sha256"][1], 5000)
    keys = derive_keys("pencil", first.salt, first.iterations)
    client.final(keys)
    with pytest.raises(ScramError, match=reason):
        client.verify(message, keys)


# --- the server reads ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (None, "without channel binding"),
        (b"", "without channel binding"),
        (b"n,n=user", "without channel binding"),
        (b"p=tls-unique,,n=user,r=x", "without channel binding"),
        (b"x,,n=user,r=x", "without channel binding"),
        (b"n,\xff,n=user,r=x", "not UTF-8"),
        (b"n,,n=\xff,r=x", "not UTF-8"),
        (b"n,a=admin,n=user,r=x", "authorization identity"),
        (b"n,b=user,n=user,r=x", "authorization identity"),
        (b"n,,m=1,n=user,r=x", "extension"),
        (b"n,,r=x,n=user", "does not begin with n, r"),
        (b"n,,n=user", "does not begin with n, r"),
        (b"n,,n=user,r=", "printable"),
        (b"n,,n=user,r=a b", "printable"),
        (b"n,,n=,r=x", "empty"),
        (b"n,,n=a\x07,r=x", "control"),
        (b"n,,n=a=b,r=x", "encoded"),
    ],
)
def test_a_first_message_of_the_client_that_is_wrong(message, reason):
    with pytest.raises(ScramError, match=reason):
        ServerExchange(message, "y")


@pytest.mark.parametrize("header", [b"y,,", b"n,a=user,", b"y,a=user,"])
def test_headers_without_channel_binding(header):
    server = ServerExchange(header + b"n=user,r=x", "y")
    assert server.username == "user"
    assert server.first(b"salt", 4096) == b"r=xy,s=c2FsdA==,i=4096"
    keys = derive_keys("pencil", b"salt", 4096)
    final = b"c=" + b64encode(header) + b",r=xy,p=" + b64encode(bytes(32))
    with pytest.raises(ScramError, match="proof is wrong"):
        server.final(final, keys.stored, keys.server)


PROOF = "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (None, "does not begin with c, r"),
        (b"", "does not begin with c, r"),
        (b"c=biws,p=x", "does not begin with c, r"),
        (f"c=eSws,r={{nonce}},p={PROOF}".encode(), "channel binding"),
        (f"c=%,r={{nonce}},p={PROOF}".encode(), "channel binding"),
        (f"c=biws,r=other,p={PROOF}".encode(), "nonce"),
        (f"c=biws,r=ä,p={PROOF}".encode(), "nonce"),
        (b"c=biws,r={nonce}", "no proof"),
        (b"c=biws,r={nonce},p=%", "not Base64"),
        (b"c=biws,r={nonce},p=", "wrong length"),
        (b"c=biws,r={nonce},p=AAAA", "wrong length"),
        (f"c=biws,r={{nonce}},p=e{PROOF[1:]}".encode(), "proof is wrong"),
        (f"c=biws,r={{nonce}},x=1,p={PROOF}".encode(), "proof is wrong"),
    ],
)
def test_a_final_message_of_the_client_that_is_wrong(message, reason):
    client_first, server_first, client_final, _ = VECTORS["sha256"]
    own, added = nonces("sha256")
    server = ServerExchange(client_first, added)
    server.first(b64decode(SALT), 4096)
    keys = derive_keys("pencil", b64decode(SALT), 4096)
    if message is not None:
        message = message.replace(b"{nonce}", (own + added).encode())
    with pytest.raises(ScramError, match=reason):
        server.final(message, keys.stored, keys.server)
    server.final(client_final, keys.stored, keys.server)
    assert server_first
