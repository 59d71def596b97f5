//go:build tools

// Names the program that the tests compile, so that go.mod has its version.
package tools

import _ "github.com/yannh/kubeconform/cmd/kubeconform"
