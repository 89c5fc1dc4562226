"""Kubeconfigs and what must come of each: for our reader alone, and for it side by side with kubectl."""

from __future__ import annotations

import base64
import os
import re
import textwrap
from typing import NamedTuple

from tests.support.pki import Authority

INLINE_TOKEN = "inline-token"
FILE_TOKEN = "file-token"
PLUGIN_TOKEN = "plugin-token"
USER = "jane"  # of the client certificate

_SAMPLES = os.path.join(os.path.dirname(__file__), "kubeconfigs")


class Case(NamedTuple):
    """A kubeconfig with placeholders; the rest is what is expected of it.

    refused: part of the error; if empty, the server sees the prefix and the credentials below.
    """

    name: str
    text: str
    refused: str = ""
    authorization: str = f"Bearer {INLINE_TOKEN}"
    certificate: bool = False
    impersonate: tuple[tuple[str, str], ...] = ()
    prefix: str = ""
    encoding: str = "utf-8"


class Material:
    """The files and values that stand for the placeholders, in one directory."""

    def __init__(self, directory: str, host: str = "127.0.0.1", port: int = 6443) -> None:
        self.directory = directory
        self.authority = Authority()
        pair = self.authority.client(USER, ["dev"])
        # What a kubelet keeps: certificate and key in one file.
        self.write("kubelet-client-current.pem", pair.certificate + pair.key)
        self.write("client.crt", pair.certificate)
        self.write("client.key", pair.key)
        self.write("ca.crt", self.authority.ca_pem)
        self.write("bundle.crt", b"text around\r\n" + self.authority.ca_pem.replace(b"\n", b"\r\n") * 2 + b"more text")
        self.write("token", f" {FILE_TOKEN}\n".encode())
        self.write("empty", b"")
        self.write("garbage", b"neither PEM nor text \xff\n")
        for version in ("v1", "v1beta1"):
            self._plugin(f"bin/token-{version}", version, f'"token":"{PLUGIN_TOKEN}"')
            keys = (
                f'"clientCertificateData":{_json(pair.certificate)},"clientKeyData":{_json(pair.key)},'
                '"expirationTimestamp":"2099-01-02T03:04:05Z"'
            )
            self._plugin(f"bin/certificate-{version}", version, keys)
        self.values = {
            "HOST": host,
            "PORT": str(port),
            "DIR": directory,
            "TOKEN": INLINE_TOKEN,
            "CA_DATA": _base64(self.authority.ca_pem),
            "CA_LINES": textwrap.fill(_base64(self.authority.ca_pem), 64),
            "CA_CONTINUED": "\\\n      ".join(textwrap.wrap(_base64(self.authority.ca_pem), 64)),
            "CERT_DATA": _base64(pair.certificate),
            "KEY_DATA": _base64(pair.key),
        }

    def write(self, name: str, data: bytes, mode: int = 0o600) -> str:
        """Write a file of the directory and return its path."""
        path = os.path.join(self.directory, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(data)
        os.chmod(path, mode)
        return path

    def config(self, case: Case, name: str = "config") -> str:
        """Write the kubeconfig of a case and return its path."""
        return self.write(name, self.filled(case.text).encode(case.encoding, "surrogateescape"))

    def filled(self, text: str) -> str:
        """The text with its placeholders replaced; a value of several lines is indented as its first one is."""

        def value(match: re.Match[str]) -> str:
            return self.values[match["name"]].replace("\n", "\n" + match["indent"])

        pattern = r"(?P<indent>(?m:^[ ]*)?)\$(?P<name>[A-Z_]+)"
        return re.sub(
            pattern, lambda match: match["indent"] + value(match) if match["name"] in self.values else match[0], text
        )

    def _plugin(self, name: str, version: str, status: str) -> None:
        answer = (
            f'{{"apiVersion":"client.authentication.k8s.io/{version}","kind":"ExecCredential","status":{{{status}}}}}'
        )
        self.write(name, f"#!/bin/sh\ncat <<'END'\n{answer}\nEND\n".encode(), 0o700)


def sample(name: str) -> str:
    """The text of a file in kubeconfigs/, which has the shape that its generator gives it."""
    with open(os.path.join(_SAMPLES, name), encoding="utf-8", newline="") as file:
        return file.read()


def config(
    user: str = "token: $TOKEN",
    cluster: str = "",
    server: str = "https://$HOST:$PORT",
    ca: str = "certificate-authority-data: $CA_DATA",
    top: str = "",
) -> str:
    """An otherwise plain kubeconfig with these keys (YAML flow style) in its entries."""
    keys = ", ".join(filter(None, (f'server: "{server}"', ca, cluster)))
    return (
        f"apiVersion: v1\nkind: Config\n{top}"
        f"clusters:\n- name: local\n  cluster: {{{keys}}}\n"
        f"users:\n- name: u\n  user: {{{user}}}\n"
        "contexts:\n- name: x\n  context: {cluster: local, user: u}\n"
        "current-context: x\n"
    )


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _json(data: bytes) -> str:
    return '"' + data.decode().replace("\n", "\\n") + '"'


def _block(ca: str) -> str:
    """A kubeconfig in block style, for scalars that flow style has no room for."""
    return (
        "clusters:\n- name: local\n  cluster:\n    server: https://$HOST:$PORT\n    certificate-authority-data: "
        f"{ca}\nusers:\n- name: u\n  user:\n    token: $TOKEN\n"
        "contexts:\n- name: x\n  context:\n    cluster: local\n    user: u\ncurrent-context: x\n"
    )


_CERTIFICATE = "client-certificate-data: $CERT_DATA, client-key-data: $KEY_DATA"
_PLAIN = config()

SAMPLES = [
    Case("kubeadm-admin.yaml", sample("kubeadm-admin.yaml"), authorization="", certificate=True),
    Case("kubeadm-kubelet.yaml", sample("kubeadm-kubelet.yaml"), authorization="", certificate=True),
    Case("kubeadm-joined.yaml", sample("kubeadm-joined.yaml"), authorization="", certificate=True),
    Case("kind-admin.yaml", sample("kind-admin.yaml"), authorization="", certificate=True),
    Case("k3s-kubelet.yaml", sample("k3s-kubelet.yaml"), authorization="", certificate=True),
    Case("eks-al2023.yaml", sample("eks-al2023.yaml"), authorization=f"Bearer {PLUGIN_TOKEN}"),
    Case("gke.yaml", sample("gke.yaml"), authorization="", certificate=True),
    Case("aks-kubelet.yaml", sample("aks-kubelet.yaml"), authorization="", certificate=True),
    Case("aks-admin.yaml", sample("aks-admin.yaml"), authorization="", certificate=True),
    Case("multus.yaml", sample("multus.yaml")),
    Case("multus-skip-tls-verify.yaml", sample("multus-skip-tls-verify.yaml")),
    Case("multus-per-node.yaml", sample("multus-per-node.yaml"), authorization="", certificate=True),
    Case("calico.yaml", sample("calico.yaml")),
    Case("whereabouts.yaml", sample("whereabouts.yaml")),
    Case("rancher.yaml", sample("rancher.yaml"), prefix="/k8s/clusters/c-m-abc"),
    Case("terraform.yaml", sample("terraform.yaml")),
    Case("json-tabs.json", sample("json-tabs.json")),
    Case("json-view.json", sample("json-view.json"), authorization=f"Bearer {FILE_TOKEN}"),
]

# What is accepted, ignored and refused while decoding.
DECODING = [
    Case("no kind and apiVersion", _PLAIN.replace("apiVersion: v1\nkind: Config\n", "")),
    Case("kind null, apiVersion empty", _PLAIN.replace("v1\nkind: Config", "''\nkind: null")),
    Case("wrong kind", _PLAIN.replace("Config", "Pod"), 'no kind "Pod" is registered for version "v1"'),
    Case("wrong version", _PLAIN.replace("v1", "v2"), 'no kind "Config" is registered for version "v2"'),
    Case("preferences and extensions", config(top="preferences: {colors: true}\nextensions: []\n")),
    Case("unknown keys", config("token: $TOKEN, auth: {a: [1]}", "api-version: v1", top="hint: 3\n")),
    Case("keys are case-sensitive", _PLAIN.replace("server:", "Server:"), 'no server found for cluster "local"'),
    Case("duplicate key: the last", config("token: first, token: $TOKEN")),
    Case("duplicate name", config(top="users: []\n").replace("users:\n", "users:\n- name: u\n"), "duplicate name"),
    Case("token is a number", config("token: 12345"), authorization="Bearer 12345"),
    Case("token is 1e3", config("token: 1e3"), authorization="Bearer 1e3"),
    Case("token looks like a number to some", config("token: 12e03456"), authorization="Bearer 12e03456"),
    Case("token is a date", config("token: 2001-01-01"), authorization="Bearer 2001-01-01"),
    Case("token is a time", config('token: "12:30:45"'), authorization="Bearer 12:30:45"),
    Case("token is a bool", config("token: yes"), "cannot unmarshal bool into users.user.token of type string"),
    Case("token is a list", config("token: [a]"), "cannot unmarshal array into users.user.token of type string"),
    Case("token is a map", config("token: {a: b}"), "cannot unmarshal object into users.user.token of type string"),
    Case("token is a number in JSON", '{"users": [{"name": "u", "user": {"token": 12}}]}', "cannot unmarshal number"),
    Case("current-context is a number", _PLAIN.replace("name: x", "name: 1").replace("t: x", "t: 1")),
    *(
        Case(f"bool {word}", config(cluster=f"insecure-skip-tls-verify: {word}", ca=""))
        for word in ("true", "True", "TRUE", "yes", "on", "y")
    ),
    *(
        Case(f"bool {word}", config(cluster=f"insecure-skip-tls-verify: {word}"))
        for word in ("false", "No", "off", "null", "~", "")
    ),
    Case("bool is text", config(cluster="insecure-skip-tls-verify: 'true'"), "cannot unmarshal string into clusters.c"),
    Case("bool is a number", config(cluster="insecure-skip-tls-verify: 1"), "insecure-skip-tls-verify of type bool"),
    Case("users is a map", config(top="users: {}\n").replace("users:\n-", "x:\n-"), "into users of type array"),
    Case("user is a list", _PLAIN.replace("{token: $TOKEN}", "[]"), "cannot unmarshal array into users.user of type"),
    Case("args is text", config("exec: {args: a}"), "cannot unmarshal string into users.user.exec.args of type array"),
    Case("null is absent", config("token: $TOKEN, username: null, as: ~, as-groups: null, exec: null, tokenFile:")),
    Case("null where a list may be", config(top="extensions: null\npreferences: null\n")),
    Case("users null", re.sub("(?s)users:.*contexts", "users: null\ncontexts", _PLAIN), authorization=""),
    Case("user null", _PLAIN.replace("{token: $TOKEN}", "null"), authorization=""),
    Case("item null", _PLAIN.replace("users:\n", "users:\n- null\n")),
    Case("not a map", "- a\n- b\n", "cannot unmarshal array into the document of type object"),
    Case("only text", "hello", "cannot unmarshal string into the document of type object"),
    Case("data over lines", _block("|\n      $CA_LINES")),
    Case("data folded", _block(">-\n      $CA_LINES"), "illegal base64 data"),
    Case("data plain over lines", _block("\n      $CA_LINES"), "illegal base64 data"),
    Case("data continued", _block('"$CA_CONTINUED"')),
    Case("data without padding", config(ca="certificate-authority-data: Zm9vCg"), "illegal base64 data"),
    Case("data with too much padding", config(ca="certificate-authority-data: Zm9v="), "illegal base64 data"),
    Case("data in the URL alphabet", config(ca="certificate-authority-data: Zm9v_-=="), "illegal base64 data"),
    Case("data is PEM", _block("|\n      -----BEGIN CERTIFICATE-----\n      Zm9v"), "illegal base64 data"),
    Case("data is !!binary", config(ca="certificate-authority-data: !!binary $CA_DATA"), "!!binary is not supported"),
    Case(
        "bad data in an entry not used",
        config(top="users: []\n").replace("users:\n", "users:\n- name: o\n  user: {client-key-data: a}\n"),
        "illegal base64 data",
    ),
    Case("token ends in a newline", config('token: "$TOKEN\\n"'), 'invalid header field value for "Authorization"'),
    Case("token with spaces around", config('token: " $TOKEN "'), authorization=f"Bearer  {INLINE_TOKEN}"),
    Case("half a surrogate pair in a token", config('token: "\\ud800"'), "half of a surrogate pair"),
    Case("NUL in a token", config('token: "a\\0b"'), "users.user.token: a NUL character"),
    Case("token is not ASCII", config("token: gültig"), authorization="Bearer gültig"),
]

# https://yaml.org/spec/1.1/ as far as kubectl goes along.
YAML = [
    Case("anchors and aliases", config("<<: *a", top="a: &a {token: $TOKEN}\n")),
    Case("several merged", config("<<: [*a, *b]", top="a: &a {token: $TOKEN}\nb: &b {token: other}\n")),
    Case("merged and own", config("<<: *a, token: $TOKEN", top="a: &a {token: other}\n")),
    Case("merge of text", config("<<: text"), "map merge requires map or sequence of maps as the value"),
    Case("alias without anchor", config("token: *secret"), "yaml: line 8, column 17: not YAML"),
    Case("alias inside its own value", config(top="a: &a [*a]\n"), "an alias inside its own value"),
    Case("leading ---", "---\n" + _PLAIN),
    Case("two documents", _PLAIN + "---\napiVersion: v1\nkind: Pod\n"),
    Case("second document broken", _PLAIN + "---\n{["),
    Case("first document empty", "---\n---\n" + _PLAIN, "no configuration has been provided"),
    Case("end of document", _PLAIN + "...\n"),
    Case("%YAML", "%YAML 1.1\n---\n" + _PLAIN),
    Case("CRLF", _PLAIN.replace("\n", "\r\n")),
    Case("BOM", "\ufeff" + _PLAIN),
    Case("BOM before JSON", "\ufeff" + sample("json-tabs.json")),
    Case("comments", _PLAIN.replace("\n", " # comment: with {braces}\n")),
    Case("comments between", _PLAIN.replace("\n", "\n    # comment\n\n")),
    Case("quoted keys", re.sub(r"(?m)^([a-z-]+):", r'"\1":', _PLAIN)),
    Case("complex keys", _PLAIN.replace("current-context: x", "? current-context\n: x")),
    Case(
        "flow style",
        _PLAIN.replace("\n- name: u\n  user: {token: $TOKEN}", " [{'name': \"u\", user: {token: $TOKEN}}]"),
    ),
    Case(
        "all in braces",
        "{clusters: [{name: l, cluster: {server: 'https://$HOST:$PORT', insecure-skip-tls-verify: true}}],\n"
        "users: [{name: u, user: {token: $TOKEN}}], contexts: [{name: x, context: {cluster: l, user: u}}],\n"
        "current-context: x}\n",
    ),
    Case("sequences indented", re.sub(r"(?m)^(-|  [a-z])", r"    \1", _PLAIN)),
    Case("quoted over lines", config('token: "inline-\\\n   token"')),
    Case("hash inside a token", config("token: a#b"), authorization="Bearer a#b"),
    Case("tag of text", config("token: !!str 12"), authorization="Bearer 12"),
    Case("tag of one's own", config("token: !vault abc"), authorization="Bearer abc"),
    Case("tabs", "clusters:\n\t- name: local\n", "yaml: line 2"),
    Case("invalid UTF-8", _PLAIN.replace("x\n", "\udcff\n"), "invalid UTF-8 at byte"),
    Case("NUL", _PLAIN + "a: \0\n", "yaml: line 13, column 4: not YAML"),
    Case("UTF-16", _PLAIN, "invalid UTF-8 at byte 0", encoding="utf-16"),
    Case("not closed", _PLAIN + "a: [\n", "not YAML"),
    Case("JSON and a second document", sample("json-view.json") + "---\n{}\n", authorization=f"Bearer {FILE_TOKEN}"),
    Case("JSON cut off", sample("json-view.json")[:-20], "not YAML"),
]

# client-go's validation.go, and what its transport says later.
VALIDATION = [
    Case(
        "unknown context",
        _PLAIN.replace("context: x", "context: zz"),
        "context was not found for specified context: zz",
    ),
    Case("empty file", "", "no configuration has been provided"),
    Case("no current-context", _PLAIN.replace("current-context: x\n", ""), "no configuration has been provided"),
    Case("unknown cluster", _PLAIN.replace("cluster: local", "cluster: other"), "no configuration has been provided"),
    Case("no cluster in the context", _PLAIN.replace("cluster: local, ", ""), "no configuration has been provided"),
    Case("no server", config(server=""), 'no server found for cluster "local"'),
    Case("CA file", config(ca="certificate-authority: $DIR/ca.crt")),
    Case("CA file with text, CRLF and duplicates", config(ca="certificate-authority: $DIR/bundle.crt")),
    Case(
        "CA file and data",
        config(cluster="certificate-authority: $DIR/ca.crt"),
        "certificate-authority-data and certificate-authority are both specified for local. "
        "certificate-authority-data will override.",
    ),
    Case(
        "CA file missing",
        config(ca="certificate-authority: $DIR/absent"),
        "unable to read certificate-authority $DIR/absent for local due to open $DIR/absent: no such file or directory",
    ),
    Case("CA is not PEM", config(ca="certificate-authority: $DIR/garbage"), "unable to parse bytes as PEM block"),
    Case("CA data is not PEM", config(ca="certificate-authority-data: Zm9v"), "unable to parse bytes as PEM block"),
    Case("CA file empty", config(ca="certificate-authority: $DIR/empty"), "unable to parse bytes as PEM block"),
    Case(
        "CA and insecure", config(cluster="insecure-skip-tls-verify: true"), "specifying a root certificates file with"
    ),
    Case("insecure", config(cluster="insecure-skip-tls-verify: true", ca="")),
    Case("server name", config(cluster="tls-server-name: kubernetes")),
    Case("disable-compression", config(cluster="disable-compression: true")),
    Case(
        "certificate file and data",
        config(f"{_CERTIFICATE}, client-certificate: $DIR/client.crt"),
        "client-cert-data and client-cert are both specified for u. client-cert-data will override.",
    ),
    Case(
        "key file and data",
        config(f"{_CERTIFICATE}, client-key: $DIR/client.key"),
        "client-key-data and client-key are both specified for u. client-key-data will override.",
    ),
    Case(
        "certificate without key",
        config("client-certificate-data: $CERT_DATA"),
        "client-key-data or client-key must be specified for u to use the clientCert authentication method.",
    ),
    Case(
        "several errors",
        config(f"{_CERTIFICATE}, client-key: a, client-certificate: b"),
        "invalid configuration: [client-cert-data and client-cert are both specified for u.",
    ),
    Case(
        "certificate file missing",
        config("client-certificate: $DIR/absent, client-key: $DIR/client.key"),
        "unable to read client-cert $DIR/absent for u due to open $DIR/absent: no such file or directory",
    ),
    Case(
        "key file missing",
        config("client-certificate: $DIR/client.crt, client-key: absent"),
        "unable to read client-key $DIR/absent for u due to open $DIR/absent: no such file or directory",
    ),
    Case(
        "certificate is not PEM",
        config("client-certificate: $DIR/garbage, client-key: $DIR/client.key"),
        "tls: failed to find any PEM data in certificate input: $DIR/garbage",
    ),
    Case(
        "key is not PEM",
        config("client-certificate: $DIR/client.crt, client-key-data: Zm9v"),
        "tls: failed to find any PEM data in key input",
    ),
    Case("certificate", config(_CERTIFICATE), authorization="", certificate=True),
    Case(
        "certificate file, key data",
        config("client-certificate: $DIR/client.crt, client-key-data: $KEY_DATA"),
        authorization="",
        certificate=True,
    ),
    Case(
        "certificate data, key file",
        config("client-certificate-data: $CERT_DATA, client-key: $DIR/client.key"),
        authorization="",
        certificate=True,
    ),
    Case(
        "certificate and key in one file",
        config("client-certificate: kubelet-client-current.pem, client-key: $DIR/kubelet-client-current.pem"),
        authorization="",
        certificate=True,
    ),
    Case("key without certificate", config("token: $TOKEN, client-key: $DIR/absent")),
    Case("certificate and token", config(f"token: $TOKEN, {_CERTIFICATE}"), certificate=True),
    Case(
        "certificate and basic",
        config(f"username: a, password: b, {_CERTIFICATE}"),
        authorization="Basic YTpi",
        certificate=True,
    ),
    Case("certificate and empty token file", config(f"tokenFile: empty, {_CERTIFICATE}"), "read empty token from file"),
    Case("basic", config("username: jürgen, password: 'a:b'"), authorization="Basic asO8cmdlbjphOmI="),
    Case("password without username", config("password: b"), authorization=""),
    Case(
        "password and token",
        config("token: $TOKEN, password: b"),
        "more than one authentication method found for u; found [token basicAuth]",
    ),
    Case("password and token file", config("tokenFile: token, password: b"), authorization=f"Bearer {FILE_TOKEN}"),
    Case(
        "token and basic",
        config("token: $TOKEN, username: a"),
        "more than one authentication method found for u; found [token basicAuth], only one is allowed",
    ),
    Case(
        "token file and basic",
        config("tokenFile: token, username: a"),
        "username/password or bearer token may be set, but not both",
    ),
    Case("token file", config("tokenFile: token"), authorization=f"Bearer {FILE_TOKEN}"),
    Case("token and token file", config("token: $TOKEN, tokenFile: token"), authorization=f"Bearer {FILE_TOKEN}"),
    Case("token and token file missing", config("token: $TOKEN, tokenFile: absent")),
    Case("token and token file empty", config("token: $TOKEN, tokenFile: empty")),
    Case("token file missing", config("tokenFile: absent"), "open $DIR/absent: no such file or directory"),
    Case("token file empty", config("tokenFile: empty"), 'read empty token from file "$DIR/empty"'),
    Case("token file is not text", config("tokenFile: garbage"), "token file $DIR/garbage is not text"),
    Case("context without user", _PLAIN.replace(", user: u", ""), authorization=""),
    Case("unknown user", _PLAIN.replace("user: u}", "user: other}"), authorization=""),
    Case("auth-provider", config("auth-provider: {name: gcp}"), "auth-provider of user u is not supported"),
    Case(
        "auth-provider of another user",
        _PLAIN.replace("users:\n", "users:\n- name: o\n  user: {auth-provider: {name: gcp}}\n"),
    ),
    Case(
        "auth-provider beside a token", config("token: $TOKEN, auth-provider: {name: gcp}"), "auth-provider of user u"
    ),
    Case(
        "impersonation",
        config("token: $TOKEN, as: joe, as-uid: '7', as-groups: [a, b], as-user-extra: {k/x: [1a, 2b], l: [c]}"),
        impersonate=(
            ("Impersonate-User", "joe"),
            ("Impersonate-Uid", "7"),
            ("Impersonate-Group", "a"),
            ("Impersonate-Group", "b"),
            ("Impersonate-Extra-k%2Fx", "1a"),
            ("Impersonate-Extra-k%2Fx", "2b"),
            ("Impersonate-Extra-l", "c"),
        ),
    ),
    Case(
        "groups without as",
        config("token: $TOKEN, as-groups: [a]"),
        "requesting uid, groups or user-extra for u without impersonating a user",
    ),
    Case(
        "uid without as",
        config("token: $TOKEN, as-uid: '7'"),
        "requesting uid, groups or user-extra for u without impersonating a user",
    ),
    Case(
        "extra without as",
        config("token: $TOKEN, as-user-extra: {a: [b]}"),
        "requesting uid, groups or user-extra for u without impersonating a user",
    ),
    Case(
        "impersonation with a line break",
        config('token: $TOKEN, as: "a\\nb"'),
        'invalid header field value for "Impersonate-User"',
    ),
    Case(
        "proxy-url without scheme",
        config(cluster='proxy-url: "127.0.0.1:1"'),
        "invalid 'proxy-url' for cluster \"local\": not the URL of a proxy",
    ),
    Case(
        "proxy-url socks5h",
        config(cluster='proxy-url: "socks5h://u:secret@127.0.0.1:1"'),
        "invalid 'proxy-url' for cluster \"local\": socks5h proxies are not supported",
    ),
    Case("proxy-url socks5", config(cluster='proxy-url: "socks5://127.0.0.1:1"'), "socks5 proxies are not supported"),
]

PATHS = [
    Case("relative CA", config(ca="certificate-authority: ca.crt")),
    Case("relative with dots", config(ca="certificate-authority: ./bin/../ca.crt")),
    Case(
        "relative certificate and key",
        config("client-certificate: client.crt, client-key: client.key"),
        authorization="",
        certificate=True,
    ),
    Case("no ~", config(ca="certificate-authority: ~/ca.crt"), "open $DIR/~/ca.crt: no such file or directory"),
    Case("no variables", config(ca="certificate-authority: $HOME/ca.crt"), "no such file or directory"),
]

SERVERS = [
    Case("bracketed IPv4", config(server="https://[$HOST]:$PORT")),
    Case("bracketed name", config(server="https://[localhost]:$PORT")),
    Case("slash at the end", config(server="https://$HOST:$PORT/")),
    Case("prefix", config(server="https://$HOST:$PORT/k8s/clusters/c-abc/"), prefix="/k8s/clusters/c-abc"),
    Case("prefix to clean", config(server="https://$HOST:$PORT/a/../b//c/."), prefix="/b/c"),
    Case("prefix with an escape", config(server="https://$HOST:$PORT/a%2Fb%20c"), prefix="/a/b%20c"),
    Case("query and fragment", config(server="https://$HOST:$PORT/p?a=b#c"), prefix="/p"),
    Case("upper case", config(server="HTTPS://$HOST:$PORT")),
    Case("space at the end", config(server="https://$HOST:$PORT "), "contains a space or control character"),
    Case("IPv6 without brackets", config(server="https://::1:$PORT"), "an IPv6 address needs brackets"),
    Case(
        "IPv6 with a zone", config(server="https://[fe80::1%25lo]:$PORT"), "its IPv6 address is malformed or has a zone"
    ),
    Case("no scheme", config(server="$HOST:$PORT"), "it does not begin with https://"),
    Case("other scheme", config(server="ftp://$HOST:$PORT"), "its scheme is neither https nor http"),
    Case(
        "user and password",
        config(server="https://a:secret@$HOST:$PORT"),
        "it contains a user name or password",
    ),
    Case("bad port", config(server="https://$HOST:$PORT$PORT"), "its port is not between 1 and 65535"),
    Case("port not a number", config(server="https://$HOST:https"), "its host or port is malformed"),
    Case("no host", config(server="https://:$PORT"), "its host is missing or malformed"),
    Case("bad escape", config(server="https://$HOST:$PORT/%zz"), "its path has a % that does not begin an escape"),
]


def _exec(version: str, keys: str) -> str:
    return config(f"exec: {{apiVersion: client.authentication.k8s.io/{version}, {keys}}}")


_NEVER_RUN = "exec: {apiVersion: client.authentication.k8s.io/v1, command: ./absent, interactiveMode: Never}"


EXEC = [
    Case(
        "exec v1",
        _exec("v1", "command: $DIR/bin/token-v1, interactiveMode: Never"),
        authorization=f"Bearer {PLUGIN_TOKEN}",
    ),
    Case("exec v1beta1", _exec("v1beta1", "command: ./bin/token-v1beta1"), authorization=f"Bearer {PLUGIN_TOKEN}"),
    Case(
        "exec IfAvailable",
        _exec("v1", "command: bin/token-v1, interactiveMode: IfAvailable"),
        authorization=f"Bearer {PLUGIN_TOKEN}",
    ),
    Case(
        "exec certificate",
        _exec("v1", "command: bin/certificate-v1, interactiveMode: Never"),
        authorization="",
        certificate=True,
    ),
    Case(
        "exec null args and env",
        _exec("v1", "command: bin/token-v1, interactiveMode: Never, args: null, env: null"),
        authorization=f"Bearer {PLUGIN_TOKEN}",
    ),
    Case(
        "exec v1alpha1",
        _exec("v1alpha1", "command: x, interactiveMode: Never"),
        'exec plugin: invalid apiVersion "client.authentication.k8s.io/v1alpha1"',
    ),
    Case(
        "exec without command",
        _exec("v1", "interactiveMode: Never"),
        "command must be specified for u to use exec authentication plugin",
    ),
    Case(
        "exec without apiVersion",
        config("exec: {command: x, interactiveMode: Never}"),
        "apiVersion must be specified for u to use exec authentication plugin",
    ),
    Case(
        "exec without interactiveMode",
        _exec("v1", "command: x"),
        "interactiveMode must be specified for u to use exec authentication plugin",
    ),
    Case(
        "exec mode unknown", _exec("v1", "command: x, interactiveMode: Maybe"), 'invalid interactiveMode for u: "Maybe"'
    ),
    Case(
        "exec variable without name",
        _exec("v1", "command: x, interactiveMode: Never, env: [{value: x}]"),
        "env variable name must be specified for u",
    ),
    Case(
        "exec Always",
        _exec("v1", "command: bin/token-v1, interactiveMode: Always"),
        "exec plugin cannot support interactive mode: standard input is not a terminal",
    ),
    Case(
        "exec and auth-provider",
        config("exec: {}, auth-provider: {name: gcp}"),
        "authProvider cannot be provided in combination with an exec plugin for u",
    ),
    Case(
        "exec missing",
        _exec("v1", "command: no-such-plugin, interactiveMode: Never"),
        "exec: executable no-such-plugin not found",
    ),
    Case(
        "exec path missing",
        _exec("v1", "command: ./absent, interactiveMode: Never"),
        "exec: executable $DIR/absent not found",
    ),
    Case(
        "exec not executable",
        _exec("v1", "command: ./ca.crt, interactiveMode: Never"),
        "exec: fork/exec $DIR/ca.crt: permission denied",
    ),
    Case(
        "exec answers another version",
        _exec("v1", "command: bin/token-v1beta1, interactiveMode: Never"),
        "exec plugin is configured to use API version client.authentication.k8s.io/v1, "
        "plugin returned version client.authentication.k8s.io/v1beta1",
    ),
    Case(
        "exec beside a token",
        config(f"token: $TOKEN, {_NEVER_RUN}"),
    ),
    Case(
        "exec beside a token file",
        config(f"tokenFile: token, {_NEVER_RUN}"),
        authorization=f"Bearer {FILE_TOKEN}",
    ),
    Case(
        "exec beside a certificate",
        config(f"{_CERTIFICATE}, {_NEVER_RUN}"),
        authorization="",
        certificate=True,
    ),
    Case(
        "exec beside basic",
        config(f"username: a, password: b, {_NEVER_RUN}"),
        authorization="Basic YTpi",
    ),
]

CASES = [*SAMPLES, *DECODING, *YAML, *VALIDATION, *PATHS, *SERVERS, *EXEC]

_HTTP = "http://$HOST:$PORT"

# No credential goes over plain HTTP, no plugin runs for it.
PLAIN_HTTP = [
    Case("http with a token", config(server=_HTTP), authorization=""),
    Case("http with a token, no CA", config(server=_HTTP, ca=""), authorization=""),
    Case("http with a token file", config("tokenFile: token", server=_HTTP), authorization=""),
    Case("http with basic", config("username: a, password: b", server=_HTTP), authorization=""),
    Case("http with a certificate", config(_CERTIFICATE, server=_HTTP), authorization=""),
    Case("http with exec", config(_NEVER_RUN, server=_HTTP), authorization=""),
    Case("http without user", config("", server=_HTTP), authorization=""),
    Case("http with impersonation", config("token: $TOKEN, as: joe", server=_HTTP), authorization=""),
    Case("http with two methods", config("token: $TOKEN, username: a", server=_HTTP), "more than one authentication"),
]


class Merge(NamedTuple):
    """Several kubeconfigs; listed is the value of $KUBECONFIG, path the file that the user entry comes from."""

    name: str
    files: dict[str, str]
    listed: str
    refused: str = ""
    authorization: str = f"Bearer {INLINE_TOKEN}"
    path: str = ""


_CLUSTER = 'clusters: [{name: local, cluster: {server: "https://$HOST:$PORT", certificate-authority-data: $CA_DATA}}]\n'
_USERS = "users: [{name: u, user: {token: $TOKEN}}]\n"
_OTHERS = "users: [{name: u, user: {token: other, username: a}}]\n"
_CONTEXT = "contexts: [{name: x, context: {cluster: local, user: u}}]\n"
_CURRENT = "current-context: x\n"
_WHOLE = _CLUSTER + _USERS + _CONTEXT + _CURRENT

MERGES = [
    Merge("one", {"a": _WHOLE}, "$DIR/a", path="$DIR/a"),
    Merge("missing is skipped", {"a": _WHOLE}, "$DIR/absent:$DIR/a", path="$DIR/a"),
    Merge("empty entries are skipped", {"a": _WHOLE}, ":$DIR/a::", path="$DIR/a"),
    Merge("empty file is skipped", {"a": "", "b": _WHOLE}, "$DIR/a:$DIR/b", path="$DIR/b"),
    Merge("listed twice", {"a": _WHOLE}, "$DIR/a:$DIR/a", path="$DIR/a"),
    Merge(
        "an entry is taken whole, from the first",
        {"a": _USERS + _CURRENT, "b": _CLUSTER + _OTHERS + _CONTEXT},
        "$DIR/a:$DIR/b",
        path="$DIR/a",
    ),
    Merge(
        "in the other order the other",
        {"a": _USERS + _CURRENT, "b": _CLUSTER + _OTHERS + _CONTEXT},
        "$DIR/b:$DIR/a",
        "more than one authentication method found for u",
    ),
    Merge("current-context of the first", {"a": _WHOLE, "b": "current-context: z\n"}, "$DIR/a:$DIR/b", path="$DIR/a"),
    Merge(
        "current-context of the first, though it is nothing",
        {"a": _WHOLE, "b": "current-context: z\n"},
        "$DIR/b:$DIR/a",
        "context was not found for specified context: z",
    ),
    Merge(
        "empty current-context is none",
        {"a": "current-context: ''\n", "b": _WHOLE},
        "$DIR/a:$DIR/b",
        path="$DIR/b",
    ),
    Merge(
        "each entry in a file of its own",
        {"a": _CLUSTER, "b": _USERS, "c": _CONTEXT, "d": _CURRENT},
        "$DIR/a:$DIR/b:$DIR/c:$DIR/d",
        path="$DIR/b",
    ),
    Merge(
        "paths are relative to the file of the entry",
        {
            "one/a": _CLUSTER.replace("certificate-authority-data: $CA_DATA", "certificate-authority: ../ca.crt"),
            "one/two/b": "users: [{name: u, user: {tokenFile: ../../token}}]\n" + _CONTEXT + _CURRENT,
        },
        "$DIR/one/a:$DIR/one/two/b",
        authorization=f"Bearer {FILE_TOKEN}",
        path="$DIR/one/two/b",
    ),
    Merge(
        "not YAML", {"a": _WHOLE, "b": "a: [\n"}, "$DIR/a:$DIR/b", 'error loading config file "$DIR/b": yaml: line 2'
    ),
    Merge("a directory", {"a": _WHOLE}, "$DIR/a:$DIR/bin", 'error loading config file "$DIR/bin": open $DIR/bin: is a'),
    Merge(
        "none is there", {}, "$DIR/absent:$DIR/nor-this", "of $KUBECONFIG ($DIR/absent:$DIR/nor-this) no file exists"
    ),
]
