package caddymodule_test

import (
	"sync"
	"testing"
)

// What takes its time takes it together: the tests that wait hold no place that one
// which works could have.
func TestBrowserOverTime(t *testing.T) {
	t.Parallel()
	var wg sync.WaitGroup
	for name, test := range map[string]func(*testing.T){
		"Fixation":           testBrowserFixation,
		"SessionLimits":      testBrowserSessionLimits,
		"FirstFactor":        testBrowserFirstFactor,
		"StubbornProvider":   testBrowserStubbornProvider,
		"FirstFactorRevoked": testBrowserFirstFactorRevoked,
		"ProviderProof":      testBrowserProviderProof,
		"ProviderDown":       testBrowserProviderDown,
		"StorageDown":        testBrowserStorageDown,
		"ForwardRefresh":     testBrowserForwardRefresh,
		"StepUpCapped":       testBrowserStepUpCapped,
		"BackChannelLogout":  testBrowserBackChannelLogout,
	} {
		wg.Go(func() { t.Run(name, test) })
	}
	wg.Wait()
}
