"""Print the manifests that install this program on every node.

A ConfigMap holds the program, compressed. The pods of a DaemonSet run "install" with the node's own Python (chroot) and
then sleep. Their image needs a shell, chroot, sha256sum and the like, such as BusyBox; --image names another one.

The plugin reads its Node with the kubelet's credentials, which need no RBAC. With --service-account it uses an account
that may get nodes and nothing else. The pod on each node keeps /var/lib/node-ipam/kubeconfig up to date. Then set
"kubeconfig" to that path in the "ipam" of each CNI configuration.

With --assign, a Deployment runs "ranges assign --watch" in an image that has Python. It gives each node without a range
the next free block of each network.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import re
import zipfile

from plugin.config.values import is_node_name
from plugin.errors import PLUGIN_FAILURE, CniError
from plugin.ops import output
from plugin.ops.deploy import assigning, manifests, yamltext
from plugin.ops.install import archive, bindir, install
from plugin.ops.ranges import options, selector

EXAMPLE = """
node-ipam.pyz deploy | kubectl apply --server-side -f -
node-ipam.pyz deploy --service-account | kubectl apply --server-side -f -
node-ipam.pyz deploy --assign kube-node.nordix.org/net1=172.20.0.0/16 | kubectl apply --server-side -f -
"""
IMAGE = "busybox:1.36.1"
PYTHON_IMAGE = "python:3.13-slim"
# All of a ConfigMap's data, https://kubernetes.io/docs/concepts/configuration/configmap/#motivation.
_LIMIT = 1 << 20
# Starts the archive inside the archive: that has to be a file that can be read at any place.
_MAIN = f"""\
import os
import sys

f = os.memfd_create("{archive.FILE}")
os.write(f, __loader__.get_data(f"{{__loader__.archive}}/{archive.FILE}"))
os.lseek(f, 0, 0)
del sys.path[0]
exec(os.read(f, {archive.BOOTSTRAP}))
"""


# https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#dns-label-names
_label = output.checked(re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?").fullmatch, "a valid name of a namespace")
_name = output.checked(is_node_name, "a valid name of a Kubernetes object")  # the rule is the same for most names
_path = output.checked(re.compile(r"(/[A-Za-z0-9_+@.-]+)+").fullmatch, "an absolute path of letters, digits and _+@.-")
_server = output.checked(
    re.compile(r"https://[A-Za-z0-9.:\[\]-]+(/[A-Za-z0-9_./-]*)?").fullmatch, "like https://192.0.2.1:6443"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    add = parser.add_argument
    add("--namespace", default="kube-system", type=_label, help="an existing namespace (default: kube-system)")
    add("--image", default=IMAGE, type=output.not_empty, help=f"the image of the DaemonSet (default: {IMAGE})")
    text = f"the directory in which the nodes' runtimes look for plugins (default: {bindir.DEFAULT})"
    add("--bin-dir", default=bindir.DEFAULT, type=lambda text: _path(text.rstrip("/")), metavar="DIR", help=text)
    text = "the nodes' interpreter (default: /usr/bin/python3, or a newer one if that is older than 3.9)"
    add("--python", type=_path, metavar="PATH", help=text)
    text = f"use this ServiceAccount instead of the kubelet's credentials (default name: {manifests.NAME})"
    add("--service-account", nargs="?", const=manifests.NAME, type=_name, metavar="NAME", help=text)
    text = "with --service-account: the API server's URL for the nodes (default: the address of Service kubernetes)"
    add("--server", type=_server, metavar="URL", help=text)
    group = parser.add_argument_group("options for a Deployment of ranges assign --watch")
    text = "give every node a range of these networks in this annotation; may be repeated"
    group.add_argument("--assign", action="append", default=[], type=_network, metavar="NAME=CIDR[,CIDR]", help=text)
    text = f"an image with Python 3.9 or later (default: {PYTHON_IMAGE})"
    group.add_argument("--python-image", default=PYTHON_IMAGE, type=output.not_empty, metavar="IMAGE", help=text)
    group.add_argument("--selector", default="", metavar="LABELS", help="only nodes with these labels get a range")
    text = "the Services' ranges, which no node gets"
    group.add_argument("--service-cluster-ip-range", default="", metavar="CIDR[,CIDR]", help=text)
    options.add_sizes(group)


def run(arguments: argparse.Namespace) -> int:
    """Print the objects as YAML. Raises CniError."""
    if arguments.server and not arguments.service_account:
        raise output.UsageError("--server is for --service-account", "the kubelet's kubeconfig names its server")
    packed = compressed(install.own_archive())
    if len(packed) > _LIMIT:
        msg = f"the program has {len(packed):,} bytes when compressed; a ConfigMap takes {_LIMIT:,}"
        raise CniError(PLUGIN_FAILURE, msg, "copy the file to the nodes in another way and run install there")
    printed = manifests.objects(arguments, packed)
    if arguments.assign:
        digest = hashlib.sha256(packed).hexdigest()
        printed += assigning.objects(arguments.namespace, arguments.python_image, _of_assign(arguments), digest)
    output.line(
        "# kubectl apply --server-side -f -    (without --server-side, kubectl's last-applied annotation is too large)"
    )
    if arguments.service_account:
        output.line(f'# Add this to "ipam" in each CNI configuration: "kubeconfig": "{manifests.STATE}/kubeconfig"')
    output.line(yamltext.dump(printed))
    return output.FINE


def compressed(data: bytes) -> bytes:
    """Return an archive that holds this one compressed, and that any Python can run."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as packed:
        for name, content in (("__main__.py", _MAIN), (archive.FILE, data)):
            packed.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED, 9)
    return stream.getvalue()


def _of_assign(arguments: argparse.Namespace) -> list[str]:
    """Return the arguments of ranges assign. Raises CniError for what that refuses."""
    names, pools = zip(*arguments.assign)
    options.networks(argparse.Namespace(**{**vars(arguments), "annotation": names, "cluster_cidr": pools}))
    options.ranges(arguments.exclude, "--exclude")
    options.services(arguments)
    selector.parse(arguments.selector)
    given = [option for name, pool in arguments.assign for option in ("--annotation", name, "--cluster-cidr", pool)]
    for name in ("selector", "service_cluster_ip_range", "node_cidr_mask_size_ipv4", "node_cidr_mask_size_ipv6"):
        value = getattr(arguments, name)
        given += [f"--{name.replace('_', '-')}", str(value)] if value else []
    return given + [option for each in arguments.exclude for option in ("--exclude", each)]


def _network(text: str) -> tuple[str, str]:
    name, equals, pool = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not like kube-node.nordix.org/net1=172.20.0.0/16")
    return options.annotation(name), pool
