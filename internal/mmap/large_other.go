//go:build !linux

package mmap

func advise([]byte) {}
