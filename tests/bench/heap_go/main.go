// SPDX-License-Identifier: MIT

// The workloads of tests/bench/heap.c for Go's own heap, collected at its default pace:
//
//	heap-go WORKLOAD THREADS OPS [ARGUMENT]
//
// The same sizes, sequences and touches; a lane is a goroutine. Two differences: Go has no memory with
// contents undefined, so churn's is zeroed; and a goroutine ends where larson ends a thread.
package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

const (
	churnSlots  = 65536
	larsonSlots = 4096
	larsonRound = 16384
	batch       = 128
	batches     = 64
	vectorCount = 128
	vectorMax   = 4 << 20
	touch       = 4096
	cycles      = 3
	growthMean  = 272
	window      = 2048
	growthLimit = 20 * time.Second
)

type lane struct {
	id           int
	slot         []unsafe.Pointer
	vector       [][]byte
	rng          uint64
	ops, done    uint64
	begun, ended time.Time
	_            [128]byte
}

type op struct{ what, bytes uint64 }

var (
	lanes    [2]lane
	traceOps []op
	made     atomic.Uint64
	_        [128]byte
	taken    atomic.Uint64
)

func die(why ...any) {
	fmt.Fprintln(os.Stderr, append([]any{"go:"}, why...)...)
	os.Exit(1)
}

func next(state *uint64) uint64 {
	*state += 0x9e3779b97f4a7c15
	z := *state
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9
	return z ^ (z >> 27)
}

// Memory that holds no pointers.
func plain(size, word uint64) unsafe.Pointer {
	p := unsafe.Pointer(unsafe.SliceData(make([]byte, size)))
	*(*uint64)(p) = word
	return p
}

// Memory that may hold pointers. The first word stays nil in all but name: what is written is no address.
func scanned(size, word uint64) unsafe.Pointer {
	p := unsafe.Pointer(unsafe.SliceData(make([]unsafe.Pointer, (size+7)/8)))
	*(*uint64)(p) = word
	return p
}

func (l *lane) replace(scan bool, ops, low, sizes uint64) {
	rng, slot := l.rng, l.slot
	slots := uint64(len(slot))
	if scan {
		for range ops {
			r := next(&rng)
			i := (r >> 32) * slots >> 32
			slot[i] = scanned(low+(r&0xffffffff)%sizes, i)
		}
	} else {
		for range ops {
			r := next(&rng)
			i := (r >> 32) * slots >> 32
			slot[i] = plain(low+(r&0xffffffff)%sizes, i)
		}
	}
	l.rng = rng
}

func (l *lane) fill(scan bool, low, sizes uint64) {
	make := plain
	if scan {
		make = scanned
	}
	for i := range l.slot {
		l.slot[i] = make(low+next(&l.rng)%sizes, uint64(i))
	}
}

func collections() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return uint64(m.NumGC)
}

func standing(l *lane) uint64 {
	chunk := max(uint64(len(l.slot))/16, 4096)
	all := l.slot
	l.slot = all[len(all)-window:]
	done := l.cycles(chunk)
	runtime.KeepAlive(all)
	return done
}

func growth(l *lane) uint64 {
	return l.cycles(max(uint64(len(l.slot))/16, 4096))
}

func (l *lane) cycles(chunk uint64) uint64 {
	first, done := collections(), uint64(0)
	for now := first; ; {
		before, wanted := now, uint64(cycles)
		l.replace(true, chunk, 16, 512)
		done += chunk
		now = collections()
		if time.Since(l.begun) > growthLimit {
			wanted = 1
		}
		if done >= l.ops && now > before && now >= first+wanted {
			return done
		}
	}
}

func larson(l *lane) uint64 {
	done := uint64(0)
	for ; done < l.ops; done += larsonRound {
		ended := make(chan bool)
		go func() {
			l.replace(true, larsonRound, 16, 985)
			ended <- true
		}()
		<-ended
	}
	return done
}

func waitWhile(counter *atomic.Uint64, value uint64) {
	for n := 0; counter.Load() == value; n++ {
		if n%64 == 63 {
			runtime.Gosched()
		}
	}
}

func handover(l *lane) uint64 {
	ring, rng, sum := lanes[0].slot, l.rng, uint64(0)
	count := l.ops / batch
	for n := range count {
		at := ring[n%batches*batch:][:batch]
		if l.id == 0 {
			if n >= batches {
				waitWhile(&taken, n-batches)
			}
			for i := range at {
				at[i] = scanned(16+next(&rng)%241, uint64(i))
			}
			made.Store(n + 1)
		} else {
			waitWhile(&made, n)
			for i := range at {
				sum += *(*uint64)(at[i])
				at[i] = nil
			}
			taken.Store(n + 1)
		}
	}
	if l.id != 0 && sum != count*(batch*(batch-1)/2) {
		die("a block was damaged on its way")
	}
	return count * batch
}

func vectors(l *lane) uint64 {
	for range l.ops {
		v := &l.vector[next(&l.rng)%vectorCount]
		from := len(*v)
		to := from + (from+1)/2
		if from == 0 || to > vectorMax {
			from, to = 0, 16
			*v = make([]byte, to)
		} else {
			old := *v
			grown := make([]byte, to) // with the copy at once: what is copied over is not zeroed
			copy(grown, old)
			*v = grown
		}
		for ; from < to; from += touch {
			(*v)[from] = 1
		}
	}
	return l.ops
}

func loadTrace(path string) uint64 {
	data, err := os.ReadFile(path)
	if err != nil || len(data) < 64 || string(data[:8]) != "loamtrc1" {
		die("cannot read the trace")
	}
	count, slots := binary.LittleEndian.Uint64(data[8:]), binary.LittleEndian.Uint64(data[16:])
	for data = data[64:]; uint64(len(traceOps)) < count; {
		what, n := binary.Uvarint(data)
		data = data[max(n, 0):]
		bytes := uint64(0)
		if n > 0 && what&3 != 1 {
			bytes, n = binary.Uvarint(data)
			data = data[max(n, 0):]
		}
		if n <= 0 || what>>2 >= slots {
			die("the trace is damaged")
		}
		traceOps = append(traceOps, op{what, bytes})
	}
	return slots
}

func trace(l *lane) uint64 {
	done := uint64(0)
	size := make([]uint64, len(l.slot))
	for done < l.ops {
		for _, o := range traceOps {
			i, bytes := o.what>>2, max(o.bytes, 8)
			switch o.what & 3 {
			case 0:
				l.slot[i] = scanned(bytes, 1)
				size[i] = bytes
			case 1:
				l.slot[i] = nil
			default: // Go has no realloc; it moves when the block has no room
				if bytes > size[i] {
					old := unsafe.Slice((*unsafe.Pointer)(l.slot[i]), size[i]/8)
					grown := make([]unsafe.Pointer, (bytes+7)/8)
					copy(grown, old)
					l.slot[i] = unsafe.Pointer(unsafe.SliceData(grown))
					size[i] = bytes
				}
			}
		}
		clear(l.slot)
		done += uint64(len(traceOps))
	}
	return done
}

type workload struct {
	slots uint64
	fill  func(l *lane)
	work  func(l *lane) uint64
}

func nothing(*lane) {}

func churn(scan bool) workload {
	return workload{churnSlots, func(l *lane) { l.fill(scan, 16, 512) },
		func(l *lane) uint64 { l.replace(scan, l.ops, 16, 512); return l.ops }}
}

var workloads = map[string]workload{
	"churn":      churn(false),
	"churn-zero": churn(false),
	"churn-scan": churn(true),
	"larson":     {larsonSlots, func(l *lane) { l.fill(true, 16, 985) }, larson},
	"handover":   {batch * batches, nothing, handover},
	"vectors":    {vectorCount, nothing, vectors},
	"trace":      {0, nothing, trace},
	"growth":     {0, func(l *lane) { l.fill(true, 16, 512); runtime.GC() }, growth},
	"standing":   {0, func(l *lane) { l.fill(true, 16, 512); runtime.GC() }, standing},
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func peakMiB() float64 {
	f, err := os.Open("/proc/self/status")
	if err != nil {
		return 0
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if w := strings.Fields(s.Text()); len(w) > 1 && w[0] == "VmHWM:" {
			kib, _ := strconv.ParseFloat(w[1], 64)
			return kib / 1024
		}
	}
	return 0
}

func main() {
	args := os.Args
	if len(args) < 4 {
		die("usage: heap-go WORKLOAD THREADS OPS [ARGUMENT]")
	}
	w, known := workloads[args[1]]
	threads, _ := strconv.Atoi(args[2])
	ops, _ := strconv.ParseUint(args[3], 10, 64)
	slots := w.slots
	if !known || threads < 1 || threads > len(lanes) || (slots == 0 && len(args) < 5) {
		die("no such workload")
	}
	if args[1] == "trace" {
		slots = loadTrace(args[4])
	} else if args[1] == "growth" || args[1] == "standing" {
		mib, _ := strconv.ParseUint(args[4], 10, 64)
		slots = mib << 20 / growthMean
	}
	var filled, ended sync.WaitGroup
	filled.Add(threads)
	ended.Add(threads)
	var cpu time.Duration
	for i := range threads {
		l := &lanes[i]
		l.id, l.rng, l.ops = i, 20261124+uint64(i), ops
		l.slot = make([]unsafe.Pointer, slots)
		l.vector = make([][]byte, vectorCount)
		go func() {
			w.fill(l)
			filled.Done()
			filled.Wait()
			if i == 0 {
				cpu = cpuTime()
			}
			l.begun = time.Now()
			l.done = w.work(l)
			l.ended = time.Now()
			ended.Done()
		}()
	}
	ended.Wait()
	cpu = cpuTime() - cpu
	makers := threads
	if args[1] == "handover" {
		makers = 1
	}
	begun, end, done := lanes[0].begun, lanes[0].ended, uint64(0)
	for i := range threads {
		if lanes[i].begun.Before(begun) {
			begun = lanes[i].begun
		}
		if lanes[i].ended.After(end) {
			end = lanes[i].ended
		}
	}
	for i := range makers {
		done += lanes[i].done
	}
	fmt.Println("version", strings.TrimPrefix(runtime.Version(), "go"))
	fmt.Printf("ns/op %.3f\n", float64(end.Sub(begun).Nanoseconds())*float64(makers)/float64(done))
	fmt.Printf("cpu %.3f\n", float64(cpu.Nanoseconds())/float64(done))
	fmt.Printf("cpus %.2f\n", float64(cpu.Nanoseconds())/float64(end.Sub(begun).Nanoseconds()))
	fmt.Printf("peak %.2f\n", peakMiB())
	fmt.Println("collections", collections())
}
