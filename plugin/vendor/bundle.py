"""The bundled part of each wheel, its licence, and the bill of materials."""

from __future__ import annotations

import email.parser
import hashlib
import io
import json
import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

from plugin.vendor.wheels import Pin

SHIMS = Path(__file__).parent.resolve() / "shims"

# Left out, because no request to an API server imports it. The rest is as released; only the shims replace files.
DROPPED = (
    "*/py.typed",
    "*.js",
    "*.so",
    "_yaml/*",
    "idna/__main__.py",
    "idna/cli.py",
    "idna/codec.py",
    "idna/compat.py",
    "requests/help.py",
    "urllib3/contrib/emscripten/*",
    "urllib3/contrib/pyopenssl.py",
    "urllib3/contrib/socks.py",
    "urllib3/http2/connection.py",
    "yaml/constructor.py",
    "yaml/cyaml.py",
    "yaml/dumper.py",
    "yaml/emitter.py",
    "yaml/loader.py",
    "yaml/representer.py",
    "yaml/resolver.py",
    "yaml/serializer.py",
)
# Emptied, because its content imports importlib.metadata (4 ms of a cold start); the file makes the package.
EMPTIED = ("urllib3/http2/__init__.py",)
_LICENSE = re.compile(r"[^/]+\.dist-info/(?:licenses/)?((?:LICEN[CS]E|NOTICE|COPYING|AUTHORS)[^/]*)")


@dataclass(frozen=True)
class Package:
    """A bundled release: its directory in vendor/, the Pythons that use it, and its files."""

    tree: str
    python: str
    project: str
    version: str
    sha256: str
    license: str
    requires: Sequence[str]
    files: dict[str, bytes] = field(repr=False)
    licenses: dict[str, bytes] = field(repr=False)

    @property
    def purl(self) -> str:
        """https://github.com/package-url/purl-spec."""
        return f"pkg:pypi/{self.project.lower()}@{self.version}"


def read(tree: str, python: str, pin: Pin, wheel: str) -> Package:
    """Return the bundled part of a wheel."""
    files, licenses, metadata = {}, {}, ""
    content = Path(wheel).read_bytes()
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for name in archive.namelist():
            if name.endswith(".dist-info/METADATA"):
                metadata = archive.read(name).decode()
            elif found := _LICENSE.fullmatch(name):
                licenses[found[1]] = archive.read(name)
            elif not name.endswith("/") and ".dist-info/" not in name and not any(fnmatch(name, d) for d in DROPPED):
                files[name] = b"" if name in EMPTIED else archive.read(name)
    fields = email.parser.HeaderParser().parsestr(metadata)
    terms = fields.get("License-Expression") or fields.get("License") or ""
    requires = [re.split(r"[^\w.-]", text)[0] for text in fields.get_all("Requires-Dist", []) if "extra ==" not in text]
    digest = hashlib.sha256(content).hexdigest()
    return Package(tree, python, pin.project, pin.version, digest, terms, requires, files, licenses)


def entries(packages: Sequence[Package]) -> dict[str, bytes]:
    """Return the archive's files of these packages: code, licences and shims."""
    found: dict[str, bytes] = {}
    for package in packages:
        found.update({f"vendor/{package.tree}/{name}": data for name, data in package.files.items()})
        for name, data in package.licenses.items():
            place = f"licenses/{package.project}/{name}"
            if found.setdefault(place, data) != data:
                found[f"licenses/{package.project}/{package.version}/{name}"] = data
    for name, data in _shims().items():
        trees = [package.tree for package in packages if name in package.files] or ["common"]
        found.update({f"vendor/{tree}/{name}": data for tree in trees})
    return found


def _shims() -> dict[str, bytes]:
    return {path.relative_to(SHIMS).as_posix(): path.read_bytes() for path in SHIMS.rglob("*.py")}


def materials(name: str, version: str, terms: str, packages: Sequence[Package]) -> bytes:
    """Return the bill of materials in CycloneDX 1.6 JSON, without time and serial number: the same on every machine.

    https://cyclonedx.org/docs/1.6/json/
    """
    own = f"{name}@{version}"
    links = [{"ref": own, "dependsOn": sorted(package.purl for package in packages)}]
    links += [{"ref": package.purl, "dependsOn": sorted(_needs(package, packages))} for package in packages]
    bom = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": own,
                "name": name,
                "version": version,
                "licenses": [{"expression": terms}],
            }
        },
        "components": [_component(package) for package in packages],
        "dependencies": links,
    }
    return json.dumps(bom, indent=1).encode() + b"\n"


def _needs(package: Package, packages: Sequence[Package]) -> list[str]:
    """Return the bundled packages that this one requires and can import."""
    beside = (package.tree, "common")
    return [other.purl for other in packages if other.tree in beside and other.project in package.requires]


def _component(package: Package) -> dict[str, object]:
    return {
        "type": "library",
        "bom-ref": package.purl,
        "name": package.project,
        "version": package.version,
        "purl": package.purl,
        "licenses": [{"expression": package.license}],
        "hashes": [{"alg": "SHA-256", "content": package.sha256}],
        "pedigree": {"notes": "Part of the released wheel; plugin/vendor/README.md says what is left out or replaced."},
        "properties": [{"name": "node-ipam:python", "value": package.python}],
    }
