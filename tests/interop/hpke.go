// Command hpke seals and opens with Go's crypto/hpke: a peer for the tests of keys/sealing.py.
//
// It reads lines of JSON, {"op","key","info","data"} with hex values, and answers each with a line of
// hex, or "error". The key is the recipient's public key to seal, and its 32-byte seed to open; the
// public key of a seed is the answer to "public".
package main

import (
	"bufio"
	"crypto/hpke"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
)

type request struct{ Op, Key, Info, Data string }

func answer(r request) ([]byte, error) {
	kem, kdf, aead := hpke.MLKEM768X25519(), hpke.HKDFSHA256(), hpke.ChaCha20Poly1305()
	values := make([][]byte, 3)
	for i, text := range []string{r.Key, r.Info, r.Data} {
		value, err := hex.DecodeString(text)
		if err != nil {
			return nil, err
		}
		values[i] = value
	}
	if r.Op == "seal" {
		public, err := kem.NewPublicKey(values[0])
		if err != nil {
			return nil, err
		}
		return hpke.Seal(public, kdf, aead, values[1], values[2])
	}
	private, err := kem.NewPrivateKey(values[0])
	if err != nil {
		return nil, err
	}
	if r.Op == "public" {
		return private.PublicKey().Bytes(), nil
	}
	return hpke.Open(private, kdf, aead, values[1], values[2])
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var r request
		err := json.Unmarshal(lines.Bytes(), &r)
		var found []byte
		if err == nil {
			found, err = answer(r)
		}
		if err != nil {
			fmt.Println("error")
			continue
		}
		fmt.Println(hex.EncodeToString(found))
	}
}
