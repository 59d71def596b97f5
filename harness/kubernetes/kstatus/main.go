// Command kstatus tells what Flux makes of Kubernetes objects.
//
// It reads a List as JSON from standard input and prints a line for each object: its status by
// kstatus, the rules of Flux and of other tools
// (https://github.com/kubernetes-sigs/cli-utils/tree/master/pkg/kstatus), kind, name and reason.
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"os"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
)

func main() {
	var list unstructured.UnstructuredList
	if err := json.NewDecoder(os.Stdin).Decode(&list); err != nil {
		log.Fatal(err)
	}
	for i := range list.Items {
		object := &list.Items[i]
		flux, err := status.Compute(object)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(flux.Status, object.GetKind(), object.GetName(), flux.Message)
	}
}
