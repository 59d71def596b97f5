package pricelist

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
)

// lists returns the zip file of a region.
func lists(t *testing.T, region string, size int64) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := write(&out, 0, region, size); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// The same region and size give the same bytes; another region gives others.
func TestSameInputsSameBytes(t *testing.T) {
	once := lists(t, "us-east-1", 200_000)
	if !bytes.Equal(once, lists(t, "us-east-1", 200_000)) {
		t.Error("two runs differ")
	}
	var here, there bytes.Buffer
	if err := errors.Join(newOffer("S", "F", "us-east-1").write(&here, 9000),
		newOffer("S", "F", "eu-west-1").write(&there, 9000)); err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(here.Bytes(), bytes.ReplaceAll(there.Bytes(), []byte("eu-west-1"), []byte("us-east-1"))) {
		t.Error("two regions differ in their names only")
	}
}

// The lists have the size that was asked for, and EC2 has most of it.
func TestSizeAndShares(t *testing.T) {
	const size = 3_000_000
	data := lists(t, "us-east-1", size)
	if len(data) < size || len(data) > size*101/100 {
		t.Errorf("%d bytes", len(data))
	}
	archive, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil || len(archive.File) != len(services) {
		t.Fatalf("%d lists, %v", len(archive.File), err)
	}
	if share := archive.File[0].UncompressedSize64 * 100 / size; archive.File[0].Name != "AmazonEC2_us-east-1.json" || share != 85 {
		t.Errorf("%s has %d %%", archive.File[0].Name, share)
	}
}

// A list is an offer file: products with forty strings each, and a price for each.
func TestFormat(t *testing.T) {
	data := lists(t, "us-east-1", 0)
	archive, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range archive.File {
		reader, _ := entry.Open()
		text, _ := io.ReadAll(reader)
		var list struct {
			OfferCode string
			Products  map[string]struct{ Attributes map[string]string }
			Terms     struct {
				OnDemand map[string]map[string]struct{ PriceDimensions map[string]any }
			}
		}
		if err := json.Unmarshal(text, &list); err != nil || len(list.Products) == 0 {
			t.Fatalf("%s: %v, %d products", entry.Name, err, len(list.Products))
		}
		for sku, product := range list.Products {
			if product.Attributes["regionCode"] != "us-east-1" || len(product.Attributes) != 40 {
				t.Errorf("%s: %d attributes: %v", sku, len(product.Attributes), product)
			}
			if len(list.Terms.OnDemand[sku]) != 1 {
				t.Errorf("%s has no price", sku)
			}
		}
	}
}

// The executable is the program, unchanged, with the lists behind it.
func TestAttach(t *testing.T) {
	directory := t.TempDir()
	program, output := filepath.Join(directory, "program"), filepath.Join(directory, "output")
	if err := os.WriteFile(program, []byte("a program"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Attach(output, program, "us-east-1", 0); err != nil {
		t.Fatal(err)
	}
	data, _ := os.ReadFile(output)
	about, _ := os.Stat(output)
	if !bytes.HasPrefix(data, []byte("a program")) || about.Mode().Perm()&0o111 == 0 {
		t.Errorf("begins with %.20q, mode %v", data, about.Mode())
	}
	if archive, err := zip.NewReader(bytes.NewReader(data), int64(len(data))); err != nil || len(archive.File) != len(services) {
		t.Errorf("no lists: %v", err)
	}
	if err := Attach(output, filepath.Join(directory, "missing"), "us-east-1", 0); err == nil {
		t.Error("a missing program was accepted")
	}
}
