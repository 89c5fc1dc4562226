"""What the containers of deploy run: POSIX shell, with what BusyBox has."""

from __future__ import annotations

from plugin.ops import archive

# /mnt is on every Linux; in the container, and nowhere else, the archive is there.
MOUNT = "/mnt"

# exec: what is printed and the exit status are install's.
INSTALL = f"""\
set -eu
echo "$ARCHIVE_SHA256  /host{MOUNT}/{archive.FILE}" | sha256sum -c > /dev/null 2>&1 || {{
  echo "error: the ConfigMap on this node is not yet, or no longer, the one of this version: trying again" >&2
  exit 1
}}
for python in $PYTHONS; do
  if chroot /host "$python" -ISc 'import sys, zlib; sys.exit(sys.version_info < (3, 9))' 2> /dev/null; then
    exec chroot /host "$python" -IS {MOUNT}/{archive.FILE} install "$@"
  fi
done
echo "error: this node has no Python 3.9 or later; tried $PYTHONS" >&2
exit 1
"""

IDLE = """\
trap 'exit 0' TERM INT
while :; do
  sleep 3600 &
  wait $! || :
done
"""

# Written beside and renamed: a reader gets the old file or the new one. During an update two pods do that at a time.
REFRESH = """\
set -eu
umask 077
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
trap 'exit 0' TERM INT
while :; do
  put /credentials/ca.crt ca.crt
  put /credentials/token token
  [ ! -e "/state/.kubeconfig.$POD" ] || mv -f "/state/.kubeconfig.$POD" /state/kubeconfig
  sleep 10 &
  wait $! || :
done
"""
