// The same job in Go with its standard library: verify the JWT (no cache), check the grant, ask
// Gigya over TLS with a signed form, open what is sealed, rename, write a record, count, answer.
package main

import (
	"bytes"
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

type claims struct {
	Issuer   string   `json:"iss"`
	Subject  string   `json:"sub"`
	Audience []string `json:"aud"`
	Expires  int64    `json:"exp"`
	Begins   int64    `json:"nbf"`
}

type question struct {
	UID      string `json:"uid"`
	Provider string `json:"provider"`
}

type reply struct {
	CallID        string `json:"callId"`
	ErrorCode     int    `json:"errorCode"`
	AuthToken     string `json:"authToken"`
	TokenSecret   string `json:"tokenSecret"`
	SessionHandle string `json:"sessionHandle"`
	Expires       string `json:"tokenExpirationUTC"`
	IV            string `json:"IV"`
}

type answer struct {
	Provider string            `json:"provider"`
	Tokens   map[string]string `json:"tokens"`
	CallID   string            `json:"gigya_call_id"`
	AuditID  string            `json:"audit_id"`
}

type gateway struct {
	key      *rsa.PublicKey
	secret   []byte
	scoped   []byte
	url      string
	encoded  string
	client   *http.Client
	audit    *slog.Logger
	requests atomic.Int64
}

var errRefused = errors.New("refused")

const issuer = "https://cluster.benchmark.example"

func (g *gateway) identify(header string) (string, error) {
	token, ok := strings.CutPrefix(header, "Bearer ")
	parts := strings.Split(token, ".")
	if !ok || len(parts) != 3 {
		return "", errRefused
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil {
		return "", err
	}
	digest := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if err := rsa.VerifyPKCS1v15(g.key, crypto.SHA256, digest[:], signature); err != nil {
		return "", err
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return "", err
	}
	var c claims
	if err := json.Unmarshal(payload, &c); err != nil {
		return "", err
	}
	now := time.Now().Unix()
	if c.Issuer != issuer || c.Expires <= now || c.Begins > now {
		return "", errRefused
	}
	for _, audience := range c.Audience {
		if audience == "gigya-credential-proxy" {
			return strings.Split(c.Subject, ":")[2], nil
		}
	}
	return "", errRefused
}

func escape(text string) string { return strings.ReplaceAll(url.QueryEscape(text), "+", "%20") }

func (g *gateway) form(asked question) string {
	nonce := make([]byte, 16)
	rand.Read(nonce)
	form := map[string]string{
		"apiKey": "3_benchmark", "userKey": "ABenchmarkUserKey", "UID": asked.UID,
		"provider": asked.Provider, "encrypt": "true", "format": "json",
		"httpStatusCodes": "false", "nonce": hex.EncodeToString(nonce),
		"timestamp": strconv.FormatInt(time.Now().Unix(), 10),
	}
	names := make([]string, 0, len(form))
	for name := range form {
		names = append(names, name)
	}
	sort.Strings(names)
	var query strings.Builder
	for i, name := range names {
		if i > 0 {
			query.WriteByte('&')
		}
		query.WriteString(name + "=" + escape(form[name]))
	}
	mac := hmac.New(sha1.New, g.scoped)
	mac.Write([]byte("POST&" + g.encoded + "&" + escape(query.String())))
	return query.String() + "&sig=" + escape(base64.StdEncoding.EncodeToString(mac.Sum(nil)))
}

func (g *gateway) open(sealed string, iv []byte) (string, error) {
	text, err := base64.StdEncoding.DecodeString(sealed)
	if err != nil {
		return "", err
	}
	block, err := aes.NewCipher(g.secret)
	if err != nil {
		return "", err
	}
	if len(text) == 0 || len(text)%16 != 0 {
		return "", errRefused
	}
	cipher.NewCBCDecrypter(block, iv).CryptBlocks(text, text)
	count := int(text[len(text)-1])
	if count == 0 || count > 16 || !bytes.HasSuffix(text, bytes.Repeat([]byte{byte(count)}, count)) {
		return "", errRefused
	}
	return string(text[:len(text)-count]), nil
}

func (g *gateway) ask(asked question) (*reply, error) {
	response, err := g.client.Post(g.url, "application/x-www-form-urlencoded",
		strings.NewReader(g.form(asked)))
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 65536))
	if err != nil {
		return nil, err
	}
	var r reply
	if err := json.Unmarshal(body, &r); err != nil {
		return nil, err
	}
	iv, err := base64.StdEncoding.DecodeString(r.IV)
	if err != nil || len(iv) != 16 || r.ErrorCode != 0 {
		return nil, errRefused
	}
	if r.TokenSecret, err = g.open(r.TokenSecret, iv); err != nil {
		return nil, err
	}
	r.SessionHandle, err = g.open(r.SessionHandle, iv)
	return &r, err
}

func (g *gateway) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	began := time.Now()
	caller, err := g.identify(request.Header.Get("Authorization"))
	if err != nil {
		http.Error(w, `{"code":"unauthenticated"}`, http.StatusUnauthorized)
		return
	}
	var asked question
	body, err := io.ReadAll(io.LimitReader(request.Body, 16384))
	if err != nil || json.Unmarshal(body, &asked) != nil {
		http.Error(w, `{"code":"invalid-request"}`, http.StatusBadRequest)
		return
	}
	if caller != "crm" || asked.Provider != "twitter" {
		http.Error(w, `{"code":"access-denied"}`, http.StatusForbidden)
		return
	}
	r, err := g.ask(asked)
	if err != nil {
		http.Error(w, `{"code":"upstream-invalid"}`, http.StatusBadGateway)
		return
	}
	id := make([]byte, 16)
	rand.Read(id)
	audit := hex.EncodeToString(id)
	tokens := map[string]string{"oauth_token": r.AuthToken, "oauth_token_secret": r.TokenSecret,
		"oauth_session_handle": r.SessionHandle}
	g.requests.Add(1)
	g.audit.Info("released", "audit_id", audit, "caller", caller, "uid", asked.UID,
		"provider", asked.Provider, "call_id", r.CallID, "seconds", time.Since(began).Seconds())
	out, err := json.Marshal(answer{Provider: asked.Provider, Tokens: tokens, CallID: r.CallID, AuditID: audit})
	if err != nil {
		http.Error(w, `{"code":"internal-error"}`, http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Write(out)
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func decoded(path string) []byte {
	return must(base64.StdEncoding.DecodeString(string(must(os.ReadFile(path)))))
}

func main() {
	directory, port, upstream := os.Args[1], os.Args[2], os.Args[3]
	file := func(name string) string { return filepath.Join(directory, name) }
	block, _ := pem.Decode(must(os.ReadFile(file("issuer.pem"))))
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(must(os.ReadFile(file("ca.pem"))))
	address := "https://localhost:" + upstream + "/socialize.getSessionInfo"
	out := must(os.OpenFile(file("go.jsonl"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600))
	g := &gateway{
		key:     must(x509.ParsePKIXPublicKey(block.Bytes)).(*rsa.PublicKey),
		secret:  decoded(file("secret")),
		scoped:  decoded(file("scoped")),
		url:     address,
		encoded: escape(address),
		client: &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{
			TLSClientConfig: &tls.Config{RootCAs: roots}, MaxIdleConns: 1024,
			MaxIdleConnsPerHost: 1024, DisableCompression: true,
		}},
		audit: slog.New(slog.NewJSONHandler(out, nil)),
	}
	mux := http.NewServeMux()
	mux.Handle("POST /v1/provider-tokens", g)
	panic(http.ListenAndServe("127.0.0.1:"+port, mux))
}
