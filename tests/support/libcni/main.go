// Does what a container runtime does with libcni: COMMAND CONFLIST CONTAINER NETNS, as cnitool.
// $CNI_PATH holds the plugins, $CNI_CACHE the results.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/containernetworking/cni/libcni"
)

func main() {
	if err := run(context.Background(), os.Args[1], os.Args[2], os.Args[3], os.Args[4]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, command, path, container, netns string) error {
	list, err := libcni.ConfListFromFile(path)
	if err != nil {
		return err
	}
	cni := libcni.NewCNIConfigWithCacheDir(filepath.SplitList(os.Getenv("CNI_PATH")), os.Getenv("CNI_CACHE"), nil)
	pod := &libcni.RuntimeConf{ContainerID: container, NetNS: netns, IfName: "eth0"}
	switch command {
	case "add":
		result, err := cni.AddNetworkList(ctx, list, pod)
		if err != nil {
			return err
		}
		return result.Print()
	case "check":
		return cni.CheckNetworkList(ctx, list, pod)
	case "del":
		return cni.DelNetworkList(ctx, list, pod)
	}
	return fmt.Errorf("unknown command %q", command)
}
