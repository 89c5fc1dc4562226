"""The shell scripts of deploy's containers: POSIX, with BusyBox's tools."""

from __future__ import annotations

from plugin.ops.install import archive

# Mount points in the node's root, for the archive and the plugins' directory; every Linux has both directories. The
# plugins' directory is not mounted at its own path: an absolute link in that path would lead out of the node's root.
MOUNT = "/mnt"
BIN = "/srv"

# exec: the container's output and exit status are those of install.
INSTALL = f"""\
set -eu
fits() {{
  chroot /host "$1" -ISc 'import sys, zlib; sys.exit(sys.version_info < (3, 9))'
}}
echo "$ARCHIVE_SHA256  /host{MOUNT}/{archive.FILE}" | sha256sum -c > /dev/null 2>&1 || {{
  echo "error: the ConfigMap on this node is not the one of this DaemonSet's version yet; retrying" >&2
  exit 1
}}
for python in $PYTHONS; do
  if fits "$python" 2> /dev/null; then
    echo "$BIN_DIR of the node is {BIN} in here"
    exec chroot /host "$python" -IS {MOUNT}/{archive.FILE} install "$@"
  fi
done
echo "error: this node has no Python 3.9 or later; tried $PYTHONS" >&2
for python in $PYTHONS; do
  fits "$python" || :
done
exit 1
"""

IDLE = """\
trap 'exit 0' TERM INT
while :; do
  sleep 3600 &
  wait $! || :
done
"""

# Files are replaced by rename: a reader gets the old file or the new one. During an update there are two pods. The one
# that started last writes; if it ends first, as in a rollback, the other one takes over.
REFRESH = """\
set -eu
umask 077
own() {
  echo "$POD" > "/state/.owner.$POD" && mv -f "/state/.owner.$POD" /state/owner
}
owner() {
  owner=
  read -r owner 2> /dev/null < /state/owner || :
}
leave() {
  owner
  [ "$owner" != "$POD" ] || : > /state/owner
  exit 0
}
put() {
  cmp -s "$1" "/state/$2" || { cp "$1" "/state/.$2.$POD" && mv -f "/state/.$2.$POD" "/state/$2"; }
}
case $KUBERNETES_SERVICE_HOST in
  *:*) address="[$KUBERNETES_SERVICE_HOST]" ;;
  *) address=$KUBERNETES_SERVICE_HOST ;;
esac
cat > "/state/.kubeconfig.$POD" << END
apiVersion: v1
kind: Config
current-context: node-ipam
clusters:
- name: node-ipam
  cluster:
    server: ${SERVER:-https://$address:$KUBERNETES_SERVICE_PORT}
    certificate-authority: $STATE/ca.crt
users:
- name: node-ipam
  user:
    tokenFile: $STATE/token
contexts:
- name: node-ipam
  context:
    cluster: node-ipam
    user: node-ipam
END
trap leave TERM INT
own
while :; do
  owner
  [ "$owner" ] || own
  if [ "${owner:-$POD}" = "$POD" ]; then
    put /credentials/ca.crt ca.crt
    put /credentials/token token
    [ ! -e "/state/.kubeconfig.$POD" ] || mv -f "/state/.kubeconfig.$POD" /state/kubeconfig
  fi
  sleep 10 &
  wait $! || :
done
"""
