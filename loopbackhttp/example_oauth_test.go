package loopbackhttp_test

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"time"

	"example.com/loopback"
	"example.com/loopback/loopbackhttp"
)

// A grant is what a program needs for its token request: RFC 7636, section 4.5.
type grant struct{ code, verifier string }

// authorize asks the authorization server at endpoint for a grant, as RFC 8252,
// section 7.3, has it for programs on the user's machine: the server redirects the
// browser to a loopback port, which is open until then. A Guard admits the redirect,
// because it is a navigation.
func authorize(ctx context.Context, endpoint string, openBrowser func(url string) error) (grant, error) {
	ln, err := loopback.Listen("tcp", "127.0.0.1:0") // RFC 8252, section 8.3: not localhost
	if err != nil {
		return grant{}, err
	}
	state, verifier := rand.Text(), rand.Text()+rand.Text()
	codes := make(chan string, 1)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /callback", func(w http.ResponseWriter, r *http.Request) {
		if subtle.ConstantTimeCompare([]byte(r.FormValue("state")), []byte(state)) == 0 {
			http.Error(w, "unknown state", http.StatusBadRequest) // another page navigated here
			return
		}
		fmt.Fprint(w, "You may close this page.")
		select {
		case codes <- r.FormValue("code"):
		default: // the page is loaded again
		}
	})
	server := new(loopbackhttp.Guard).Server(mux)
	go server.Serve(ln)
	defer func() { // when the page is sent
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		server.Shutdown(ctx)
	}()

	challenge := sha256.Sum256([]byte(verifier))
	query := url.Values{
		"response_type":         {"code"},
		"client_id":             {"example"},
		"redirect_uri":          {ln.URL("http") + "/callback"},
		"state":                 {state},
		"code_challenge":        {base64.RawURLEncoding.EncodeToString(challenge[:])},
		"code_challenge_method": {"S256"},
	}
	if err := openBrowser(endpoint + "?" + query.Encode()); err != nil {
		return grant{}, err
	}
	select {
	case code := <-codes:
		return grant{code: code, verifier: verifier}, nil
	case <-ctx.Done():
		return grant{}, ctx.Err()
	}
}

// A navigation sends the headers of a browser that a page of another site sends on.
type navigation struct{ http.RoundTripper }

func (n navigation) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	r.Header.Set("Sec-Fetch-Mode", "navigate")
	r.Header.Set("Sec-Fetch-Dest", "document")
	return n.RoundTripper.RoundTrip(r)
}

// Sign in with OAuth: the redirect of the authorization server to a loopback port
// passes the Guard.
func ExampleGuard_oauth() {
	// The authorization server, whose user has agreed before.
	provider := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		back := r.FormValue("redirect_uri") + "?" + url.Values{"code": {"4711"}, "state": {r.FormValue("state")}}.Encode()
		http.Redirect(w, r, back, http.StatusFound)
	}))
	defer provider.Close()

	browser := &http.Client{Transport: navigation{http.DefaultTransport}}
	openBrowser := func(url string) error { // a program would start the user's browser here
		resp, err := browser.Get(url)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		page, err := io.ReadAll(resp.Body)
		fmt.Printf("%d %s\n", resp.StatusCode, page)
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	granted, err := authorize(ctx, provider.URL, openBrowser)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("code", granted.code)
	// Output:
	// 200 You may close this page.
	// code 4711
}
