package main

import (
	"archive/zip"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"

	"github.com/goccy/go-json"
	"golang.org/x/sys/unix"
)

// essentialService is the list that the plugin does not start without.
const essentialService = "AmazonEC2"

// offer is a price list in the format of AWS offer files.
type offer struct {
	OfferCode string                                `json:"offerCode"`
	Version   string                                `json:"version"`
	Products  map[string]product                    `json:"products"`
	Terms     map[string]map[string]map[string]term `json:"terms"` // kind, product, offer
}

type product struct {
	Sku        string            `json:"sku"`
	Family     string            `json:"productFamily"`
	Attributes map[string]string `json:"attributes"`
}

type term struct {
	Offer      string               `json:"offerTermCode"`
	Sku        string               `json:"sku"`
	Effective  string               `json:"effectiveDate"`
	Dimensions map[string]dimension `json:"priceDimensions"`
}

type dimension struct {
	RateCode    string            `json:"rateCode"`
	Description string            `json:"description"`
	BeginRange  string            `json:"beginRange"`
	EndRange    string            `json:"endRange"`
	Unit        string            `json:"unit"`
	PerUnit     map[string]string `json:"pricePerUnit"`
	AppliesTo   []string          `json:"appliesTo"`
}

// price is what stays in memory of a product. Its unit is a part of the text
// that was parsed, so that the whole text stays as well, as in the real plugin.
type price struct {
	unit string
	rate float64
}

// priceIndex holds the prices of one service.
type priceIndex map[string]price

// loadLists parses every list that is attached to the executable, each in a
// goroutine of its own, and returns the prices by service; without lists there
// are none. As in the real plugin only the list of EC2 is essential: report is
// called for every other list that cannot be parsed.
func loadLists(executable string, report func(service string, err error)) (map[string]priceIndex, error) {
	texts, err := attachedLists(executable)
	if err != nil {
		return nil, err
	}
	var (
		group  sync.WaitGroup
		mu     sync.Mutex
		failed error
	)
	indexes := make(map[string]priceIndex, len(texts))
	for service, text := range texts {
		group.Go(func() {
			index, err := parseList(service, text)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				indexes[service] = index
			case service == essentialService:
				failed = err
			default:
				report(service, err)
			}
		})
	}
	group.Wait()
	return indexes, failed
}

// attachedLists maps the executable into memory and returns its lists by
// service. They are file pages, as those that Go embeds.
func attachedLists(executable string) (map[string][]byte, error) {
	file, err := os.Open(executable)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	about, err := file.Stat()
	if err != nil {
		return nil, err
	}
	archive, err := zip.NewReader(file, about.Size())
	if errors.Is(err, zip.ErrFormat) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	pages, err := unix.Mmap(int(file.Fd()), 0, int(about.Size()), unix.PROT_READ, unix.MAP_PRIVATE)
	if err != nil {
		return nil, err
	}
	texts := make(map[string][]byte, len(archive.File))
	for _, entry := range archive.File {
		begin, err := entry.DataOffset()
		if err != nil {
			return nil, err
		}
		service, _, _ := strings.Cut(entry.Name, "_")
		texts[service] = pages[begin : begin+int64(entry.UncompressedSize64)]
	}
	return texts, nil
}

// parseList reads one list and keeps the on-demand prices of ordinary products.
func parseList(service string, text []byte) (priceIndex, error) {
	var list offer
	if err := json.Unmarshal(text, &list); err != nil {
		return nil, fmt.Errorf("%s: %w", service, err)
	}
	if len(list.Products) == 0 {
		return nil, fmt.Errorf("%s: the price list is empty", service)
	}
	index := make(priceIndex, len(list.Products))
	for sku, item := range list.Products {
		if item.Attributes["capacitystatus"] != "Used" || item.Attributes["preInstalledSw"] != "NA" {
			continue
		}
		if found, ok := onDemandPrice(&list, sku); ok {
			kind, system := item.Attributes["instanceType"], item.Attributes["operatingSystem"]
			index[fmt.Sprintf("%s/%s/%s", kind, system, item.Attributes["tenancy"])] = found
		}
	}
	return index, nil
}

// onDemandPrice finds a product's price in US dollars.
func onDemandPrice(list *offer, sku string) (price, bool) {
	for _, offered := range list.Terms["OnDemand"][sku] {
		for _, part := range offered.Dimensions {
			if rate, err := strconv.ParseFloat(part.PerUnit["USD"], 64); err == nil {
				return price{unit: part.Unit, rate: rate}, true
			}
		}
	}
	return price{}, false
}
