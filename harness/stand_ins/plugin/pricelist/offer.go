package pricelist

import (
	"fmt"
	"io"
	"strconv"
)

// offer makes one service's list in the format of AWS offer files.
type offer struct {
	service, family, region string
	random                  random
}

// newOffer seeds the list from its names.
func newOffer(service, family, region string) *offer {
	return &offer{service: service, family: family, region: region, random: seed(service + " " + region)}
}

// write writes a list of about size bytes, of one product at least.
func (o *offer) write(out io.Writer, size int) error {
	head := fmt.Sprintf(`{"formatVersion":"v1.0","disclaimer":"generated for tests; not a price list",`+
		`"offerCode":%q,"version":"20260101000000","publicationDate":"2026-01-01T00:00:00Z","products":{`, o.service)
	if _, err := io.WriteString(out, head); err != nil {
		return err
	}
	// The terms follow after all products, so they wait here.
	terms := make([]byte, 0, size/3)
	var product []byte
	for written, i := len(head), 0; i == 0 || written+len(terms) < size; i++ {
		sku := o.random.sku()
		if i > 0 {
			product, terms = append(product[:0], ','), append(terms, ',')
		}
		product = o.appendProduct(product, sku)
		terms = o.appendTerm(terms, sku)
		if _, err := out.Write(product); err != nil {
			return err
		}
		written += len(product)
	}
	for _, part := range []string{`},"terms":{"OnDemand":{`, string(terms), "}}}\n"} {
		if _, err := io.WriteString(out, part); err != nil {
			return err
		}
	}
	return nil
}

// appendProduct adds a product with its attributes, all of them strings.
func (o *offer) appendProduct(b []byte, sku string) []byte {
	b = appendStrings(b, `"`, sku, `":{"sku":"`, sku, `","productFamily":"`, o.family, `","attributes":{`)
	b = appendStrings(b, `"servicecode":"`, o.service, `","regionCode":"`, o.region, `"`)
	for _, attribute := range attributes {
		b = appendStrings(b, `,"`, attribute.name, `":"`)
		b = attribute.value(b, &o.random)
		b = append(b, '"')
	}
	return append(b, "}}"...)
}

// Codes of the one kind of term in the lists and of its one price.
const (
	offerTerm = "STANDINTRM"
	rateTerm  = "STANDINRAT"
)

// appendTerm adds a product's on-demand term with one price.
func (o *offer) appendTerm(b []byte, sku string) []byte {
	code := sku + "." + offerTerm
	rate := code + "." + rateTerm
	price := strconv.FormatFloat(float64(o.random.below(1_000_000))/10_000, 'f', 10, 64)
	return appendStrings(b, `"`, sku, `":{"`, code, `":{"offerTermCode":"`+offerTerm+`","sku":"`, sku,
		`","effectiveDate":"2026-01-01T00:00:00Z","priceDimensions":{"`, rate, `":{"rateCode":"`, rate,
		`","description":"$`, price[:6], ` per On Demand unit of a generated product","beginRange":"0","endRange":"Inf",`+
			`"unit":"Hrs","pricePerUnit":{"USD":"`, price, `"},"appliesTo":[]}},"termAttributes":{}}}`)
}

// appendStrings adds texts that need no escapes in JSON.
func appendStrings(b []byte, texts ...string) []byte {
	for _, text := range texts {
		b = append(b, text...)
	}
	return b
}
