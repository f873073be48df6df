// Command log reads our log with the packages of Go's checksum database: a peer for the tests of gateway/core.
//
// It reads lines of JSON and answers each with a line: "ok" and what it found, or "error".
package main

import (
	"bufio"
	"crypto/mldsa"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

type request struct {
	Op, Note, Key, Leaf, Root, OldRoot, Message, Signature string
	Proof                                                  []string
	Index, Size, Old                                       int64
}

func hash(text string) (h tlog.Hash, err error) {
	data, err := base64.StdEncoding.DecodeString(text)
	if err == nil && len(data) != len(h) {
		err = errors.New("not a hash")
	}
	copy(h[:], data)
	return h, err
}

func answer(r request) (string, error) {
	var proof []tlog.Hash
	for _, line := range r.Proof {
		h, err := hash(line)
		if err != nil {
			return "", err
		}
		proof = append(proof, h)
	}
	switch r.Op {
	case "note": // by a verifier that knows Ed25519 alone
		verifier, err := note.NewVerifier(r.Key)
		if err != nil {
			return "", err
		}
		found, err := note.Open([]byte(r.Note), note.VerifierList(verifier))
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("%d %d %q", len(found.Sigs), len(found.UnverifiedSigs), found.Text), nil
	case "inclusion":
		root, err := hash(r.Root)
		if err != nil {
			return "", err
		}
		leaf, err := hex.DecodeString(r.Leaf)
		if err != nil {
			return "", err
		}
		return "", tlog.CheckRecord(tlog.RecordProof(proof), r.Size, root, r.Index, tlog.RecordHash(leaf))
	case "consistency":
		root, err := hash(r.Root)
		if err != nil {
			return "", err
		}
		old, err := hash(r.OldRoot)
		if err != nil {
			return "", err
		}
		return "", tlog.CheckTree(tlog.TreeProof(proof), r.Size, root, r.Old, old)
	case "mldsa":
		raw, err := hex.DecodeString(r.Key)
		if err != nil {
			return "", err
		}
		public, err := mldsa.NewPublicKey(mldsa.MLDSA44(), raw)
		if err != nil {
			return "", err
		}
		message, err := hex.DecodeString(r.Message)
		if err != nil {
			return "", err
		}
		signature, err := hex.DecodeString(r.Signature)
		if err != nil {
			return "", err
		}
		return "", mldsa.Verify(public, message, signature, nil)
	}
	return "", errors.New("no such operation")
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var r request
		err := json.Unmarshal(lines.Bytes(), &r)
		found := ""
		if err == nil {
			found, err = answer(r)
		}
		if err != nil {
			fmt.Println("error")
		} else {
			fmt.Println("ok " + found)
		}
	}
}
