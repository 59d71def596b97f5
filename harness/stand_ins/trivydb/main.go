// Writes a small vulnerability database in Trivy's own format.
//
//	trivydb DIRECTORY <advisories.json
//
// DIRECTORY gets trivy.db and metadata.json. The input is described by the type advisories.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/aquasecurity/trivy-db/pkg/db"
	"github.com/aquasecurity/trivy-db/pkg/metadata"
	"github.com/aquasecurity/trivy-db/pkg/types"
	bolt "go.etcd.io/bbolt"
)

type advisories struct {
	UpdatedAt  time.Time
	NextUpdate time.Time
	Sources    map[string]types.DataSource // by bucket, such as "debian 12"
	Advisories []struct {
		ID       string
		Bucket   string
		Package  string
		Advisory types.Advisory
	}
	Vulnerabilities map[string]types.Vulnerability
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "trivydb:", err)
		os.Exit(1)
	}
}

func run() error {
	if len(os.Args) != 2 {
		return fmt.Errorf("usage: trivydb DIRECTORY <advisories.json")
	}
	var input advisories
	decoder := json.NewDecoder(os.Stdin)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&input); err != nil {
		return err
	}
	if err := db.Init(os.Args[1]); err != nil {
		return err
	}
	if err := (db.Config{}).BatchUpdate(func(tx *bolt.Tx) error { return write(tx, input) }); err != nil {
		return err
	}
	if err := db.Close(); err != nil {
		return err
	}
	return metadata.NewClient(os.Args[1]).Update(metadata.Metadata{
		Version: db.SchemaVersion, UpdatedAt: input.UpdatedAt, NextUpdate: input.NextUpdate,
	})
}

func write(tx *bolt.Tx, input advisories) error {
	var config db.Config
	for bucket, source := range input.Sources {
		if err := config.PutDataSource(tx, bucket, source); err != nil {
			return err
		}
	}
	for _, entry := range input.Advisories {
		advisory := entry.Advisory
		if err := config.PutAdvisory(tx, []string{entry.Bucket, entry.Package}, entry.ID, &advisory); err != nil {
			return err
		}
	}
	for id, vulnerability := range input.Vulnerabilities {
		if err := config.PutVulnerability(tx, id, vulnerability); err != nil {
			return err
		}
	}
	return nil
}
