package load

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// What wrk 4.1.0 prints, with the script's line at the end.
const output = `Running 4s test @ http://127.0.0.1:8080
  1 threads and 32 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     3.03ms    1.90ms  27.79ms   77.56%
    Req/Sec    11.03k   684.44    12.44k    70.00%
  44000 requests in 4.00s, 5.50MB read
  Non-2xx or 3xx responses: 3
Requests/sec:  11000.00
Transfer/sec:      1.37MB
RESULT {"requests":44000,"micros":4000000,"refused":3,"failed":0,"p50":2710,"p99":9120}
`

func TestParse(t *testing.T) {
	t.Parallel()
	got, err := parse([]byte(output))
	want := Result{Requests: 44000, Refused: 3, Rate: 11000, P50: 2710 * time.Microsecond, P99: 9120 * time.Microsecond}
	if err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	for name, out := range map[string]string{
		"no report":    "unable to connect to 127.0.0.1:1 Connection refused\n",
		"broken":       "\nRESULT {\n",
		"lost answers": "\nRESULT {\"requests\":10,\"micros\":1000000,\"refused\":0,\"failed\":1,\"p50\":1,\"p99\":1}\n",
		"no answers":   "\nRESULT {\"requests\":0,\"micros\":1000000,\"refused\":0,\"failed\":0,\"p50\":0,\"p99\":0}\n",
	} {
		if got, err := parse([]byte(out)); err == nil {
			t.Errorf("%s: got %+v", name, got)
		}
	}
}

func TestWrite(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "requests")
	if err := Write(path, []Request{{Token: "a"}, {Token: "b", Body: `{"otp":"123456"}`}}); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if want := "a\t\nb\t{\"otp\":\"123456\"}\n"; err != nil || string(text) != want {
		t.Errorf("got %q, %v, want %q", text, err, want)
	}
}
