"""kube-node as a runtime calls it: the built file, the real host-local, a real TLS server."""

from __future__ import annotations

import json
import os
import shutil

import pytest

from tests.support.runtime import Config, Pod, run
from tests.support.world import NODE, PODCIDRS, World

ANNOTATION = "kube-node.nordix.org/net1"


def limited(world: World) -> Config:
    """A network that gives IPv4 to one namespace only."""
    config = world.config()
    config["ipam"]["ipv4-namespaces"] = ["old-application"]
    return config


def test_pod_cidrs_give_one_address_of_each_family(world: World) -> None:
    """A dual-stack node gives a pod one IPv4 and one IPv6 address of its own ranges."""
    answer = world.add(world.config())

    assert answer.status == 0
    assert answer.document() == {
        "cniVersion": "1.0.0",
        "ips": [
            {"address": "11.0.1.2/24", "gateway": "11.0.1.1"},
            {"address": "1100:0:0:1::2/64", "gateway": "1100:0:0:1::1"},
        ],
        "dns": {},
    }


def test_one_get_of_the_own_node(world: World) -> None:
    """A cold ADD sends one GET for this Node, with a User-Agent."""
    world.addresses(world.config())

    assert [each.path for each in world.server.requests] == [f"/api/v1/nodes/{NODE}?resourceVersion=0"]
    headers = {key.lower(): value for key, value in world.server.requests[0].headers.items()}
    assert headers["user-agent"].startswith("node-ipam/")
    assert headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("version", ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"])
def test_every_version(world: World, version: str) -> None:
    """The answer has the version of the request, also where host-local knows only an older one; then all is freed."""
    config = world.config(version=version)
    documents = [world.add(config, pod).document() for pod in ("cold", "warm")]
    config["ipam"]["cacheSeconds"] = 31  # other bytes: the ordinary path
    documents.append(world.add(config, "ordinary").document())

    assert [each["cniVersion"] for each in documents] == [version] * 3
    key = "ips" if version >= "0.3.0" else "ip4"
    assert all(key in each for each in documents)
    for pod in ("cold", "warm", "ordinary"):
        if version >= "0.4.0":
            assert world.runtime.run("CHECK", config, Pod(pod)).status == 0
        assert world.delete(config, pod).status == 0
    assert world.leases() == []


def test_version_of_a_request_without_one(world: World) -> None:
    """No cniVersion means 0.1.0, as the specification says."""
    config = world.config()
    del config["cniVersion"]

    assert world.add(config).document()["cniVersion"] == "0.1.0"


def test_no_kubeconfig_anywhere_is_an_error_in_cni_form(world: World) -> None:
    """Without any kubeconfig the error says which places were looked at."""
    answer = world.add(world.config(kubeconfig=None), HOME=world.path("nowhere"))

    assert answer.status == 1
    assert answer.document()["code"] == 100
    assert "KUBECONFIG" in json.dumps(answer.document())


def test_kubeconfig_of_the_configuration_wins(world: World) -> None:
    """ipam.kubeconfig wins over a wrong $KUBECONFIG."""
    assert len(world.addresses(world.config(), KUBECONFIG="/nonexistent/kubeconfig")) == 2


def test_kubeconfig_of_the_environment(world: World) -> None:
    """$KUBECONFIG alone works."""
    assert len(world.addresses(world.config(kubeconfig=None), KUBECONFIG=world.kubeconfig)) == 2


@pytest.mark.parametrize("kind", ["token", "token-file", "certificate"])
def test_node_name_from_the_environment(world: World, kind: str) -> None:
    """With credentials that name no node, $NODE_NAME does."""
    world.server.rule = lambda user, verb, name: ""
    config = world.config(kubeconfig=world.server.write_kubeconfig(world.path(kind), kind))

    assert len(world.addresses(config, NODE_NAME=NODE)) == 2


@pytest.mark.parametrize(
    ("namespace", "families"),
    [("default", [6]), ("old-application", [6, 4]), ("", [6])],
    ids=["other", "listed", "unknown"],
)
def test_ipv4_namespaces(world: World, namespace: str, families: list[int]) -> None:
    """Only pods of the listed namespaces get IPv4, cold and warm; an unknown namespace gets none."""
    config = limited(world)
    for pod in ("cold", "warm"):
        environ = {} if namespace else {"CNI_ARGS": ""}
        found = world.addresses(config, pod, namespace or "default", **environ)
        assert [6 if ":" in each else 4 for each in found] == families


def test_ipv4_namespaces_are_told_apart_when_warm(world: World) -> None:
    """Two pods of different namespaces with the same request get the families of their namespaces."""
    config = limited(world)
    counts = [
        len(world.addresses(config, f"pod-{number}", namespace))
        for number, namespace in enumerate(["default", "old-application", "default", "old-application", "default"])
    ]

    assert counts == [1, 2, 1, 2, 1]


def test_ipv4_namespaces_on_a_node_without_ipv6(world: World) -> None:
    """A node that has IPv4 only has nothing for the other namespaces, and the error says so."""
    world.node["spec"] = {"podCIDR": "11.0.1.0/24", "podCIDRs": ["11.0.1.0/24"]}
    answer = world.add(limited(world))

    assert answer.status == 1
    assert "namespace default" in answer.document()["msg"]
    assert world.leases() == []


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("172.20.2.0/24,fd00::2:0:0/96", ["172.20.2.2/24", "fd00::2:0:2/96"]),
        ("fc00:400::/120,172.20.4.0/24", ["fc00:400::2/120", "172.20.4.2/24"]),
        (" fc00:400::/120 , 172.20.4.0/24 ", ["fc00:400::2/120", "172.20.4.2/24"]),
        ("fc00:400::/120", ["fc00:400::2/120"]),
        ("172.20.4.0/24", ["172.20.4.2/24"]),
        ("::ffff:10.0.0.0/120", ["10.0.0.2/24"]),
        ("172.20.4.0/24,fc00:400::/120,10.0.0.0/24", ["172.20.4.2/24", "fc00:400::2/120"]),
    ],
)
def test_annotation(world: World, value: str, expected: list[str]) -> None:
    """The ranges of a secondary network come from its annotation, in the order written."""
    world.annotate(ANNOTATION, value)

    assert world.addresses(world.config("net1", annotation=ANNOTATION)) == expected


@pytest.mark.parametrize(
    "value",
    ["172.20.4.0/24,fc00:400::/120,172.20.4.128/25", "172.20.4.0/120", "", "10.0.0.0/24,10.0.0.0/24", "10.0.0.1/24"],
)
def test_bad_annotation(world: World, value: str) -> None:
    """Ranges that overlap, host bits, no range at all: an error that names the annotation.

    Several ranges of one family were an error once; now they are one set, so that a full range can grow.
    """
    world.annotate(ANNOTATION, value)
    answer = world.add(world.config("net1", annotation=ANNOTATION))

    assert answer.status == 1
    assert ANNOTATION in answer.document()["msg"] + answer.document()["details"]
    assert world.leases("net1") == []


def test_missing_annotation_names_those_there_are(world: World) -> None:
    """The error for a missing annotation lists what the node has under the same prefix."""
    world.annotate("kube-node.nordix.org/net2", "10.0.0.0/24")
    document = world.add(world.config("net1", annotation=ANNOTATION)).document()

    assert document["code"] == 100
    assert ANNOTATION in document["msg"]
    assert "kube-node.nordix.org/net2" in document["details"]


def test_node_without_pod_cidrs(world: World) -> None:
    """A node without ranges: the error says to try again later, and the usual cause."""
    world.node["spec"] = {}
    document = world.add(world.config()).document()

    assert document["code"] == 11
    assert NODE in document["msg"]
    assert "--allocate-node-cidrs" in document["details"]


def test_pinned_configuration_needs_no_server(world: World) -> None:
    """A kube-node.json in dataDir is used as it is, cold and warm; removed, the Node counts again."""
    world.server.stop()
    pinned = world.write("data/kube-node.json", '{"type": "host-local", "ranges": [[{"subnet": "10.9.0.0/24"}]]}')
    config = world.config()

    assert world.addresses(config, "cold") == ["10.9.0.2/24"]
    assert world.addresses(config, "warm") == ["10.9.0.3/24"]
    os.unlink(pinned)
    world.server.start()
    assert len(world.addresses(config, "unpinned")) == 2
    world.write("data/kube-node.json", '{"type": "host-local", "ranges": [[{"subnet": "10.9.0.0/24"}]]}')
    assert world.addresses(config, "pinned again") == ["10.9.0.4/24"]


@pytest.mark.parametrize("data_dir", ['""', "null", '"/nonexistent/../elsewhere"'])
def test_pinned_data_dir(world: World, data_dir: str) -> None:
    """A pod's addresses are freed where its ADD put them, whatever dataDir a kube-node.json came to say since."""
    config = world.config()
    world.addresses(config, "before")
    data_dir = data_dir.replace("/nonexistent/..", world.directory)
    world.write("data/kube-node.json", f'{{"ranges": [[{{"subnet": "10.9.0.0/24"}}]], "dataDir": {data_dir}}}')
    world.addresses(config, "since")
    used = "elsewhere" if "elsewhere" in data_dir else "data"

    assert "10.9.0.2" in world.leases(data=used)
    for pod in ("before", "since"):
        assert world.runtime.run("CHECK", config, Pod(pod)).status == 0
        assert world.delete(config, pod).status == 0
    assert world.leases() + world.leases(data="elsewhere") == []
    assert world.runtime.run("CHECK", config, Pod("since")).status == 1


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", '{"ranges": 1}', '{"type": "host-local"}', '{"ranges": [{"subnet": "x"}]}'),
        '{"subnet": "10.9.0.0/24", "ranges": [[{"subnet": "10.9.0.0/24"}]]}',
    ],
)
def test_bad_pinned_configuration(world: World, text: str) -> None:
    """A kube-node.json that is none is named in the error; it keeps no address from being freed."""
    config = world.config()
    world.addresses(config)
    path = world.write("data/kube-node.json", text)
    answer = world.add(config, "other")

    assert answer.status == 1
    assert path in answer.document()["msg"]
    assert world.delete(config).status == 0
    assert world.leases() == []


def test_pinned_configuration_that_cannot_be_read(world: World) -> None:
    """The error names the broken file: other ranges than the pinned ones must not be used."""
    os.makedirs(world.path("data"))
    os.mkfifo(world.path("data/kube-node.json"))
    answer = world.add(world.config())

    assert (answer.status, answer.document()["code"]) == (1, 7)
    assert f"{world.path('data/kube-node.json')} cannot be read" in answer.document()["msg"]


STATIC: dict[str, tuple[Config, dict[str, str]]] = {
    "runtimeConfig.ips": ({"runtimeConfig": {"ips": ["11.0.1.77/24"]}}, {}),
    "args.cni.ips": ({"args": {"cni": {"ips": ["11.0.1.77"]}}}, {}),
    "CNI_ARGS": ({}, {"CNI_ARGS": "IgnoreUnknown=1;IP=11.0.1.77"}),
}


@pytest.mark.parametrize("how", STATIC)
def test_static_address(world: World, how: str) -> None:
    """A static address is allocated, however it is requested, and released without the server."""
    more, environ = STATIC[how]
    config = {**world.config(), **more}
    for pod in ("first", "again"):
        assert world.addresses(config, pod, **environ)[0] == "11.0.1.77/24"
        world.server.stop()
        shutil.rmtree(world.cache)
        os.rename(world.kubeconfig, world.path("away"))
        assert world.delete(config, pod, **environ).status == 0
        assert world.delete(config, pod, **environ).status == 0
        assert world.leases() == []
        os.rename(world.path("away"), world.kubeconfig)
        world.server.start()


def test_routes_and_dns_travel_on(world: World) -> None:
    """What else ipam holds for host-local reaches it: routes and resolvConf."""
    resolv = world.write("resolv.conf", "nameserver 192.0.2.53\nsearch example.com\n")
    document = world.add(world.config(routes=[{"dst": "0.0.0.0/0"}], resolvConf=resolv)).document()

    assert document["routes"] == [{"dst": "0.0.0.0/0"}]
    assert document["dns"] == {"nameservers": ["192.0.2.53"], "search": ["example.com"]}


def test_unfit_keys_are_refused(world: World) -> None:
    """A range in the configuration is refused, in any case of letters: it may be another node's."""
    for key in ("ranges", "subnet", "Ranges", "SUBNET"):
        answer = world.add(world.config(**{key: "10.0.0.0/24"}))
        assert (answer.status, answer.document()["code"]) == (1, 7)
        assert key in answer.document()["msg"]


def test_delete_and_check_ask_nobody(world: World) -> None:
    """DEL and CHECK work without server, cache, kubeconfig; CHECK of a freed address is host-local's error."""
    config = world.config()
    world.addresses(config)
    world.server.stop()
    shutil.rmtree(world.cache)
    os.unlink(world.kubeconfig)

    assert world.runtime.run("CHECK", config, Pod("web-0")).status == 0
    assert world.delete(config).status == 0
    assert world.leases() == []
    check = world.runtime.run("CHECK", config, Pod("web-0"))
    assert (check.status, check.document()["code"]) == (1, 999)


def test_delete_of_what_cannot_be_right_any_more(world: World) -> None:
    """DEL needs only container, interface, name and dataDir: bad arguments do not stop it."""
    config = world.config()
    world.addresses(config)
    spoiled = {**config, "runtimeConfig": {"ips": ["nonsense"]}, "prevResult": 1}

    assert world.runtime.run("DEL", spoiled, Pod("web-0"), CNI_ARGS="A=b=c;;", CNI_NETNS="").status == 0
    assert world.leases() == []


def test_duplicate_add_leaves_the_lease(world: World) -> None:
    """A second ADD of the same attachment is host-local's error, word for word, and frees nothing."""
    config = world.config()
    world.addresses(config)
    answer = world.add(config)

    assert (answer.status, answer.document()["code"]) == (1, 999)
    assert "duplicate allocation is not allowed" in answer.document()["msg"]
    assert world.leases() == ["11.0.1.2", "1100:0:0:1::2"]


def test_empty_configuration(world: World) -> None:
    """{} is fine for VERSION and an error for ADD."""
    assert "1.1.0" in world.runtime.version("kube-node").document()["supportedVersions"]
    call = world.runtime.call("ADD", world.config(), Pod("web-0"))._replace(stdin=b"{}")
    answer = run(call)
    assert (answer.status, answer.document()["code"]) == (1, 7)


def test_log_file(world: World) -> None:
    """The log file gets a JSON line per request at info, everything at trace, and never the credentials."""
    log = world.path("log.json")
    world.addresses(world.config(logfile=log), "one")
    with open(log, encoding="utf-8") as file:
        lines = [json.loads(line) for line in file]
    assert [(each["level"], each["msg"]) for each in lines] == [("info", "ADD")]
    assert lines[0]["answer"]["ips"][0]["address"] == "11.0.1.2/24"

    config = world.config(logfile=log, loglevel="trace", annotation="missing/one")
    assert world.add(config, "two").status == 1
    with open(log, encoding="utf-8") as file:
        text = file.read()
    assert '"level": "trace"' in text
    assert "missing/one" in text
    assert "PRIVATE" not in text


def test_debug_log(world: World) -> None:
    """At debug it says of each request where its ranges are from."""
    log = world.path("log.json")
    config = world.config(logfile=log, loglevel="debug")
    for pod in ("one", "two"):
        world.addresses(config, pod)
    with open(log, encoding="utf-8") as file:
        lines = [json.loads(line) for line in file]

    assert [each["msg"] for each in lines] == ["the Node has been read", "ADD", "the Node is known", "ADD"]
    assert (lines[0]["node"], lines[0]["by"], lines[0]["podCIDRs"]) == (NODE, "certificate CN", list(PODCIDRS))


def test_name_of_the_file_does_not_matter(world: World, tmp_path: object) -> None:
    """Under another name, the type in the request says which plugin is meant."""
    path = world.path("some-plugin")
    shutil.copy(world.runtime.find("kube-node"), path)
    call = world.runtime.call("ADD", world.config(), Pod("web-0"))
    answer = run(call._replace(argv=(path,)))
    assert [each["address"].split("/")[1] for each in answer.document()["ips"]] == [
        cidr.split("/")[1] for cidr in PODCIDRS
    ]


@pytest.mark.parametrize("key", ["ipRanges", "IPRANGES"])
def test_ranges_of_the_runtime(world: World, key: str) -> None:
    """Ranges by the runtime's capability are no more this node's than those of the configuration."""
    answer = world.add({**world.config(), "runtimeConfig": {key: [[{"subnet": "99.9.9.0/24"}]]}})

    assert (answer.status, answer.document()["code"]) == (1, 7)
    assert key in answer.document()["msg"]


SLIPS = [
    {"cacheSeconds": "30"},
    {"logfile": "rel.log"},
    {"nodeName": "VM-002"},
    {"kubeconfig": "rel"},
    {"Annotation": "x"},
]


@pytest.mark.parametrize("slip", SLIPS, ids=str)
def test_release_with_a_bad_configuration(world: World, slip: Config) -> None:
    """DEL reads only dataDir of the configuration."""
    config = world.config()
    world.addresses(config)
    config["ipam"].update(slip)

    assert world.runtime.run("CHECK", config, Pod("web-0")).status == 0
    assert world.delete(config).status == 0
    assert world.leases() == []


@pytest.mark.parametrize("way", ["ordinary", "warm"])
def test_repeated_add_that_is_killed(world: World, way: str) -> None:
    """If host-local dies in a second ADD of the same attachment, the first one keeps its lease."""
    real = world.runtime.find("host-local")
    script = f'#!/bin/sh\n[ -e "{world.path("oom")}" ] && [ $CNI_COMMAND = ADD ] && kill -9 $$\nexec {real}\n'
    os.chmod(world.write("bin/host-local", script), 0o755)
    world.runtime.directories.insert(0, world.path("bin"))
    config = world.config(cacheSeconds=30 if way == "warm" else 0)
    world.addresses(config)
    leases = world.leases()
    world.write("oom", "")
    answer = world.add(config)

    assert (answer.status, answer.document()["code"]) == (1, 11)
    assert world.leases() == leases
    os.unlink(world.path("oom"))
