package memory

import (
	"math"
	"strings"
	"testing"
)

func TestHold(t *testing.T) {
	if Bounded() || Room() != math.MaxInt64 {
		t.Skip("GOMEMLIMIT is set")
	}
	Hold(0)()
	if Bounded() {
		t.Error("0 is a bound")
	}
	const bound = 10 << 30
	release := Hold(bound)
	room := Room()
	if !Bounded() || room >= bound-outside || room < bound*8/10 {
		t.Errorf("a bound of %d leaves room for %d", int64(bound), room)
	}
	release()
	if Bounded() || Room() != math.MaxInt64 {
		t.Error("the bound remains after release")
	}
}

// The least bound for some bytes leaves room for them, and one that is a little less does not.
func TestLeast(t *testing.T) {
	for _, live := range []int64{0, 1, 6, 7, 8, 1 << 20, 1<<30 + 3} {
		least := Least(live)
		if share(least-outside) < live || live > 0 && share(least-outside-2) >= live {
			t.Errorf("%d live bytes: a bound of %d has room for %d", live, least, share(least-outside))
		}
	}
}

func TestCheck(t *testing.T) {
	const live = 100e6
	for _, bound := range []int64{0, Least(live), 1 << 40} {
		if err := Check(bound, live); err != nil {
			t.Errorf("bound %d: %v", bound, err)
		}
	}
	for bound, want := range map[int64]string{1: "--max-mem 1B is", 92e6: "--max-mem 92MB is", Least(live) - 1: "--max-mem "} {
		if err := Check(bound, live); err == nil || !strings.HasPrefix(err.Error(), want) || !strings.HasSuffix(err.Error(), "use --max-mem 173MB or more") {
			t.Errorf("bound %d: %v", bound, err)
		}
	}
	if Live() <= 0 {
		t.Error("nothing is live")
	}
}
