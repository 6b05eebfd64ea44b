package pages

import (
	"html/template"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// Every language has every text, with the same values in it.
func TestLanguagesAreComplete(t *testing.T) {
	verbs := regexp.MustCompile(`%[a-z]`)
	keys := slices.Sorted(maps.Keys(english.texts))
	for _, l := range languages {
		if got := slices.Sorted(maps.Keys(l.texts)); !slices.Equal(got, keys) {
			t.Errorf("%s has %d texts, want %d", l.tag, len(got), len(keys))
			for _, key := range keys {
				if !slices.Contains(got, key) {
					t.Errorf("%s lacks %s", l.tag, key)
				}
			}
		}
		for key, text := range l.texts {
			if got, want := verbs.FindAllString(text, -1), verbs.FindAllString(english.texts[key], -1); text == "" || !slices.Equal(got, want) {
				t.Errorf("%s, %s: %q has %q, want %q", l.tag, key, text, got, want)
			}
			if strings.ContainsAny(text, `<>"`) || strings.Contains(text, "'") {
				t.Errorf("%s, %s: %q is for a page, and has its own quotes", l.tag, key, text)
			}
		}
	}
	for _, kind := range errorKinds() {
		for _, part := range []string{".title", ".what", ".do", ".button"} {
			if english.texts["error."+string(kind)+part] == "" {
				t.Errorf("no text says %s%s", kind, part)
			}
		}
	}
}

// Every text is there for some page.
func TestTextsAreUsed(t *testing.T) {
	used := make(map[string]bool)
	counted := english
	everything := func(prefix string) {
		for key := range counted.texts {
			if strings.HasPrefix(key, prefix) {
				used[key] = true
			}
		}
	}
	sources, err := readTemplates("")
	if err != nil {
		t.Fatal(err)
	}
	for _, source := range sources {
		for _, m := range regexp.MustCompile(`\b[tn] "([a-z.-]+)"`).FindAllStringSubmatch(source, -1) {
			used[m[1]], used[m[1]+".one"], used[m[1]+".other"] = true, true, true
		}
	}
	for _, prefix := range []string{"error.", "type.", "wait."} {
		everything(prefix)
	}
	for key := range english.texts {
		if !used[key] {
			t.Errorf("no page says %s", key)
		}
	}
}

func TestPreferred(t *testing.T) {
	for _, test := range []struct{ accept, want string }{
		{"", "en"}, {"de", "de"}, {"de-AT", "de"}, {"de-CH,fr;q=0.9", "de"}, {"fr-CA", "fr"}, {"es-419", "es"}, {"en-GB,de;q=0.8", "en"},
		{"ja,de;q=0.5", "de"}, {"de;q=0.3,fr;q=0.9", "fr"}, {"de;q=0", "en"}, {"ja", "en"}, {"zh-Hans", "en"}, {"*", "en"}, {";;;", "en"}, {"de;q=x", "en"},
		{strings.Repeat("de-", 5000), "en"},
	} {
		if got := languages[preferred([]string{test.accept})].tag.String(); got != test.want {
			t.Errorf("%.40q: %s, want %s", test.accept, got, test.want)
		}
	}
	if got := languages[preferred([]string{"ja", "fr"})].tag.String(); got != "fr" {
		t.Errorf("in two lines: %s", got)
	}
}

func FuzzPreferred(f *testing.F) {
	for _, seed := range []string{"", "de-CH,fr;q=0.9", "*;q=0.1", "x-y-z", "de;q=1e400"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, accept string) {
		if i := preferred([]string{accept}); i < 0 || i >= len(languages) {
			t.Errorf("%d", i)
		}
	})
}

func TestDate(t *testing.T) {
	day := time.Date(2026, time.March, 1, 0, 30, 0, 0, time.FixedZone("", 3600)) // the day before, UTC
	for i, want := range []string{"28 February 2026", "28. Februar 2026", "28 février 2026", "28 de febrero de 2026"} {
		if got := languages[i].date(day); got != template.HTML(`<time datetime="2026-02-28">`+want+"</time>") {
			t.Errorf("%s", got)
		}
	}
}

func TestWait(t *testing.T) {
	tags := regexp.MustCompile(`<[^>]+>`)
	for _, test := range []struct {
		left time.Duration
		want []string
	}{
		{-time.Hour, []string{"now", "jetzt", "maintenant", "ahora"}},
		{0, []string{"now"}},
		{time.Nanosecond, []string{"in 1 second", "in 1 Sekunde", "dans 1 seconde", "dentro de 1 segundo"}},
		{29500 * time.Millisecond, []string{"in 30 seconds", "in 30 Sekunden", "dans 30 secondes", "dentro de 30 segundos"}},
		{time.Minute, []string{"in 1 minute (13:51 UTC)", "in 1 Minute (13:51 UTC)"}},
		{time.Minute + time.Second, []string{"in 2 minutes (13:52 UTC)"}},
		{15 * time.Minute, []string{"in 15 minutes (14:05 UTC)", "in 15 Minuten (14:05 UTC)", "dans 15 minutes (14:05 UTC)", "dentro de 15 minutos (14:05 UTC)"}},
		{90 * time.Minute, []string{"in 90 minutes (15:20 UTC)"}},
		{91 * time.Minute, []string{"in 2 hours (15:21 UTC)"}},
		{24 * time.Hour, []string{"in 1 day (22 November 2026, 13:50 UTC)", "in 1 Tag (22. November 2026, 13:50 UTC)"}},
		{47 * time.Hour, []string{"in 2 days (23 November 2026, 12:50 UTC)"}},
	} {
		for i, want := range test.want {
			got, err := languages[i].wait(sampleNow.Add(test.left), sampleNow)
			if text := strings.ReplaceAll(tags.ReplaceAllString(string(got), ""), "\u00a0", " "); err != nil || text != want {
				t.Errorf("%v, %s: %q, %v", test.left, languages[i].tag, text, err)
			}
		}
	}
	if got, err := english.wait(sampleNow.Add(15*time.Minute), sampleNow); err != nil || !strings.Contains(string(got), `<time datetime="2026-11-21T14:05:00Z">`) {
		t.Errorf("got %s, %v", got, err)
	}
}

func TestText(t *testing.T) {
	if got, err := english.text("step-up.mailed-to", `<a href="x">%d`); err != nil || got != "We sent a code to &lt;a href=&#34;x&#34;&gt;%d." {
		t.Errorf("got %s, %v", got, err)
	}
	if _, err := english.text("none"); err == nil {
		t.Error("there is a text none")
	}
}
