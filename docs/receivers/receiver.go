// A webhook receiver with the standard library alone: WEBHOOK_SECRET=whsec_... go run receiver.go
package main

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

type event struct {
	Type string
	Data struct {
		ID       string
		Sequence int
	}
}

// Forgotten at a restart. In production: a table of your database whose primary key is the webhook-id, filled with
// INSERT ... ON CONFLICT DO NOTHING in the transaction that stores the work to be done, and the sequence beside it.
var (
	mutex     sync.Mutex
	seen      = map[string]bool{}
	sequences = map[string]int{}
)

// verified takes the body as it came; an old timestamp may be a replay.
func verified(key []byte, header http.Header, body []byte) bool {
	id, timestamp := header.Get("webhook-id"), header.Get("webhook-timestamp")
	seconds, err := strconv.ParseInt(timestamp, 10, 64)
	if id == "" || err != nil || time.Since(time.Unix(seconds, 0)).Abs() > 5*time.Minute {
		return false
	}
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%s.%s.%s", id, timestamp, body)
	expected := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	for _, signature := range strings.Fields(header.Get("webhook-signature")) { // two while a secret is rotated
		if hmac.Equal([]byte(signature), []byte(expected)) {
			return true
		}
	}
	return false
}

func isNews(id string, e event) bool {
	// Types that you don't know are none of your business: new ones may come. Answer 2xx to them.
	if e.Type != "training.ready" && e.Type != "training.deleted" {
		return false
	}
	mutex.Lock()
	defer mutex.Unlock()
	if seen[id] {
		return false
	}
	seen[id] = true
	if e.Data.Sequence <= sequences[e.Data.ID] { // older than what we have
		return false
	}
	sequences[e.Data.ID] = e.Data.Sequence
	return true
}

// work is what takes its time: mail, downloads.
func work(e event) {
	fmt.Println("handled", e.Type, e.Data.ID, e.Data.Sequence)
}

func main() {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(os.Getenv("WEBHOOK_SECRET"), "whsec_"))
	if err != nil || len(key) == 0 {
		log.Fatal("WEBHOOK_SECRET must be whsec_...")
	}
	http.HandleFunc("/hook", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
		if err != nil || !verified(key, r.Header, body) {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		w.WriteHeader(http.StatusNoContent)
		var e event
		if json.Unmarshal(body, &e) == nil && isNews(r.Header.Get("webhook-id"), e) {
			go work(e)
		}
	})
	listener, err := net.Listen("tcp", "127.0.0.1:"+cmp.Or(os.Getenv("PORT"), "3000"))
	if err != nil {
		log.Fatal(err)
	}
	log.Printf("listening on http://%s/hook", listener.Addr())
	log.Fatal((&http.Server{ReadTimeout: 10 * time.Second}).Serve(listener))
}
