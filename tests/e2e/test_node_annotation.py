"""node-annotation as called by a runtime, and by hand as documented."""

from __future__ import annotations

import json
import os
import shutil
import time

import pytest

from plugin import deadline
from plugin.ops import manual
from tests.support.nodes import make_node
from tests.support.parts import host_local
from tests.support.runtime import Answer, Call, Pod, run
from tests.support.world import NODE, World

IPVLAN = "example.com/ipvlan-ranges"
MERIDIO = """"ranges": [
  [{ "subnet":"4000::16.0.0.0/120", "rangeStart":"4000::16.0.0.0" , "rangeEnd":"4000::16.0.0.7"}],
  [{ "subnet":"16.0.0.0/24", "rangeStart":"16.0.0.0" , "rangeEnd":"16.0.0.7"}]
]"""
DOCUMENTED = """"ranges": [
  { "subnet": "4000::16.0.0.0/120" },
  { "subnet": "16.0.0.0/24" }
]"""


def by_hand(world: World, *arguments: str, stdin: bytes = b"", **environ: str) -> Answer:
    """Run node-annotation as a person does: no CNI_COMMAND."""
    return run(Call((world.runtime.find("node-annotation"), *arguments), {**world.runtime.environ, **environ}, stdin))


def data(world: World, name: str, subnet: str = "172.16.5.0/24") -> str:
    """An annotation that puts the store into this node's directory."""
    return json.dumps({"dataDir": world.path(name), "ranges": [[{"subnet": subnet}]]})


def test_documented_annotation(world: World) -> None:
    """The first example of the documentation: a bare key, no braces."""
    config = world.annotated("mynet", IPVLAN)
    world.annotate(IPVLAN, f'dataDir: "{world.path("data")}", ranges: [[{{"subnet": "172.16.5.0/24"}}]]')

    assert world.addresses(config, "cold") == ["172.16.5.2/24"]
    assert world.addresses(config, "warm") == ["172.16.5.3/24"]
    assert world.server.count() == 1
    assert world.leases("mynet") == ["172.16.5.2", "172.16.5.3"]


def test_range_of_eight(world: World) -> None:
    """The bridge example gives two addresses each to as many pods as host-local counts, which keeps .1 as the gateway.

    From then on the caller gets host-local's own error and exit status.
    """
    config = world.annotated("meridio-bridge", "example.com/bridge", version="0.4.0")
    world.annotate("example.com/bridge", f'"dataDir": "{world.path("data")}", {MERIDIO}')
    found = [world.addresses(config, f"pod-{number}") for number in range(7)]
    usable = [0, 2, 3, 4, 5, 6, 7]

    assert sorted(four for _six, four in found) == [f"16.0.0.{number}/24" for number in usable]
    assert sorted(six for six, _four in found) == [f"4000::1000:{number}/120" for number in usable]
    for pod in ("eighth", "ninth"):
        answer = world.add(config, pod)
        assert (answer.status, answer.document()["code"]) == (1, 999)
        assert "no IP addresses available in range set" in answer.document()["msg"]


def test_rest_of_the_request_travels_on(world: World) -> None:
    """A static address asked for by the runtime is given; what ipam held before is gone."""
    world.annotate(IPVLAN, data(world, "data"))
    config = {**world.annotated("mynet", IPVLAN), "runtimeConfig": {"ips": ["172.16.5.77"]}}
    config["ipam"]["routes"] = [{"dst": "0.0.0.0/0"}]
    document = world.add(config).document()

    assert document["ips"][0]["address"] == "172.16.5.77/24"
    assert "routes" not in document


@pytest.mark.parametrize("known", ["attachment", "annotation"])
def test_release_without_server(world: World, known: str) -> None:
    """DEL frees the address in the dataDir the ADD used, though the annotation says another by now."""
    world.annotate(IPVLAN, data(world, "A"))
    config = world.annotated("mynet", IPVLAN)
    world.addresses(config, "one")
    world.addresses(config, "two")
    assert world.leases("mynet", "A") == ["172.16.5.2", "172.16.5.3"]
    if known == "attachment":
        world.annotate(IPVLAN, data(world, "B", "172.16.6.0/24"))
        world.age(40)
        assert world.addresses(config, "three") == ["172.16.6.2/24"]
    else:
        for name in os.listdir(world.cache):
            if name.startswith(("at:", "used-")):
                os.unlink(os.path.join(world.cache, name))
    world.server.stop()

    assert world.runtime.run("CHECK", config, Pod("one")).status == 0
    for pod in ("one", "two", "two"):
        assert world.delete(config, pod).status == 0
    assert world.leases("mynet", "A") == []
    assert len([name for name in os.listdir(world.cache) if name.startswith("at:")]) == (known == "attachment")


RECORDER = """#!/bin/sh
cat > "$0.$CNI_COMMAND"
[ "$CNI_COMMAND" = ADD ] && echo '{"cniVersion": "1.0.0", "ips": [{"address": "192.0.2.1/24"}]}'
exit 0
"""


def test_release_by_another_plugin(world: World) -> None:
    """With another nextipam, DEL gives it the ipam that ADD gave it, and the rest of its own request."""
    recorder = world.write("recorder", RECORDER)
    os.chmod(recorder, 0o755)
    config = world.annotated("mynet", IPVLAN, nextipam=recorder)
    world.annotate(IPVLAN, 'pool: "blue"')
    world.addresses(config)
    world.annotate(IPVLAN, 'pool: "green"')
    world.server.stop()

    assert world.delete({**config, "more": 1}).status == 0
    with open(recorder + ".ADD", encoding="utf-8") as file:
        added = json.load(file)
    with open(recorder + ".DEL", encoding="utf-8") as file:
        deleted = json.load(file)
    assert added == {**config, "ipam": {"type": "recorder", "pool": "blue"}}
    assert deleted["ipam"] == added["ipam"]
    assert deleted["more"] == 1


def test_collection_by_another_plugin(world: World) -> None:
    """With another nextipam, that plugin gets GC: the whole request, with the annotation as last known."""
    recorder = world.write("recorder", RECORDER)
    os.chmod(recorder, 0o755)
    config = world.annotated("mynet", IPVLAN, version="1.1.0", nextipam=recorder)
    world.annotate(IPVLAN, 'pool: "blue"')
    world.addresses(config)
    world.server.stop()
    config["cni.dev/valid-attachments"] = [{"containerID": "c1", "ifname": "eth0"}]

    assert world.runtime.run("GC", config).status == 0
    with open(recorder + ".GC", encoding="utf-8") as file:
        assert json.load(file) == {**config, "ipam": {"type": "recorder", "pool": "blue"}}


def test_release_by_a_plugin_that_has_moved(world: World) -> None:
    """DEL finds the plugin of the ADD where the configuration says it is today."""
    recorder = world.write("recorder", RECORDER)
    os.chmod(recorder, 0o755)
    config = world.annotated("mynet", IPVLAN, nextipam=recorder)
    world.annotate(IPVLAN, 'pool: "blue"')
    world.addresses(config)
    os.mkdir(world.path("elsewhere"))
    os.rename(recorder, world.path("elsewhere/recorder"))
    world.annotated("mynet", IPVLAN, nextipam=5)
    answer = world.delete(config)
    assert (answer.status, "recorder is in none of the directories" in answer.document()["msg"]) == (1, True)
    world.annotated("mynet", IPVLAN, nextipam=world.path("elsewhere/recorder"))

    assert world.delete(config).status == 0
    assert os.path.exists(world.path("elsewhere/recorder.DEL"))


def test_release_when_what_was_used_is_lost(world: World) -> None:
    """A known request whose record was pruned goes the ordinary way, so that DEL finds the leases all the same."""
    config = world.annotated("mynet", IPVLAN)
    world.annotate(IPVLAN, data(world, "A"))
    world.addresses(config, "one")
    for name in os.listdir(world.cache):
        if name.startswith("used-"):
            os.unlink(os.path.join(world.cache, name))
    world.addresses(config, "two")
    world.annotate(IPVLAN, data(world, "B", "172.16.6.0/24"))
    world.age(40)
    world.addresses(config, "three")

    assert world.delete(config, "two").status == 0
    assert world.leases("mynet", "A") == ["172.16.5.2"]


def test_release_of_what_nobody_knows(world: World) -> None:
    """With nothing known, host-local gets a placeholder range and its own default dataDir."""
    recorder = world.write("host-local", RECORDER)
    os.chmod(recorder, 0o755)
    config = world.annotated("mynet", IPVLAN, nextipam=recorder)
    world.server.stop()

    assert world.delete(config).status == 0
    with open(recorder + ".DEL", encoding="utf-8") as file:
        assert json.load(file) == {
            "cniVersion": "1.0.0",
            "name": "mynet",
            "ipam": {"type": "host-local", "ranges": [[{"subnet": "192.0.2.0/24"}]]},
        }


@pytest.mark.parametrize(
    "text", ["ranges: env", "x: input_filename", "$(id)", '"a" + "b"', "type: 1", 'dataDir: "data"', "["]
)
def test_annotation_is_data(world: World, text: str) -> None:
    """Annotations are not evaluated: text that is not JSON is an error with line and column."""
    config = world.annotated("mynet", IPVLAN)
    world.annotate(IPVLAN, text)
    answer = world.add(config)

    assert (answer.status, answer.document()["code"]) == (1, 7)
    assert IPVLAN in answer.document()["msg"]


def test_one_get_in_a_large_cluster(world: World) -> None:
    """One GET, whether the cluster has one Node or many."""
    world.annotate(IPVLAN, data(world, "data"))
    for number in range(500):
        world.server.add(make_node(f"other-{number}"))
    world.addresses(world.annotated("mynet", IPVLAN))

    assert [each.path for each in world.server.requests] == [f"/api/v1/nodes/{NODE}?resourceVersion=0"]


def test_help(world: World) -> None:
    """-h, --help and help show the commands, as documented."""
    texts = {by_hand(world, option).stdout for option in ("-h", "--help", "help")}

    assert len(texts) == 1
    text = texts.pop().decode()
    for command in ("ipam", "error_quit [msg]", "my_node", "get_annotation [--node=node] <annotation>"):
        assert f"\n   {command}\n" in text


def test_unknown_command(world: World) -> None:
    """An unknown command is named on stderr, exit status 1."""
    answer = by_hand(world, "nonsense")

    assert (answer.status, answer.stdout) == (1, b"")
    assert answer.stderr == "ERROR: Invalid command [nonsense]\n"
    assert by_hand(world, "get_anotation").stderr.endswith("\ndid you mean node-annotation get_annotation?\n")


def test_error_quit(world: World) -> None:
    """error_quit prints an error object with its words."""
    answer = by_hand(world, "error_quit", "no", "luck")

    assert answer.status == 1
    assert answer.document() == {"cniVersion": "0.4.0", "code": 11, "msg": "FAILED: no luck"}


def test_my_node(world: World) -> None:
    """my_node prints the Node object as indented JSON."""
    world.annotated("mynet", IPVLAN)
    answer = by_hand(world, "my_node")

    assert answer.document()["metadata"]["name"] == NODE
    assert answer.stdout.startswith(b'{\n  "')
    assert world.server.count() == 1


def test_get_annotation(world: World) -> None:
    """get_annotation prints the value as it stands, of this node or, where that is allowed, of another."""
    world.annotated("mynet", IPVLAN)
    world.annotate(IPVLAN, DOCUMENTED)
    assert by_hand(world, "get_annotation", IPVLAN).stdout.decode() == DOCUMENTED + "\n"

    world.server.add(make_node("vm-003", annotations={IPVLAN: "other"}, machine_id="0" * 31 + "1"))
    refused = by_hand(world, "get_annotation", "--node=vm-003", IPVLAN)
    assert (refused.status, refused.document()["code"]) == (1, 100)
    world.server.rule = lambda user, verb, name: ""
    other = by_hand(world, "get_annotation", "--node=vm-003", IPVLAN)
    assert (other.stdout, other.stderr) == (b"other\n", "")  # nobody said that this machine is vm-003
    wrong = by_hand(world, "get_annotation", "--node=no_name", IPVLAN)
    assert "'no_name' cannot be the name of a Node" in wrong.document()["msg"]
    missing = by_hand(world, "get_annotation", "no/such")
    assert "Annotation not found" in missing.document()["msg"]
    assert "Parameter missing" in by_hand(world, "get_annotation").document()["msg"]


@pytest.mark.parametrize("arguments", [(), ("ipam",)])
def test_entire_function(world: World, arguments: tuple[str, ...]) -> None:
    """The documented test: nextipam `cat` without CNI_COMMAND shows what the next plugin would get."""
    config = world.annotated("mynet", IPVLAN, nextipam="cat")
    world.annotate(IPVLAN, DOCUMENTED)
    given = {"name": "mynet", "type": "ipvlan", "master": "eth0", "ipam": config["ipam"]}
    answer = by_hand(world, *arguments, stdin=json.dumps(given).encode())

    assert answer.stdout.decode() == (
        """{
  "name": "mynet",
  "type": "ipvlan",
  "master": "eth0",
  "ipam": {
    "type": "cat",
    "ranges": [
      {
        "subnet": "4000::16.0.0.0/120"
      },
      {
        "subnet": "16.0.0.0/24"
      }
    ]
  }
}
"""
    )


def test_no_argument_and_no_input(world: World) -> None:
    """Without CNI_COMMAND, argument and input, it says what it is, on stderr."""
    answer = by_hand(world)

    assert (answer.status, answer.stdout) == (0, b"")
    assert "node-annotation" in answer.stderr


@pytest.mark.parametrize("nextipam", [None, "host-local", "path"])
def test_where_the_next_plugin_is_found(world: World, nextipam: str | None) -> None:
    """The default is host-local beside the program, then in CNI_PATH; a bare name is looked up, a path is taken."""
    world.annotate(IPVLAN, data(world, "data"))
    directory = world.runtime.directories[-1]
    config = world.annotated("mynet", IPVLAN, nextipam=f"{directory}/host-local" if nextipam == "path" else nextipam)

    assert world.addresses(config) == ["172.16.5.2/24"]


def test_log(world: World) -> None:
    """`log` in the configuration file gets a line per request and per error."""
    world.annotate(IPVLAN, data(world, "data"))
    config = world.annotated("mynet", IPVLAN, log=world.path("log"))
    for pod in ("one", "two"):
        world.addresses(config, pod)
    world.delete(config, "one")
    world.add({**config, "ipam": {"type": "node-annotation"}}, "three")
    with open(world.path("log"), encoding="utf-8") as file:
        lines = [json.loads(line) for line in file]

    assert [(each["level"], each["msg"]) for each in lines] == [
        ("info", "ADD"),
        ("info", "ADD"),
        ("info", "DEL"),
        ("error", "No annotation specified"),
    ]


@pytest.mark.parametrize("text", ["", "[]", "{", '{"nextipam": 1}', '{"kubeconfig": "relative"}'])
def test_bad_configuration_file(world: World, text: str) -> None:
    """A configuration file that is none is named; keys that are not ours are fine in it."""
    config = world.annotated("mynet", IPVLAN)
    path = world.write("node-annotation.conf", text)
    assert path in world.add(config).document()["msg"]

    world.annotate(IPVLAN, data(world, "data"))
    config = world.annotated("mynet", IPVLAN, another=1)
    assert world.addresses(config) == ["172.16.5.2/24"]


def test_release_with_a_cache_elsewhere_and_a_bad_key(world: World) -> None:
    """The directory in which it is kept what was used is found, whatever else is wrong in the file."""
    world.annotate(IPVLAN, data(world, "data"))
    config = world.annotated("mynet", IPVLAN, cacheDir=world.path("elsewhere"))
    world.addresses(config)
    world.annotated("mynet", IPVLAN, cacheDir=world.path("elsewhere"), cacheSeconds="soon")

    assert world.delete(config).status == 0
    assert world.leases("mynet") == []


@pytest.mark.parametrize("text", ["{", '{"kubeconfig": "relative"}', '{"nextipam": 1}', None])
def test_release_with_a_bad_configuration_file(world: World, text: str | None) -> None:
    """A mistake in the configuration file does not stop DEL."""
    world.annotate(IPVLAN, data(world, "data"))
    config = world.annotated("mynet", IPVLAN)
    world.addresses(config)
    if text is None:
        os.unlink(world.path("node-annotation.conf"))
    else:
        world.write("node-annotation.conf", text)

    assert world.runtime.run("CHECK", config, Pod("web-0")).status == 0
    assert world.delete(config).status == 0
    assert world.leases("mynet") == []


def test_configuration_file_that_is_missing(world: World) -> None:
    """A file that $NODE_ANNOTATION_CFG names has to be there; the usual one need not."""
    config = world.annotated("mynet", IPVLAN)
    world.annotate(IPVLAN, data(world, "data"))
    os.unlink(world.path("node-annotation.conf"))
    assert "NODE_ANNOTATION_CFG" in world.add(config).document()["msg"]
    if not os.path.exists("/etc/cni/node-annotation.conf"):
        answer = world.add(config, NODE_ANNOTATION_CFG="", KUBECONFIG=world.kubeconfig)
        assert answer.status == 0


@pytest.mark.parametrize("is_named", [False, True])
def test_garbage_collection(world: World, is_named: bool) -> None:
    """GC releases what is in no attachment, in every dataDir that the annotation has named."""
    nextipam = os.path.join(host_local(), "host-local") if is_named else None
    config = world.annotated("mynet", IPVLAN, version="1.1.0", nextipam=nextipam)
    world.annotate(IPVLAN, data(world, "A"))
    for pod in ("one", "two"):
        world.addresses(config, pod)
    world.annotate(IPVLAN, data(world, "B", "172.16.6.0/24"))
    world.age(40)
    world.addresses(config, "three")
    valid = [{"containerID": Pod("two").container, "ifname": "eth0"}]

    assert world.runtime.run("GC", config).status == 0
    assert len(world.leases("mynet", "A") + world.leases("mynet", "B")) == 3
    assert world.runtime.run("GC", {**config, "cni.dev/valid-attachments": valid}).status == 0
    assert world.leases("mynet", "A") == ["172.16.5.3"]
    assert world.leases("mynet", "B") == []
    shutil.rmtree(world.cache)


@pytest.mark.parametrize("error", ["", '{"code": 50, "msg": "no pool"}'])
def test_status_asks_the_next_plugin(world: World, error: str) -> None:
    """STATUS is passed on to a plugin other than host-local."""
    recorder = world.write("recorder", f"#!/bin/sh\nprintf %s '{error}'; exit {int(bool(error))}\n")
    os.chmod(recorder, 0o755)
    world.annotate(IPVLAN, 'pool: "blue"')
    answer = world.runtime.run("STATUS", world.annotated("mynet", IPVLAN, version="1.1.0", nextipam=recorder))

    assert (answer.status, answer.stdout.decode()) == (int(bool(error)), error)


def test_release_by_a_plugin_that_is_in_cni_path(world: World) -> None:
    """DEL finds the plugin of the ADD in CNI_PATH if it has moved."""
    for name in ("before", "after"):
        world.write(f"{name}/recorder", RECORDER)
        os.chmod(world.path(f"{name}/recorder"), 0o755)
    world.runtime.directories += [world.path("before"), world.path("after")]
    config = world.annotated("mynet", IPVLAN, nextipam="recorder")
    world.annotate(IPVLAN, 'pool: "blue"')
    world.addresses(config)
    os.unlink(world.path("before/recorder"))

    assert world.delete(config).status == 0
    with open(world.path("after/recorder.DEL"), encoding="utf-8") as file:
        assert json.load(file)["ipam"] == {"type": "recorder", "pool": "blue"}


def test_what_was_used_long_ago_is_forgotten(world: World) -> None:
    """Records without an attachment are removed when the annotation changes; the others stay."""
    config = world.annotated("mynet", IPVLAN, cacheSeconds=0)
    for name, pod in (("A", "gone"), ("B", "stays")):
        world.annotate(IPVLAN, data(world, name, f"172.16.{ord(name)}.0/24"))
        world.addresses(config, pod)
    world.delete(config, "gone")
    old = {name for name in os.listdir(world.cache) if name.startswith("used-")}
    for name in old:
        os.utime(os.path.join(world.cache, name), (0, 0))
    world.annotate(IPVLAN, data(world, "C", "172.16.7.0/24"))
    world.addresses(config, "new")

    assert len(old) == 2
    assert len(old & set(os.listdir(world.cache))) == 1
    assert world.delete(config, "stays").status == 0
    assert world.leases("mynet", "B") == []


def test_by_hand_with_a_command(world: World) -> None:
    """`ipam` with CNI_COMMAND in the environment is what a runtime gets."""
    answer = by_hand(world, "ipam", CNI_COMMAND="VERSION")

    assert (answer.status, answer.document()["cniVersion"]) == (0, "1.1.0")


def test_by_hand_a_plugin_that_cannot_be_run(world: World) -> None:
    """The error names the next plugin if it is not a program."""
    program = world.write("program", "\x7fELF")
    os.chmod(program, 0o755)
    world.annotate(IPVLAN, DOCUMENTED)
    config = world.annotated("mynet", IPVLAN, nextipam=program)
    answer = by_hand(world, stdin=json.dumps(config).encode())

    assert (answer.status, answer.document()["msg"]) == (1, f"{program} cannot be run: Exec format error")


def test_by_hand_has_an_end(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A command that hangs is ended with a message."""
    monkeypatch.setattr(deadline, "TOTAL", 0.1)
    monkeypatch.setitem(manual._COMMANDS, "my_node", lambda *_arguments: time.sleep(60))

    assert manual.run(["node-annotation", "my_node"]) == 1
    assert capsys.readouterr() == ("", "ERROR: no answer within 0 seconds\n")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "it is empty"),
        ("{}", "it has no ranges"),
        ('{"ipam": {"ranges": [[{"subnet": "172.16.5.0/24"}]]}}', "'ipam' does not belong into it"),
        ('ranges: [{"subnet": "172.16.5.0/24"}]', "ranges has too few brackets"),
        ("172.16.5.0/24", "it is a list of CIDRs"),
        (
            'ranges: [[{"subnet": "172.16.5.0/24", "rangestrt": "172.16.5.9"}]]',
            "'rangestrt' is not a key of host-local",
        ),
    ],
)
def test_annotation_that_host_local_cannot_use(world: World, text: str, what: str) -> None:
    """The error comes from us: it names annotation and node, and says what to write; nothing is allocated."""
    config = world.annotated("mynet", IPVLAN)
    world.annotate(IPVLAN, text.replace("DATA", world.path("data")))
    answer = world.add(config)

    assert (answer.status, answer.document()["code"]) == (1, 100)
    assert answer.document()["msg"].startswith(f"annotation {IPVLAN} of node {NODE}: {what}")
    assert answer.document()["details"].startswith("write ")
    assert not os.path.exists(world.path("data"))


def test_keys_of_kube_node_are_logged_once(world: World) -> None:
    """What node-annotation drops of its ipam is in the log, with the place where it would have an effect."""
    config = world.annotated("mynet", IPVLAN, log=world.path("log"))
    config["ipam"].update({"kubeconfig": "/k", "dataDir": "/d", "exclude": []})
    world.annotate(IPVLAN, data(world, "data"))
    world.addresses(config, "one")
    world.addresses(config, "two")

    with open(world.path("log"), encoding="utf-8") as file:
        log = file.read()
    told = "'dataDir' (belongs into the annotation), 'exclude' (belongs into ipam of kube-node), "
    assert log.count(f"{told}'kubeconfig' (belongs into node-annotation.conf)") == 1
