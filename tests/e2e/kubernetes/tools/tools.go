//go:build tools

// Names the programs that the tests compile, so that go.mod has their versions.
package tools

import (
	_ "github.com/yannh/kubeconform/cmd/kubeconform"
	_ "sigs.k8s.io/kustomize/kustomize/v5"
)
