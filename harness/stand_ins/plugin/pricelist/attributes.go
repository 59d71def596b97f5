package pricelist

import (
	"hash/fnv"
	"strconv"
)

// random is a small generator whose numbers are the same everywhere
// (splitmix64).
type random uint64

// seed makes a generator of a text.
func seed(text string) random {
	hash := fnv.New64a()
	_, _ = hash.Write([]byte(text))
	return random(hash.Sum64())
}

// next returns 64 random bits.
func (r *random) next() uint64 {
	*r += 0x9e3779b97f4a7c15
	z := uint64(*r)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// below returns a number from 0 to limit-1.
func (r *random) below(limit int) int { return int(r.next() % uint64(limit)) }

// sku returns a product's name: sixteen capital letters and digits.
func (r *random) sku() string {
	const alphabet = "ABCDEFGHJKMNPQRSTUVWXYZ23456789X" // 32 signs: five bits each
	var text [16]byte
	low, high := r.next(), r.next()
	for i := range text {
		bits := low >> (5 * i)
		if i >= 8 {
			bits = high >> (5 * (i - 8))
		}
		text[i] = alphabet[bits&31]
	}
	return string(text[:])
}

// attribute is one of a product's strings.
type attribute struct {
	name  string
	value func([]byte, *random) []byte
}

// one picks one of the texts.
func one(texts ...string) func([]byte, *random) []byte {
	return func(b []byte, r *random) []byte { return append(b, texts[r.below(len(texts))]...) }
}

// number writes a number below the limit between two texts.
func number(before string, limit int, after string) func([]byte, *random) []byte {
	return func(b []byte, r *random) []byte {
		b = append(b, before...)
		b = strconv.AppendInt(b, int64(r.below(limit)), 10)
		return append(b, after...)
	}
}

// yesNo picks "Yes" or "No".
var yesNo = one("Yes", "No")

// attributes are the strings of every product besides its service and region.
// The names are those of the offer format; the values are invented.
var attributes = []attribute{
	{"location", one("Stand-in Region")},
	{"locationType", one("AWS Region")},
	{"instanceType", number("std", 900, ".large")},
	{"currentGeneration", yesNo},
	{"instanceFamily", one("General purpose", "Compute optimized", "Memory optimized", "Storage optimized")},
	{"vcpu", number("", 128, "")},
	{"physicalProcessor", one("Stand-in Processor One", "Stand-in Processor Two", "Stand-in Processor Three")},
	{"clockSpeed", number("Up to ", 5, ".0 GHz")},
	{"memory", number("", 1024, " GiB")},
	{"storage", one("EBS only", "1 x 900 NVMe SSD", "2 x 1900 NVMe SSD")},
	{"networkPerformance", one("Up to 10 Gigabit", "Up to 25 Gigabit", "100 Gigabit")},
	{"processorArchitecture", one("64-bit", "32-bit or 64-bit")},
	{"tenancy", one("Shared", "Dedicated", "Host")},
	{"operatingSystem", one("Linux", "Windows", "RHEL", "SUSE", "Red Hat Enterprise Linux with HA")},
	{"licenseModel", one("No License required", "Bring your own license")},
	{"usagetype", number("STD-BoxUsage:std", 900, ".large")},
	{"operation", number("RunInstances:", 1000, "")},
	{"availabilityzone", one("NA")},
	{"capacitystatus", one("Used", "AllocatedCapacityReservation", "UnusedCapacityReservation")},
	{"classicnetworkingsupport", one("false", "true")},
	{"dedicatedEbsThroughput", number("Up to ", 20000, " Mbps")},
	{"ecu", number("", 400, "")},
	{"enhancedNetworkingSupported", yesNo},
	{"gpuMemory", one("NA", "16 GB", "80 GB")},
	{"intelAvxAvailable", yesNo},
	{"intelAvx2Available", yesNo},
	{"intelTurboAvailable", yesNo},
	{"marketoption", one("OnDemand", "CapacityBlock")},
	{"normalizationSizeFactor", number("", 256, "")},
	{"preInstalledSw", one("NA", "SQL Std", "SQL Web", "SQL Ent")},
	{"processorFeatures", one("AVX; AVX2; Turbo", "AVX; AVX2; AVX512; Turbo; Deep Learning Boost")},
	{"servicename", one("Stand-in for an Elastic Service")},
	{"vpcnetworkingsupport", one("true", "false")},
	{"ebsOptimized", yesNo},
	{"volumeApiName", one("gp2", "gp3", "io1", "io2", "st1", "sc1", "standard")},
	{"databaseEngine", one("MySQL", "PostgreSQL", "MariaDB", "Oracle", "SQL Server")},
	{"deploymentOption", one("Single-AZ", "Multi-AZ", "Multi-AZ (readable standbys)")},
	{"instancesku", func(b []byte, r *random) []byte { return append(b, r.sku()...) }},
}
