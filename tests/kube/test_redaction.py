"""plugin.kube.redaction: no secret is shown, in whole or in a long part, plain or in base64."""

from __future__ import annotations

import base64
import html
import json
import random
import re
from urllib.parse import quote

import pytest

from plugin.kube import redaction

SECRET = "k8s-aws-v1.aHR0cHM6Ly9zdHMuZXUtd2VzdC0z_Lm-Fm/YXdz+LmNvbS8/QWN0aW9u"
TEXT = 'nodes "vm-002" is forbidden: User "system:node:vm-001" cannot get resource "nodes"'


@pytest.fixture(autouse=True)
def known(secrets: None) -> None:
    """One secret."""
    redaction.register(SECRET)


def parts(secret: str, size: int = 8) -> set[str]:
    """Every part of this size."""
    return {secret[at : at + size] for at in range(len(secret) - size + 1)}


def encoded(text: str) -> str:
    """The text in base64."""
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize("before", ["", "x", "Bearer ", "Authorization: Bearer ", "äöü"])
@pytest.mark.parametrize("after", ["", "y", "\r\nHost: example", ", "])
def test_whole(before: str, after: str) -> None:
    """The secret is replaced, and the text around it stays."""
    assert redaction.redact(before + SECRET + after) == f"{before}[redacted]{after}"


@pytest.mark.parametrize("before", ["", "x", "xy", "Authorization: Bearer "])
@pytest.mark.parametrize("after", ["", "y", "yz", "yz!"])
def test_base64(before: str, after: str) -> None:
    """Its base64 form is replaced as well, in both alphabets, at any offset in the encoded text."""
    for shown in (encoded(before + SECRET + after), encoded(before + SECRET + after).translate({43: 45, 47: 95})):
        redacted = redaction.redact(shown)
        assert len(redacted.replace("[redacted]", "")) <= len(encoded(before)) + len(encoded(after)) + 4
        assert "[redacted]" in redacted


PASSWORD = 'pässwörter\'s horse/battery+staple&<"3">'
ESCAPED = {
    "URL": quote(PASSWORD, safe=""),
    "path of a URL": quote(PASSWORD),
    "small letters in a URL": re.sub("%..", lambda match: match[0].lower(), quote(PASSWORD, safe="")),
    "URL in a URL": quote(quote(PASSWORD, safe=""), safe=""),
    "URL in a URL in a URL": quote(quote(quote(PASSWORD, safe=""), safe=""), safe=""),
    "HTML": html.escape(PASSWORD),
    "HTML by numbers": "".join(f"&#{ord(each)};" for each in PASSWORD),
    "JSON": json.dumps(PASSWORD),
    "JSON in JSON": json.dumps(json.dumps(PASSWORD)),
    "JSON by Go": json.dumps(PASSWORD, ensure_ascii=False).replace("&", "\\u0026").replace("<", "\\u003c"),
    "JSON by PHP": json.dumps(PASSWORD).replace("/", "\\/"),
    "bytes": PASSWORD.encode().decode("latin-1"),
}


@pytest.mark.parametrize("shown", ESCAPED.values(), ids=ESCAPED)
def test_escaped(shown: str) -> None:
    """A secret is also known with the escapes of URLs, HTML and JSON; text with escapes stays as it was."""
    redaction.register(PASSWORD)
    assert redaction.redact(f"a%20b&lt;({shown})\\n%") in {
        "a%20b&lt;([redacted])\\n%",
        'a%20b&lt;("[redacted]")\\n%',
        'a%20b&lt;("\\"[redacted]\\"")\\n%',
    }


def test_every_part() -> None:
    """A part of eight characters is replaced, one of seven is not, wherever they are in the secret."""
    for part in parts(SECRET):
        assert redaction.redact(f"({part})") == "([redacted])"
        assert redaction.redact(f"({part[:7]})") == f"({part[:7]})"


def test_several_parts() -> None:
    """Parts in any order, next to one another and twice, are all replaced."""
    chosen = random.Random(1)
    for _ in range(200):
        ends = sorted(chosen.sample(range(len(SECRET)), 2))
        shown = "".join(SECRET[ends[0] : ends[1]] + chosen.choice(["", " ", "…"]) for _ in range(3))
        assert not parts(SECRET) & parts(redaction.redact(shown))


def test_other_text_stays() -> None:
    """Text without a part of a secret is unchanged."""
    for text in ("", "a", TEXT, "[redacted]", "k8s-aws-"[:7], "\0" * 20):
        assert redaction.redact(text) == text


@pytest.mark.parametrize("secret", ["hunter", "pass", "sekrit1"])
def test_short_secret(secret: str) -> None:
    """A short secret is replaced as a whole; one of three characters would be in any text."""
    redaction.register(secret)
    redaction.register("abc")
    assert redaction.redact(f"User {secret}: abc {secret[:-1]}") == f"User [redacted]: abc {secret[:-1]}"


def test_text_that_must_not_change_by_chance() -> None:
    """With least, a part is replaced from that length on, and no short secret."""
    redaction.register("kube")
    redaction.register("kube-node-token-of-vm-002")
    assert redaction.redact("kube-node.nordix.org/net1", least=16) == "kube-node.nordix.org/net1"
    assert redaction.redact("x/kube-node-token-", least=16) == "x/[redacted]"


def test_lines() -> None:
    """A key of several lines is known with and without its line breaks."""
    lines = ["MHcCAQEEIIrYSSNQFaA2Hwf1", "duRSxKtLYX5CB04fSeQ6tF1aY"]
    redaction.register("\n" + "\n".join(lines) + "\n", is_base64=True)
    for shown in ("\n".join(lines), " ".join(lines), "".join(lines), lines[1]):
        assert set(redaction.redact(shown).replace("[redacted]", "")) <= set("\n ")
