package functionhost

import (
	"net/url"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
)

// blobURL leaves the slashes of a name as they are (BlobUriBuilder in
// azure-sdk-for-net), which the client used here does not.
func blobURL(c *container.Client, name string) string {
	segments := strings.Split(name, "/")
	for i, segment := range segments {
		segments[i] = url.PathEscape(segment)
	}
	return c.URL() + "/" + strings.Join(segments, "/")
}

// blobMetadata is the binding data of a blob (BlobTriggerBinding in
// azure-sdk-for-net), with the tokens of the path over it.
//
// Properties has the names of Azure.Storage.Blobs.Models.BlobProperties, the
// enumerations as numbers, and an ETag without content: Newtonsoft.Json writes
// the struct Azure.ETag as {} (https://github.com/Azure/azure-sdk-for-net/pull/5469).
func blobMetadata(uri string, p blob.GetPropertiesResponse, tokens map[string]string) metadata {
	user := map[string]string{}
	for key, value := range p.Metadata {
		user[key] = or(value, "")
	}
	m := metadata{"Uri": quoted(uri), "Metadata": user, "Properties": map[string]any{
		"LastModified":            timestamp(or(p.LastModified, time.Time{}), "+00:00"),
		"CreatedOn":               timestamp(or(p.CreationTime, time.Time{}), "+00:00"),
		"Metadata":                user,
		"BlobType":                0, // BlobType.Block
		"LeaseDuration":           0,
		"LeaseState":              0,
		"LeaseStatus":             1, // LeaseStatus.Unlocked
		"ContentLength":           or(p.ContentLength, 0),
		"ContentType":             p.ContentType,
		"ETag":                    struct{}{},
		"ContentHash":             p.ContentMD5,
		"ContentEncoding":         p.ContentEncoding,
		"ContentDisposition":      p.ContentDisposition,
		"ContentLanguage":         p.ContentLanguage,
		"CacheControl":            p.CacheControl,
		"BlobSequenceNumber":      0,
		"AcceptRanges":            p.AcceptRanges,
		"BlobCommittedBlockCount": 0,
		"IsServerEncrypted":       or(p.IsServerEncrypted, false),
		"AccessTier":              p.AccessTier,
		"AccessTierInferred":      or(p.AccessTierInferred, false),
		"VersionId":               p.VersionID,
		"IsLatestVersion":         or(p.IsCurrentVersion, false),
		"TagCount":                or(p.TagCount, 0),
	}}
	for token, value := range tokens {
		m.set(token, quoted(value))
	}
	return m
}
