// Command porcupine checks one history with Porcupine and prints the verdict and the seconds it took as JSON.
//
// Usage: porcupine MODEL FILE TIMEOUT_S. FILE holds rows of six little-endian int64:
// client, kind, value, value2, call, return. Kinds: 0 read, 1 write, 2 cas; 3 enqueue, 4 dequeue. An op of unknown
// outcome has return = MaxInt64 and, for a dequeue, value = MinInt64.
package main

import (
	"encoding/binary"
	"fmt"
	"log"
	"math"
	"os"
	"strconv"
	"time"

	"github.com/anishathalye/porcupine"
)

const (
	kindRead = iota
	kindWrite
	kindCas
	kindEnqueue
	kindDequeue
	columns = 6
)

type input struct {
	kind          int64
	value, value2 int64
}

var register = porcupine.Model{
	Init: func() interface{} { return int64(math.MinInt64) },
	Step: func(state, in, _ interface{}) (bool, interface{}) {
		op := in.(input)
		switch op.kind {
		case kindRead:
			return state.(int64) == op.value, state
		case kindWrite:
			return true, op.value
		default:
			return state.(int64) == op.value, op.value2
		}
	},
}

// queue is a persistent list: the state is the position of the first value and the values so far.
type queueState struct {
	values string // eight bytes each
}

var queue = porcupine.Model{
	Init: func() interface{} { return queueState{} },
	Step: func(state, in, _ interface{}) (bool, interface{}) {
		op, now := in.(input), state.(queueState)
		if op.kind == kindEnqueue {
			var b [8]byte
			binary.LittleEndian.PutUint64(b[:], uint64(op.value))
			return true, queueState{now.values + string(b[:])}
		}
		if len(now.values) == 0 {
			return op.value == math.MinInt64, now
		}
		first := int64(binary.LittleEndian.Uint64([]byte(now.values[:8])))
		return op.value == math.MinInt64 || op.value == first, queueState{now.values[8:]}
	},
}

func main() {
	if len(os.Args) != 4 {
		log.Fatal("usage: porcupine register|queue FILE TIMEOUT_S")
	}
	model := map[string]porcupine.Model{"register": register, "queue": queue}[os.Args[1]]
	if model.Init == nil {
		log.Fatalf("no model %q: expected register or queue", os.Args[1])
	}
	raw, err := os.ReadFile(os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	timeout, err := strconv.ParseFloat(os.Args[3], 64)
	if err != nil {
		log.Fatal(err)
	}
	rows := len(raw) / 8 / columns
	history := make([]porcupine.Operation, rows)
	for i := range history {
		at := func(column int) int64 {
			return int64(binary.LittleEndian.Uint64(raw[8*(i*columns+column):]))
		}
		history[i] = porcupine.Operation{
			ClientId: int(at(0)), Input: input{at(1), at(2), at(3)}, Call: at(4), Return: at(5),
		}
	}
	begin := time.Now()
	result := porcupine.CheckOperationsTimeout(model, history, time.Duration(timeout*float64(time.Second)))
	fmt.Printf("{\"result\": %q, \"seconds\": %.6f}\n", result, time.Since(begin).Seconds())
}
