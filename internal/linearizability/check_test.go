package linearizability

import (
	"testing"

	"github.com/anishathalye/porcupine"
)

// TestModel: what one node can tell, and what not.
func TestModel(t *testing.T) {
	t.Parallel()
	created := func(at int64, code int) line {
		return line{at, at, input{kind: create, code: code}, output{answer: done}}
	}
	plain := func(at int64, k kind) line { return line{at, at, input{kind: k}, output{answer: done}} }
	spent := func(at int64, guess int, a answer) line {
		return line{at, at, input{kind: spend, guess: guess}, output{answer: a}}
	}
	shown := func(at int64, account, totp int, locked bool, elevated ...int) line {
		v := view{wrong: [types]int{account, totp}, locked: locked}
		for _, guess := range elevated {
			v.elevated.add(guess)
		}
		return line{at, at, input{kind: show}, output{done, v}}
	}
	guessed := func(from, to int64, guess, code int, paid, applied answer) []line {
		list := []line{{from, to, input{kind: pay, guess: guess, code: code}, output{answer: paid}}}
		if paid == right || paid == unknown {
			list = append(list, line{from, to, input{kind: apply, guess: guess, code: code}, output{answer: applied}})
		}
		return list
	}
	wide := func(list []line) []line {
		for i := range list {
			list[i].in.wide = true
		}
		return list
	}
	wrongs := func(from int64, n int) (list []line) {
		for i := range n {
			at := from + int64(i)
			list = append(list, guessed(at, at, int(at), 0, wrong, unknown)...)
		}
		return list
	}
	passes := func(at int64, guess, code int) []line { return guessed(at, at, guess, code, right, done) }

	for name, test := range map[string]struct {
		parts []any // line or []line
		want  porcupine.CheckResult
	}{
		"a code passes":                   {[]any{created(1, 1), passes(2, 1, 1), shown(3, 0, 0, false, 1)}, porcupine.Ok},
		"a code is wrong":                 {[]any{created(1, 1), guessed(2, 2, 1, 1, wrong, unknown)}, porcupine.Illegal},
		"a wrong code passes":             {[]any{created(1, 1), passes(2, 1, 0)}, porcupine.Illegal},
		"a code is wrong the second time": {[]any{created(1, 1), passes(2, 1, 1), guessed(3, 3, 2, 1, wrong, unknown)}, porcupine.Ok},
		"a code passes twice":             {[]any{created(1, 1), passes(2, 1, 1), passes(3, 2, 1)}, porcupine.Illegal},
		"of two at once one passes":       {[]any{created(1, 1), guessed(2, 5, 1, 1, right, done), guessed(3, 4, 2, 1, right, refused), shown(6, 0, 0, false, 1)}, porcupine.Ok},
		"of two at once both pass":        {[]any{created(1, 1), guessed(2, 5, 1, 1, right, done), guessed(3, 4, 2, 1, right, done)}, porcupine.Illegal},
		"none of two passes":              {[]any{created(1, 1), guessed(2, 5, 1, 1, right, refused), guessed(3, 4, 2, 1, right, refused)}, porcupine.Illegal},
		"a code that was replaced":        {[]any{created(1, 1), created(2, 2), passes(3, 1, 1)}, porcupine.Illegal},
		"a code that is just replaced": {[]any{
			created(1, 1), guessed(2, 5, 1, 1, right, refused), line{3, 4, input{kind: create, code: 2}, output{answer: done}}, passes(6, 2, 2),
		}, porcupine.Ok},

		"wrong ones count":                {[]any{wrongs(1, 2), shown(3, 2, 0, false)}, porcupine.Ok},
		"wrong ones do not count":         {[]any{wrongs(1, 2), shown(3, 1, 0, false)}, porcupine.Illegal},
		"they lock":                       {[]any{wrongs(1, 4), guessed(5, 5, 5, 0, locked, unknown), shown(6, 4, 0, true)}, porcupine.Ok},
		"they lock too late":              {[]any{wrongs(1, 5)}, porcupine.Illegal},
		"they lock too early":             {[]any{wrongs(1, 3), guessed(5, 5, 5, 0, locked, unknown)}, porcupine.Illegal},
		"a lock that does not show":       {[]any{wrongs(1, 4), shown(5, 4, 0, false)}, porcupine.Illegal},
		"a right one when it is locked":   {[]any{created(1, 1), wrongs(2, 4), passes(6, 6, 1)}, porcupine.Illegal},
		"a right one starts anew":         {[]any{created(1, 1), wrongs(2, 3), passes(5, 5, 1), wrongs(6, 3), shown(9, 3, 0, false, 5)}, porcupine.Ok},
		"a right one does not":            {[]any{created(1, 1), wrongs(2, 3), passes(5, 5, 1), shown(6, 3, 0, false, 5)}, porcupine.Illegal},
		"one that was paid ends the lock": {[]any{created(1, 1), guessed(2, 9, 1, 1, right, done), wrongs(3, 3), shown(6, 4, 0, true), shown(10, 0, 0, false, 1)}, porcupine.Ok},
		"an administrator ends it":        {[]any{wrongs(1, 4), plain(5, unlock), wrongs(6, 4), shown(10, 4, 0, true)}, porcupine.Ok},
		"five are judged at once":         {[]any{guessed(1, 9, 1, 0, wrong, unknown), guessed(2, 9, 2, 0, wrong, unknown), wrongs(3, 3)}, porcupine.Illegal},

		"both types pay":         {[]any{wide(wrongs(1, 2)), wrongs(3, 1), shown(4, 3, 2, false)}, porcupine.Ok},
		"both start anew":        {[]any{created(1, 1), wide(wrongs(2, 2)), wide(passes(4, 4, 1)), shown(5, 0, 0, false, 4)}, porcupine.Illegal},
		"one gets its own back":  {[]any{created(1, 1), wide(wrongs(2, 2)), wide(passes(4, 4, 1)), shown(5, 0, 2, false, 4)}, porcupine.Ok},
		"one gets nothing back":  {[]any{created(1, 1), wide(wrongs(2, 2)), wide(passes(4, 4, 1)), shown(5, 0, 3, false, 4)}, porcupine.Illegal},
		"what it paid is gone":   {[]any{created(1, 1), wide(guessed(2, 9, 1, 1, right, done)), plain(3, unlock), wide(wrongs(4, 1)), shown(10, 0, 1, false, 1)}, porcupine.Ok},
		"what another paid is":   {[]any{created(1, 1), wide(guessed(2, 9, 1, 1, right, done)), plain(3, unlock), wide(wrongs(4, 1)), shown(10, 0, 0, false, 1)}, porcupine.Illegal},
		"it opens the other one": {[]any{created(1, 1), wide(guessed(2, 9, 1, 1, right, done)), wide(wrongs(3, 3)), shown(6, 4, 4, true), shown(10, 0, 3, false, 1)}, porcupine.Ok},

		"revoked":                      {[]any{created(1, 1), passes(2, 1, 1), plain(3, revoke), shown(4, 0, 0, false), spent(5, 1, refused)}, porcupine.Ok},
		"it survives":                  {[]any{created(1, 1), passes(2, 1, 1), plain(3, revoke), shown(4, 0, 0, false, 1)}, porcupine.Illegal},
		"it serves a request still":    {[]any{created(1, 1), passes(2, 1, 1), plain(3, revoke), spent(4, 1, done)}, porcupine.Illegal},
		"it ends by itself":            {[]any{created(1, 1), passes(2, 1, 1), shown(3, 0, 0, false)}, porcupine.Illegal},
		"the code outlives it":         {[]any{created(1, 1), plain(2, revoke), passes(3, 1, 1), shown(4, 0, 0, false, 1)}, porcupine.Ok},
		"an elevation serves once":     {[]any{created(1, 1), passes(2, 1, 1), spent(3, 1, done), spent(4, 1, refused)}, porcupine.Ok},
		"an elevation serves twice":    {[]any{created(1, 1), passes(2, 1, 1), spent(3, 1, done), spent(4, 1, done)}, porcupine.Illegal},
		"an elevation that nobody has": {[]any{spent(3, 1, done)}, porcupine.Illegal},

		"it may have happened": {[]any{created(1, 1), guessed(2, never, 1, 1, unknown, unknown), shown(3, 0, 0, false, 1)}, porcupine.Ok},
		"the half of it":       {[]any{created(1, 1), guessed(2, never, 1, 1, unknown, unknown), shown(3, 1, 0, false), shown(4, 1, 0, false)}, porcupine.Ok},
		"none of it":           {[]any{created(1, 1), guessed(2, never, 1, 1, unknown, unknown), shown(3, 0, 0, false), passes(4, 2, 1)}, porcupine.Ok},
		"later":                {[]any{created(1, 1), guessed(2, never, 1, 1, unknown, unknown), shown(3, 0, 0, false), shown(4, 1, 0, false), shown(5, 0, 0, false, 1)}, porcupine.Ok},
		"one of two alike, then both": {[]any{
			guessed(1, never, 1, 0, unknown, unknown), guessed(2, never, 2, 0, unknown, unknown), shown(3, 1, 0, false), shown(4, 2, 0, false),
		}, porcupine.Ok},
		"the second before its time": {[]any{
			guessed(1, never, 1, 0, unknown, unknown), shown(3, 2, 0, false), guessed(4, never, 2, 0, unknown, unknown),
		}, porcupine.Illegal},
		"the first by its time": {[]any{
			guessed(1, never, 1, 0, unknown, unknown), shown(3, 1, 0, false), guessed(4, never, 2, 0, unknown, unknown), shown(5, 1, 0, false),
		}, porcupine.Ok},
		"alike, and not": {[]any{
			wide(guessed(1, never, 1, 0, unknown, unknown)), guessed(2, never, 2, 0, unknown, unknown), shown(3, 1, 0, false), shown(4, 2, 1, false),
		}, porcupine.Ok},
		"not twice":                    {[]any{guessed(2, never, 1, 0, unknown, unknown), shown(3, 2, 0, false)}, porcupine.Illegal},
		"not without its price":        {[]any{wrongs(1, 4), created(5, 1), guessed(6, never, 6, 1, unknown, unknown), shown(7, 0, 0, false, 6)}, porcupine.Illegal},
		"what happened stays":          {[]any{created(1, 1), guessed(2, never, 1, 1, unknown, unknown), shown(3, 0, 0, false, 1), passes(4, 2, 1)}, porcupine.Illegal},
		"it may void a code":           {[]any{created(1, 1), line{2, never, input{kind: create}, output{}}, guessed(3, 3, 1, 1, wrong, unknown)}, porcupine.Ok},
		"it does not give it back":     {[]any{created(1, 1), line{2, never, input{kind: create}, output{}}, guessed(3, 3, 1, 1, wrong, unknown), passes(4, 2, 1)}, porcupine.Illegal},
		"what was read must be as new": {[]any{wrongs(1, 1), plain(2, unlock), shown(3, 1, 0, false)}, porcupine.Illegal},
	} {
		t.Run(name, func(t *testing.T) {
			var h history
			for _, part := range test.parts {
				switch part := part.(type) {
				case line:
					h.add(part)
				case []line:
					h.add(part...)
				}
			}
			if got := h.check(); got != test.want {
				t.Errorf("got %s, want %s:\n%s", got, test.want, &h)
			}
		})
	}
}

// line is a step that was called and returned at those times.
type line struct {
	called, returned int64
	in               input
	out              output
}

func (h *history) add(lines ...line) {
	for _, l := range lines {
		// Of two at the same time either may have been first: so times are
		// doubled, and steps that follow each other do not touch.
		returned := 2*l.returned + 1
		if l.returned == never {
			returned = never
		}
		h.steps = append(h.steps, operation(0, 2*l.called, returned, told{l.in, l.out}))
		h.clock = max(h.clock, 2*l.called+1, returned)
	}
}
