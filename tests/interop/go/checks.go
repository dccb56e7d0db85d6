package main

import (
	"fmt"
	"reflect"
	"strings"
	"sync"
)

// checks prints one line for each fact that was checked, and counts those that do not hold.
type checks struct {
	scenario string
	mutex    sync.Mutex
	passed   int
	failed   int
}

// that checks a fact; found says what was there instead when it does not hold.
func (c *checks) that(holds bool, fact string, found string, arguments ...interface{}) {
	if !holds {
		c.fail("%s -- %s", fact, fmt.Sprintf(found, arguments...))
		return
	}
	c.mutex.Lock()
	c.passed++
	c.mutex.Unlock()
	fmt.Printf("ok   %s: %s\n", c.scenario, fact)
}

func (c *checks) equal(expected, found interface{}, fact string, arguments ...interface{}) {
	c.that(reflect.DeepEqual(expected, found), fmt.Sprintf(fact, arguments...), "expected %v, found %v", expected, found)
}

func (c *checks) fail(format string, arguments ...interface{}) {
	c.mutex.Lock()
	c.failed++
	c.mutex.Unlock()
	fmt.Printf("FAIL %s: %s\n", c.scenario, fmt.Sprintf(format, arguments...))
}

// note says something worth knowing that is neither right nor wrong.
func (c *checks) note(format string, arguments ...interface{}) {
	fmt.Printf("note %s: %s\n", c.scenario, fmt.Sprintf(format, arguments...))
}

func (c *checks) counts() (passed, failed int) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return c.passed, c.failed
}

// some shows the first few of many.
func some(items []string) string {
	const shownMax = 5
	if len(items) <= shownMax {
		return "[" + strings.Join(items, ", ") + "]"
	}
	return fmt.Sprintf("[%s] and %d more", strings.Join(items[:shownMax], ", "), len(items)-shownMax)
}
