package browser

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/caddy-otp/caddy-otp/internal/cookie"
	"github.com/caddy-otp/caddy-otp/internal/jsonapi"
	"github.com/caddy-otp/caddy-otp/internal/otp"
	"github.com/caddy-otp/caddy-otp/internal/pages"
	"github.com/caddy-otp/caddy-otp/internal/stepup"
)

// The pages.
const (
	accountPath   = "/.otp/"
	signInPath    = "/.otp/sign-in"
	callbackPath  = "/.otp/callback"
	stepUpPath    = "/.otp/step-up"
	sendPath      = "/.otp/step-up/send"
	newFactorPath = "/.otp/factors/new"
	factorsPath   = "/.otp/factors/" // {id}/remove
	recoveryPath  = "/.otp/recovery-codes"
	signOutPath   = "/.otp/sign-out"
	logoutPath    = "/.otp/backchannel-logout"
)

// visit is one request for a page.
type visit struct {
	*Site
	w    http.ResponseWriter
	r    *http.Request
	jar  *cookie.Jar
	form url.Values
	id   string // the factor in the path, where the route has one
}

// route is what one method of one page does.
type route struct {
	serve func(*visit)
	// provider tells that it is for sites where browsers sign in.
	provider bool
	// server tells that no browser calls it: it has neither cookies nor an origin.
	server bool
}

var routes = map[string]map[string]route{
	accountPath:   {http.MethodGet: {serve: (*visit).account}},
	stepUpPath:    {http.MethodGet: {serve: (*visit).showStepUp}, http.MethodPost: {serve: (*visit).stepUp}},
	sendPath:      {http.MethodPost: {serve: (*visit).send}},
	newFactorPath: {http.MethodGet: {serve: (*visit).showNewFactor}, http.MethodPost: {serve: (*visit).confirmNewFactor}},
	recoveryPath:  {http.MethodPost: {serve: (*visit).newRecoveryCodes}},
	signOutPath:   {http.MethodPost: {serve: (*visit).signOut}},
	signInPath:    {http.MethodGet: {serve: (*visit).signIn, provider: true}},
	callbackPath:  {http.MethodGet: {serve: (*visit).callback, provider: true}},
	logoutPath:    {http.MethodPost: {serve: (*visit).providerSignOut, provider: true, server: true}},
}

// factorRoutes are those of one factor.
var factorRoutes = map[string]route{http.MethodPost: {serve: (*visit).removeFactor}}

// find returns the methods of a path, nil if it is no page of this site's.
func (s *Site) find(path string) (methods map[string]route, id string) {
	if !s.On() {
		return nil, ""
	}
	methods = routes[path]
	if rest, below := strings.CutPrefix(path, factorsPath); methods == nil && below {
		if id, found := strings.CutSuffix(rest, "/remove"); found && id != "" && !strings.Contains(id, "/") {
			return factorRoutes, id
		}
	}
	for _, r := range methods {
		if r.provider && len(s.clients) == 0 {
			return nil, ""
		}
	}
	return methods, ""
}

// IsPage tells whether a path is a page's, on whatever site.
func IsPage(path string) bool {
	return routes[path] != nil || strings.HasPrefix(path, factorsPath)
}

// Serves tells whether a path is a page of this site's.
func (s *Site) Serves(path string) bool {
	methods, _ := s.find(path)
	return methods != nil
}

// maxForm is the size of a form in bytes.
const maxForm = 16 << 10

// Serve answers a request for a page. The jar has the cookies that were taken
// from it.
func (s *Site) Serve(w http.ResponseWriter, r *http.Request, jar *cookie.Jar) {
	w.Header().Set("Cache-Control", "no-store")
	jsonapi.SetRequestID(w, r)
	methods, id := s.find(r.URL.Path)
	v := &visit{Site: s, w: w, r: r, jar: jar, id: id}
	if jsonapi.IsEarly(r) {
		s.Refused(r, stepup.TooEarly)
		v.fail(w, r, http.StatusTooEarly, pages.TooEarly, "")
		return
	}
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	route, found := methods[method]
	if !found {
		w.Header().Set("Allow", allow(methods))
		v.fail(w, r, http.StatusMethodNotAllowed, pages.NotAllowed, "")
		return
	}
	if !route.server {
		if err := s.CheckOrigin(r); err != nil {
			s.Logger.Warn("a browser came over plain http, and is refused: have it come over https, or set `pages origin` if a proxy in front does that")
			v.failed(err)
			return
		}
		if err := s.checkPage(r); err != nil {
			s.Refused(r, stepup.CrossOrigin)
			v.failed(err)
			return
		}
	}
	if !v.readForm() {
		return
	}
	route.serve(v)
}

// failed shows the page for an error that has nothing to do with what the user
// entered.
func (v *visit) failed(err error) {
	if errors.Is(err, otp.ErrUnavailable) {
		v.Refused(v.r, stepup.StoreUnavailable)
	}
	v.Failed(v.w, v.r, err)
}

// readForm reads the fields of a form; those of a link are in the URL alone.
func (v *visit) readForm() (ok bool) {
	if v.r.Method != http.MethodPost {
		v.form = v.r.URL.Query()
		return true
	}
	v.r.Body = http.MaxBytesReader(v.w, v.r.Body, maxForm)
	if err := v.r.ParseForm(); err != nil {
		if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
			v.fail(v.w, v.r, http.StatusRequestEntityTooLarge, pages.TooLarge, "")
		} else {
			v.fail(v.w, v.r, http.StatusBadRequest, pages.Malformed, "")
		}
		return false
	}
	v.form = v.r.PostForm
	return true
}

func allow(methods map[string]route) string {
	var names []string
	for name := range methods {
		names = append(names, name)
		if name == http.MethodGet {
			names = append(names, http.MethodHead)
		}
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// returnTo is where the browser goes afterwards; fallback if the form does not
// say.
func (v *visit) returnTo(fallback string) string {
	wanted := v.form.Get("rd")
	if wanted == "" {
		wanted = v.r.URL.Query().Get("rd") // of the address that the form is sent to
	}
	if wanted == "" {
		return fallback
	}
	return ReturnTo(wanted)
}
