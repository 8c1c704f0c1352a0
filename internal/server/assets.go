package server

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
)

// The hashes of the script and the style of the page, which its policy allows.
var scriptHash, styleHash = hashOf("script"), hashOf("style")

// hashOf returns the hash of the page's only element with a name.
func hashOf(element string) string {
	_, rest, _ := bytes.Cut(page, []byte("<"+element+">"))
	text, _, _ := bytes.Cut(rest, []byte("</"+element+">"))
	sum := sha256.Sum256(text)
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}
