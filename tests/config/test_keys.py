"""One table of keys: misspelt ones are refused with the right name, other people's are accepted."""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

import pytest

from plugin.config import keys, spelling
from plugin.errors import INVALID_CONFIG, CniError

OURS = [(place, key.name) for place in (keys.KUBE_NODE, keys.CONF) for key in keys.of(place)]
OURS += [(keys.NODE_ANNOTATION, "annotation"), (keys.PINNED, "ranges"), (keys.PINNED, "dataDir"), (keys.PINNED, "type")]
# Keys of host-local, static, dhcp, whereabouts, calico-ipam and nv-ipam, of main plugins and chained ones, comments.
OTHERS_TEXT = """
    type name ranges subnet rangeStart rangeEnd gateway routes resolvConf dataDir addresses dns ips range exclude
    range_start range_end network_name kubernetes datastore configuration_path overlapping_ranges ipRanges
    leader_lease_duration node_slice_size enable_overlapping_ranges etcd_host sleep_for_race assign_ipv4 assign_ipv6
    ipv4_pools ipv6_pools log_file_path nodename_file_optional poolName poolType daemonSocket confDir request provide
    skipDefaultOptions mtu vlan master mode promiscMode isGateway ipMasq hairpinMode mac capabilities args disableCheck
    x color owner team ticket version description namespace pool site zone
    _comment _annotation // //annotation //comment # #dataDir $schema __doc__ comment
"""
OTHERS = OTHERS_TEXT.split()


def misspellings(name: str) -> list[str]:
    """Return at least 60 ways in which a key is written by mistake, in the same order each time."""
    chance = random.Random(name)
    words = re.findall(r"[A-Z]?[a-z0-9]+", name)
    found = [name[:i] + name[i + 1 :] for i in range(len(name))]
    found += [name[:i] + name[i] + name[i:] for i in range(len(name))]
    found += [name[:i] + name[i + 1] + name[i] + name[i + 2 :] for i in range(len(name) - 1)]
    for mark in ("-", "_", "", ".", " "):
        found += [mark.join(words), mark.join(words).lower(), mark.join(words).upper(), mark.join(words).title()]
        found += [name[:i] + mark + name[i:] for i in range(1, len(name))]
    found += [name + mark for mark in (" ", "-", "_", ":", "s")]
    found += [each.swapcase() for each in found] + [each.capitalize() for each in found]
    found = sorted({each for each in found if each and each != name})
    chance.shuffle(found)
    return found


@pytest.mark.parametrize(("place", "name"), OURS)
def test_misspelt(place: str, name: str) -> None:
    """Dropped, doubled and swapped letters, other separators and other case: each names the right key."""
    wrong = misspellings(name)
    assert len(wrong) >= 60
    accepted = []
    for each in wrong:
        try:
            keys.read({each: "x"}, place, "ipam.")
            accepted.append(each)
        except CniError as error:
            assert (error.code, f"'{name}'" in error.details) == (INVALID_CONFIG, True), (each, error.details)
            assert f"'ipam.{each}'" in error.msg
    assert accepted == []


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("annotaton", "annotation"),
        ("annotations", "annotation"),
        ("annot", "annotation"),
        ("exclu", "exclude"),
        ("nodeAnnotation", "annotation"),
        ("annotation-name", "annotation"),
        ("\u0430nnotation", "annotation"),  # Cyrillic
        ("annotation\u200b", "annotation"),
        ("ipv4_namespaces", "ipv4-namespaces"),
        ("IPv4Namespace", "ipv4-namespaces"),
        ("excludes", "exclude"),
        ("exclude_ranges", "exclude"),
        ("fall-back", "fallback"),
        ("kube-config", "kubeconfig"),
        ("nodename", "nodeName"),
        ("cache_dir", "cacheDir"),
        ("datadir", "dataDir"),
        ("dataDirr", "dataDir"),
        ("log_level", "loglevel"),
        ("Subnet", "subnet"),
        ("RANGES", "ranges"),
    ],
)
def test_misspelt_by_people(key: str, name: str) -> None:
    """Each of these would give a pod another address, or be dropped without a word."""
    with pytest.raises(CniError) as caught:
        keys.read({"type": "kube-node", key: "x"}, keys.KUBE_NODE, "ipam.")

    assert (caught.value.code, f"'{name}'" in caught.value.details) == (INVALID_CONFIG, True)


@pytest.mark.parametrize("place", [keys.KUBE_NODE, keys.NODE_ANNOTATION, keys.CONF, keys.PINNED])
def test_keys_of_others(place: str) -> None:
    """Keys that other plugins take, and comments, are accepted in every place; range alone is near to our ranges."""
    config: dict[str, Any] = {key: ["10.0.0.0/24"] for key in OTHERS if key not in {k.name for k in keys.of(place)}}
    if place == keys.PINNED:
        del config["range"]
    assert len(config) > 65
    keys.read(config, place, "ipam.")


def test_unknown() -> None:
    """What has no effect is known: keys that nobody takes, and those of another place; comments are none."""
    config = {"type": "kube-node", "annotation": "a", "routes": [], "team": "x", "nextipam": "/x", "_comment": "y"}

    assert keys.unknown(config, keys.KUBE_NODE) == ["team", "nextipam"]
    assert keys.misplaced(config, keys.KUBE_NODE) == {"nextipam": keys.CONF}
    assert keys.unknown(config, keys.NODE_ANNOTATION) == ["routes", "team", "nextipam"]
    config = {"dataDir": "/x", "kubeconfig": "/k", "ipv4-namespaces": [], "ranges": [], "type": "node-annotation"}
    assert keys.misplaced(config, keys.NODE_ANNOTATION) == {
        "dataDir": "the annotation",
        "kubeconfig": keys.CONF,
        "ipv4-namespaces": keys.KUBE_NODE,
        "ranges": "the annotation",
    }
    assert keys.misplaced({"dataDir": "/x", "log": "/l", "x": 1}, keys.CONF) == {"dataDir": keys.KUBE_NODE}


def test_our_keys_are_told_apart() -> None:
    """No key of ours is taken for a misspelling of another, and each checker takes an absent key."""
    for place, name in OURS:
        others = [key.name for key in keys.of(place) if key.name != name]
        assert spelling.meant(name, others) == ""
        assert keys.read({}, place, "")[name] in ("", None, [], 30.0, True)


def test_readme() -> None:
    """README has each line of the table, in its order."""
    rows = [f"| `{key.name}` | {', '.join(key.places)} | {key.meaning} | {key.default} |" for key in keys.TABLE]
    table = "\n".join(("| key | in | meaning | default |", "|---|---|---|---|", *rows))
    assert table in (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
