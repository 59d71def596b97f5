// Package pricelist attaches one region's generated price lists to the stand-in
// plugin's executable, as a zip file at its end. Every value is made from the
// region's name; nothing is taken from a real list.
package pricelist

import (
	"archive/zip"
	"bufio"
	"errors"
	"io"
	"os"
)

// services are the lists of one region and their share of the bytes, in
// thousandths.
var services = []struct {
	code   string
	family string
	share  int
}{
	{"AmazonEC2", "Compute Instance", 850},
	{"AmazonRDS", "Database Instance", 90},
	{"AmazonElastiCache", "Cache Instance", 20},
	{"AmazonS3", "Storage", 10},
	{"AmazonCloudWatch", "Metric", 10},
	{"AmazonVPC", "NAT Gateway", 5},
	{"AmazonDynamoDB", "Database Storage", 5},
	{"AWSLambda", "Serverless", 5},
	{"AWSELB", "Load Balancer-Application", 3},
	{"AmazonEKS", "Compute", 2},
}

// Attach writes an executable that is the given program followed by the
// region's lists, which are about size bytes together.
func Attach(output, program, region string, size int64) (err error) {
	code, err := os.ReadFile(program)
	if err != nil {
		return err
	}
	file, err := os.OpenFile(output, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o755)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	buffered := bufio.NewWriterSize(file, 1<<20)
	if _, err := buffered.Write(code); err != nil {
		return err
	}
	if err := write(buffered, int64(len(code)), region, size); err != nil {
		return err
	}
	return buffered.Flush()
}

// write writes the zip file, which begins at offset. The lists are not
// compressed: the plugin maps them into memory and parses them where they are.
// The same region and size give the same bytes.
func write(out io.Writer, offset int64, region string, size int64) error {
	archive := zip.NewWriter(out)
	archive.SetOffset(offset)
	for _, service := range services {
		name := service.code + "_" + region + ".json"
		entry, err := archive.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Store})
		if err != nil {
			return err
		}
		list := newOffer(service.code, service.family, region)
		if err := list.write(entry, int(size*int64(service.share)/1000)); err != nil {
			return err
		}
	}
	return archive.Close()
}
